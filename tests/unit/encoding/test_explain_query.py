"""What a query becomes, in words: every term is in one word, the weights are the vector's, and what is added says by what."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.explain_query import QueryWord, explain_query
from tests.support.encoders import HashingEncoder

ENCODERS = {name: SpladeEncoder.load(name) for name in ("mini", "mini-lexico", "mini-bert")}
SOME = "até quando posso recorrer da multa de trânsito recém-nascido inconstitucionalidade febre dor de cabeça INSS Multa".split()


def explained(query: str, model: str) -> tuple[QueryWord, ...]:
    return explain_query(query, ENCODERS[model].encode_query(query), ENCODERS[model])


@pytest.mark.parametrize("model", ENCODERS)
@settings(max_examples=30)
@given(words=st.lists(st.sampled_from(SOME) | st.text("abçã-😀 ", min_size=1, max_size=8), max_size=8))
def test_words_cover_the_terms_and_their_weights(model: str, words: list[str]) -> None:
    encoder, query = ENCODERS[model], " ".join(words)
    weights = encoder.encode_query(query).to_dict()
    found = explained(query, model)
    assert sorted(term for word in found for term in word.terms) == sorted(weights)
    assert [word.weight for word in found] == sorted((word.weight for word in found), reverse=True)
    written = {term for term, _, _ in encoder.pieces(query)}
    for word in found:
        assert word.weight == pytest.approx(sum(weights[term] for term in word.terms))
        for term in word.terms:
            assert word.origin == ("word" if term in written else encoder.added_by(term))
        assert word.origin != "word" or word.word in query


def test_words_thesaurus_and_concepts_are_told_apart() -> None:
    origins = {word.word: word.origin for word in explained("até quando posso recorrer de uma multa?", "mini")}
    assert (origins["recorrer"], origins["infracao"]) == ("word", "thesaurus")
    assert {word for word, origin in origins.items() if origin == "concepts"} == {word for word in origins if word.startswith("≈")} != set()


def test_terms_of_other_encoders_are_only_terms() -> None:
    encoder = HashingEncoder()
    found = explain_query("café bom bom", encoder.encode_query("café bom bom"), encoder)
    assert [(word.weight, word.origin) for word in found] == [(1.25, "term"), (1.0, "term")]
    assert explain_query("", encoder.encode_query(""), encoder) == ()
