"""Stemmed BM25: the formula by hand, the stop words, the stems."""

from __future__ import annotations

import math

import pytest
from bm25s.stopwords import STOPWORDS_PORTUGUESE

from splade_ptbr_connectors.errors import InputError
from splade_ptbr_connectors.evaluation.bm25 import StemmedBm25

DOCUMENTS = [
    ("1", "O imposto de renda"),
    ("2", "Impostos, impostos e mais impostos sobre a renda das empresas"),
    ("3", "Receita de bolo de cenoura"),
]


def test_scores_follow_lucenes_formula() -> None:
    index = StemmedBm25(DOCUMENTS, k1=1.2, b=0.75)
    lengths = [len(index.tokens(content)) for _, content in DOCUMENTS]
    assert lengths == [2, 6, 3]  # stop words do not count

    def score(frequency: int, length: int) -> float:
        idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
        return idf * frequency / (frequency + 1.2 * (1 - 0.75 + 0.75 * length / (sum(lengths) / 3)))

    assert index.search("imposto") == pytest.approx({"2": score(3, 6), "1": score(1, 2)}, rel=1e-5)
    assert list(index.search("imposto")) == ["2", "1"]


def test_inflections_match_and_case_does_not_matter() -> None:
    index = StemmedBm25(DOCUMENTS)
    assert index.search("EMPRESA") == index.search("empresas") != {}


def test_accents_are_kept() -> None:
    assert StemmedBm25([("1", "avó"), ("2", "avô")]).search("avó").keys() == {"1"}


def test_documents_without_a_common_word_are_no_hits() -> None:
    index = StemmedBm25(DOCUMENTS)
    assert list(index.search("cenoura")) == ["3"]
    for query in ("desconhecida", "de e o", "", "?!"):
        assert index.search(query) == {}


def test_top_k_and_runs() -> None:
    index = StemmedBm25(DOCUMENTS)
    assert len(index.search("imposto renda bolo", 2)) == 2
    assert index.run({"q1": "bolo", "q2": "nada-disso"}) == {"q1": index.search("bolo"), "q2": {}}


def test_nothing_to_index_is_an_error() -> None:
    for documents in ([], [("1", "de e o")], [("1", "")]):
        with pytest.raises(InputError, match="at least one document"):
            StemmedBm25(documents)


def test_the_stop_words_are_snowballs_207() -> None:
    assert len(set(STOPWORDS_PORTUGUESE)) == 207
    assert {"de", "não", "à", "houvéssemos", "tém", "vocês"} <= set(STOPWORDS_PORTUGUESE)
    assert all(word == word.lower() and word.isalpha() for word in set(STOPWORDS_PORTUGUESE))
