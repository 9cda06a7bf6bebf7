"""Unknown forms of known words have the terms of these, everything else stays as it was."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding import inflections
from splade_ptbr_connectors.encoding.config import WordSettings
from splade_ptbr_connectors.encoding.folder import find_model
from splade_ptbr_connectors.encoding.inflections import Inflections, other_forms
from splade_ptbr_connectors.encoding.tensors import read_tensors
from splade_ptbr_connectors.encoding.tokens import load_tokenizer
from splade_ptbr_connectors.encoding.words import Words

LEXICO = find_model("mini-lexico")
UNKNOWN = {  # form -> the word that it is one of
    "murchando": "murchar",
    "suando": "suar",
    "fumei": "fumar",
    "estraguei": "estragar",
    "sacrifique": "sacrificar",
    "congele": "congelar",
    "molhou": "molhar",
    "explicariam": "explicar",
    "prendemos": "prender",
    "furinhos": "furo",
    "gotinha": "gota",
    "raiozinho": "raio",
    "deteriorações": "deterioração",
    "quadris": "quadril",
    "colagens": "colagem",
    "farinhas": "farinha",
    "SECADO": "secar",
}
OF_NOTHING = ["Pampers", "Harsch", "Celta", "zanzibar", "propofol", "getlocale", "Bruna", "Carla", "Roberta", "Paola", "viado", "lego"]


@dataclass
class Shipped:
    tokenizer: Tokenizer
    terms: np.ndarray
    words: Words

    def ids(self, text: str) -> np.ndarray:
        return np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, np.int64)

    def of(self, text: str) -> list[int]:
        return self.words.terms(self.ids(text).tolist()).tolist()

    def pieces(self, text: str) -> list[tuple[int, int, int]]:
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        found = [(token, start, end) for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)]
        return self.words.pieces(found)

    def as_it_stands(self, text: str) -> list[int]:
        found = self.terms[self.ids(text)]
        return found[found >= 0].tolist()


@pytest.fixture(scope="module")
def shipped() -> Shipped:
    tokenizer = load_tokenizer(LEXICO.path, LEXICO.config.vocab_size)
    terms = read_tensors(LEXICO.path / "words.safetensors")["terms"].astype(np.int64)
    return Shipped(tokenizer, terms, Words(terms.astype(np.int32), WordSettings(average_length=100.0, inflections=True), tokenizer))


@pytest.mark.parametrize(("form", "word"), UNKNOWN.items())
def test_an_unknown_form_has_the_term_of_its_word(shipped: Shipped, form: str, word: str) -> None:
    assert len(shipped.ids(form)) > 1  # else the vocabulary has it, and nothing is shown
    assert shipped.of(form) == shipped.as_it_stands(word)
    assert shipped.of(f"{form} na casa, {form}!") == [*shipped.of(form), *shipped.of("casa"), *shipped.of(form)]


@pytest.mark.parametrize("name", OF_NOTHING)
def test_what_is_a_form_of_nothing_stays_in_pieces(shipped: Shipped, name: str) -> None:
    assert shipped.of(name) == shipped.as_it_stands(name) and len(shipped.ids(name)) > 1


words = st.sampled_from([*UNKNOWN, *OF_NOTHING, "casa", "de", "prazo", "recurso", "123"]) | st.text("abcdeimorstuzãçé", max_size=12)
texts = st.lists(words, max_size=8).map(" ".join) | st.text(st.characters(exclude_categories=["C", "Z"]), max_size=30)


@given(text=texts)
def test_a_text_is_its_words_one_by_one_and_known_words_stay(shipped: Shipped, text: str) -> None:
    parts = re.findall(r"[^\s]+", text)
    assert shipped.of(text) == [term for part in parts for term in shipped.of(part)]
    for part in parts:
        if len(shipped.ids(part)) == 1:
            assert shipped.of(part) == shipped.as_it_stands(part)


@given(text=texts)
def test_pieces_have_the_same_terms_and_an_unknown_form_is_one(shipped: Shipped, text: str) -> None:
    pieces = shipped.pieces(text)
    assert [term for term, _, _ in pieces if term >= 0] == shipped.of(text)
    assert all(0 <= start <= end <= len(text) for _, start, end in pieces)


def test_an_unknown_form_is_marked_whole(shipped: Shipped) -> None:
    text = "a planta está murchando"
    [(start, end)] = [(start, end) for term, start, end in shipped.pieces(text) if term in shipped.as_it_stands("murchar")]
    assert text[start:end] == "murchando"


@given(word=st.text("abcdegimnoqrstuz", max_size=14))
def test_other_forms_are_other_words_with_a_root_of_two_letters(word: str) -> None:
    forms = list(other_forms(word))
    assert all(len(form) >= 2 and form[:2] == word[:2] for form in forms)
    assert len(forms) < 200


def test_words_met_are_forgotten_when_they_are_many(shipped: Shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflections, "MAX_KNOWN", 3)
    fresh = Inflections(shipped.tokenizer, shipped.terms)
    for form in (*UNKNOWN, *OF_NOTHING, *UNKNOWN):
        assert shipped.terms[max(fresh.words(shipped.ids(form)).tolist())] in (*shipped.of(form), -1)
        assert len(fresh._known) <= 3


@pytest.mark.parametrize("model", ["mini", "mini-lexico"])
def test_a_query_and_a_document_meet_in_forms_that_no_text_had(model: str) -> None:
    encoder = SpladeEncoder.load(model)
    why = encoder.explain_words("minha planta está murchando", "A planta murcha sem água.")
    assert {word.word: word.query_word for word in why.words}["murcha"] == "murchando"
