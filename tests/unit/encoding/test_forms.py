"""Forms of words that are terms of their own, beside the terms of all forms: "imposto" finds "impostos", and "impostos" finds it better."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.folder import find_model
from splade_ptbr_connectors.errors import ModelFormatError
from tests.unit.encoding.words_model import IDS, SETTINGS, TERMS, TOKENS, WEIGHTS, gate, make_words_model

WORDS = [token for token in TOKENS if token[0] not in "[#"]
FORMS = [token for token in WORDS if TERMS[IDS[token]] >= 0 and TERMS[IDS[token]] != IDS[token]]
WEIGHED = WEIGHTS.copy()
WEIGHED[[IDS[form] for form in FORMS]] = 0.25
WITH_FORMS = SETTINGS | {"inflections": True, "forms": True}
QUERIES = ["table", "expansion"]


def made(folder: Path, query: str = "table", words: dict[str, object] = WITH_FORMS) -> Path:
    return make_words_model(folder, query=query, expansion={"weights": WEIGHED} | (gate(None) if query == "expansion" else {}), words=words)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[SpladeEncoder, SpladeEncoder]]:
    """(without forms, with them) for each kind of queries."""
    folder, without = tmp_path_factory.mktemp("forms"), SETTINGS | {"inflections": True}
    pairs = {query: [made(folder / f"{query}-{n}", query, words) for n, words in enumerate((without, WITH_FORMS))] for query in QUERIES}
    return {query: (SpladeEncoder.load(one), SpladeEncoder.load(other)) for query, (one, other) in pairs.items()}


@given(words=st.lists(st.sampled_from(WORDS), max_size=12))
def test_a_document_has_its_terms_as_before_and_its_forms_beside(
    models: dict[str, tuple[SpladeEncoder, SpladeEncoder]], words: list[str]
) -> None:
    plain, encoder = models["table"]
    length, (k1, b, average) = sum(TERMS[IDS[word]] >= 0 for word in words), SETTINGS.values()
    counts = Counter(IDS[word] for word in words if word in FORMS)
    expected = {form: n / (n + k1 * (1 - b + b * length / average)) for form, n in counts.items()}
    text = " ".join(words)
    assert encoder.encode_document(text).to_dict() == pytest.approx(plain.encode_document(text).to_dict() | expected)


@pytest.mark.parametrize("query", QUERIES)
@given(words=st.lists(st.sampled_from(WORDS), max_size=8))
def test_a_query_has_its_forms_at_their_weights(
    models: dict[str, tuple[SpladeEncoder, SpladeEncoder]], query: str, words: list[str]
) -> None:
    plain, encoder = models[query]
    text = " ".join(words)
    expected = plain.encode_query(text).to_dict() | {IDS[word]: 0.25 for word in words if word in FORMS}
    assert encoder.encode_query(text).to_dict() == pytest.approx(expected)


@pytest.mark.parametrize("query", QUERIES)
def test_the_same_form_scores_above_another_one(models: dict[str, tuple[SpladeEncoder, SpladeEncoder]], query: str) -> None:
    _, encoder = models[query]
    asked = encoder.encode_query("impostos")
    same, other = (asked.dot(encoder.encode_document(text)) for text in ("impostos", "imposto"))
    assert same > other > 0
    named = encoder.encode_query("imposto")  # a term's own word is no further form
    assert named.dot(encoder.encode_document("impostos")) == pytest.approx(named.dot(encoder.encode_document("imposto")))


def test_a_piece_of_an_unknown_word_is_no_form(models: dict[str, tuple[SpladeEncoder, SpladeEncoder]]) -> None:
    plain, encoder = models["table"]
    assert IDS["prazos"] not in encoder.encode_document("prazosx").to_dict()
    assert encoder.encode_document("prazosx prazo") == plain.encode_document("prazosx prazo")
    assert IDS["prazos"] in encoder.encode_document("prazosx prazos").to_dict()


def test_an_unknown_form_is_the_known_word_that_it_is_a_form_of(models: dict[str, tuple[SpladeEncoder, SpladeEncoder]]) -> None:
    _, encoder = models["table"]
    assert encoder.encode_document("impostoss").to_dict().keys() == {IDS["imposto"], IDS["impostos"]}
    [word] = encoder.explain_words("impostos", "Impostoss!").words
    assert (word.word, word.places, len(word.terms)) == ("Impostoss", ((0, 9),), 2)


def test_a_thesaurus_that_gives_a_form_for_a_term_gives_no_term_twice(tmp_path: Path) -> None:
    from tests.unit.encoding.words_model import thesaurus

    tensors = thesaurus([{("dor",): 0, ("prazos",): 1}]).tensors()
    model = make_words_model(tmp_path / "model", expansion=tensors | gate(None) | {"weights": WEIGHED}, words=WITH_FORMS)
    found = SpladeEncoder.load(model).encode_query("dor prazos").to_dict()
    assert {IDS["dor"], IDS["prazo"], IDS["prazos"]} <= found.keys()


@pytest.mark.parametrize("query", QUERIES)
@given(asked=st.lists(st.sampled_from(WORDS), max_size=5), told=st.lists(st.sampled_from(WORDS), max_size=8))
def test_words_add_up_to_the_score_and_forms_are_of_their_word(
    models: dict[str, tuple[SpladeEncoder, SpladeEncoder]], query: str, asked: list[str], told: list[str]
) -> None:
    _, encoder = models[query]
    found = encoder.explain_words(" ".join(asked), " ".join(told))
    assert sum(word.contribution for word in found.words) == pytest.approx(found.score, rel=1e-5)
    for word in found.words:
        assert {int(TERMS[part.term_id]) for part in word.terms} == {int(TERMS[IDS[word.word]])}


def test_every_form_of_a_matched_word_is_marked(models: dict[str, tuple[SpladeEncoder, SpladeEncoder]]) -> None:
    _, encoder = models["table"]
    text = "imposto e impostos"
    for asked in ("imposto", "impostos"):
        [word] = encoder.explain_words(asked, text).words
        assert [text[start:end] for start, end in word.places] == ["imposto", "impostos"]


def test_forms_change_the_fingerprint_and_need_inflections(tmp_path: Path) -> None:
    without = made(tmp_path / "a", words=SETTINGS | {"inflections": True})
    assert SpladeEncoder.load(without).fingerprint != SpladeEncoder.load(made(tmp_path / "b")).fingerprint
    with pytest.raises(ModelFormatError, match=r"words\.forms needs words\.inflections"):
        made(tmp_path / "c", words=SETTINGS | {"forms": True})


def test_a_table_without_weights_of_forms_is_as_if_there_were_none(tmp_path: Path) -> None:
    model = made(tmp_path / "model")
    save_file({"weights": WEIGHTS}, model / "expansion.safetensors")
    assert IDS["impostos"] not in SpladeEncoder.load(model).encode_query("impostos").to_dict()


@pytest.mark.parametrize("name", ["mini", "mini-lexico"])
def test_shipped_models_find_the_form_that_was_asked_for_first(name: str) -> None:
    assert find_model(name).config.words is not None
    encoder = SpladeEncoder.load(name)
    query = encoder.encode_query("multas")
    same, other = encoder.encode_documents(["As multas vencem hoje.", "A multa vence hoje."])
    forms = np.intersect1d(query.term_ids, same.term_ids)
    assert query.dot(same) > query.dot(other) > 0
    assert {"multa", "multas"} <= {encoder.token(int(term)) for term in forms}
