"""Vocabularies of words: which are taken, what stands for what, and that no word of known letters is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.words.vocabulary import FEWEST, LEAST_SHARE, NO_PLURALS, SPECIAL, Spellings, Vocabulary, build_vocabulary, fold, plurals

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


PLURALS = (
    "ano anos, dia dias, hotel hotéis, móvel móveis, animal animais, lençol lençóis, azul azuis, funil funis, fácil fáceis, homem homens, "
    "função funções, pão pães, mão mãos, mês meses, inglês ingleses, país países, flor flores, luz luzes, abdômen abdômenes, link links"
).split(", ")


@pytest.mark.parametrize("pair", PLURALS)
def test_a_plural_has_the_term_of_its_singular(pair: str) -> None:
    singular, plural = pair.split()
    assert plural in plurals(singular)
    spellings = Spellings({singular: 5, plural: 5})
    assert spellings.term(fold(singular)) == spellings.term(fold(plural)) is not None


@given(word=st.text("abcdelmnorsuzãõéêíç", min_size=1, max_size=9))
def test_a_plural_ends_in_s_and_is_another_word(word: str) -> None:
    assert all(plural.endswith("s") and plural != word and len(plural) <= len(word) + 2 for plural in plurals(word))


@pytest.mark.parametrize(
    ("frequency", "singular", "plural"),
    [
        ({"encontramo": FEWEST - 1, "encontramos": 5}, "encontramo", "encontramos"),  # a slip
        ({"encontramo": 9, "encontramos": round(9 / LEAST_SHARE) + 1}, "encontramo", "encontramos"),
        ({"apo": 9, "após": 9}, "apo", "apos"),  # spelt otherwise than a plural of it would be
        *[({plural[:-1]: 9, plural: 9}, plural[:-1], plural) for plural in sorted(NO_PLURALS)],
    ],
)
def test_what_only_looks_like_a_plural_has_its_own_term(frequency: dict[str, int], singular: str, plural: str) -> None:
    spellings = Spellings(frequency)
    assert spellings.term(plural) is None or spellings.term(plural) != spellings.term(singular)


def test_a_plural_leaves_the_words_that_the_stemmer_puts_it_with() -> None:
    spellings = Spellings({"hot": 9, "hotel": 9, "hotéis": 9})
    assert spellings.term("hoteis") == spellings.term("hotel") != spellings.term("hot")
