"""Vocabularies of words: which are taken, what stands for what, and that no word of known letters is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.words.stems import fold
from training.words.vocabulary import SPECIAL, Vocabulary, build_vocabulary

PIECES = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *"abcdefghijklmnopqrstuvwxyzãéç0123456789", "ção", "##ção", "##mente", "##s", "de"]
COMMON = Counter(
    {"imposto": 9, "impostos": 5, "país": 4, "pais": 2, "de": 50, "não": 40, "rara": 1, "calcular": 3, "cálculo": 8, "calculo": 1}
)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return build_vocabulary(COMMON, ["enxaqueca"], PIECES, min_count=3, largest=100)


def term(vocabulary: Vocabulary, text: str) -> list[str]:
    return [vocabulary.tokens[vocabulary.terms[i]] for i in vocabulary.tokenizer().encode(text).ids if vocabulary.terms[i] >= 0]


def test_inflections_and_spellings_share_the_commonest_word(vocabulary: Vocabulary) -> None:
    assert term(vocabulary, "Impostos") == term(vocabulary, "imposto") == ["imposto"]
    assert term(vocabulary, "país") == term(vocabulary, "PAIS") == ["pais"]


def test_stop_words_and_special_tokens_have_no_term(vocabulary: Vocabulary) -> None:
    assert term(vocabulary, "de não DE nao") == []
    assert all(vocabulary.terms[vocabulary.ids[token]] == -1 for token in SPECIAL)


def test_rare_words_of_text_are_left_out_and_those_of_the_thesaurus_are_not(vocabulary: Vocabulary) -> None:
    assert "rara" not in vocabulary.ids and "enxaqueca" in vocabulary.ids


def test_terms_stand_for_themselves_and_ids_are_places(vocabulary: Vocabulary) -> None:
    assert all(vocabulary.terms[term] == term for term in vocabulary.terms if term >= 0)
    assert [vocabulary.ids[token] for token in vocabulary.tokens] == list(range(len(vocabulary.tokens)))


@given(st.text("abcdefghijklmnopqrstuvwxyzãéç0123456789", min_size=1, max_size=20))
def test_no_word_of_known_letters_is_lost(vocabulary: Vocabulary, word: str) -> None:
    tokens = vocabulary.tokenizer().encode(word).tokens
    assert "".join(token.removeprefix("##") for token in tokens) == fold(word)
