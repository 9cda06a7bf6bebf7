"""The ranking by scipy against sums over dictionaries, and agreement against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.comparison.agreement import agreement, right_share
from benchmarks.comparison.oracle import Oracle
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

pytest.importorskip("scipy")

weights = st.floats(np.float32(1e-30), np.float32(1e4), width=32, allow_subnormal=False) | st.sampled_from([0.25, 0.5, 1.0])
vectors = st.dictionaries(st.integers(0, 12), weights, max_size=8).map(SparseVector.from_dict)
collections = st.lists(vectors, min_size=1, max_size=20)


def summed(query: SparseVector, document: SparseVector) -> float:
    """Added up term by term in float64."""
    held, score = document.to_dict(), 0.0
    for term, weight in query.to_dict().items():
        if term in held:
            score += weight * held[term]
    return score


@given(collections, vectors, st.integers(1, 25))
def test_ranks_as_sums_over_dictionaries_do(documents: list[SparseVector], query: SparseVector, top_k: int) -> None:
    rows, scores = Oracle(SparseBatch.from_vectors(documents)).rank(query, top_k)
    expected = sorted((-summed(query, document), row) for row, document in enumerate(documents) if summed(query, document) > 0)[:top_k]
    assert [(-score, row) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)] == expected


@given(collections, vectors)
def test_scores_of_rows_are_those_of_the_ranking(documents: list[SparseVector], query: SparseVector) -> None:
    oracle = Oracle(SparseBatch.from_vectors(documents))
    rows, scores = oracle.rank(query, len(documents))
    assert np.allclose(oracle.scores(query, rows), scores, rtol=1e-12)


@given(collections, st.lists(vectors, min_size=1, max_size=4), st.integers(1, 25))
def test_the_exact_ranking_agrees_with_itself(documents: list[SparseVector], queries: list[SparseVector], top_k: int) -> None:
    oracle, asked = Oracle(SparseBatch.from_vectors(documents)), SparseBatch.from_vectors(queries)
    found = agreement(asked, [oracle.rank(query, top_k)[0] for query in queries], oracle, oracle, top_k)
    assert (found.agreement, found.engine_error, found.quantisation_loss) == (1.0, 0.0, 0.0)


def rows(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


DOCUMENTS = SparseBatch.from_vectors([SparseVector([0], [weight]) for weight in (4.0, 3.0, 2.0, 2.0, 1.0)])
QUERY = SparseBatch.from_vectors([SparseVector([0], [1.0])])


@pytest.mark.parametrize(
    ("found", "share"),
    [((0, 1, 2), 1.0), ((0, 1, 3), 1.0), ((0, 1, 4), 2 / 3), ((0, 1), 2 / 3), ((0, 0, 0), 1 / 3), ((4,), 0.0), ((), 0.0)],
    ids=["same", "another one with the same score", "a worse one", "one too few", "one three times", "only a worse one", "nothing"],
)
def test_share_of_the_best_three(found: tuple[int, ...], share: float) -> None:
    oracle = Oracle(DOCUMENTS)
    assert right_share(QUERY, [rows(*found)], oracle, [oracle.rank(QUERY[0], 3)], 3) == pytest.approx(share)


def test_queries_without_a_hit_count_for_nothing() -> None:
    oracle, queries = Oracle(DOCUMENTS), SparseBatch.from_vectors([QUERY[0], SparseVector([7], [1.0])])
    best = [oracle.rank(query, 3) for query in queries]
    assert right_share(queries, [rows(0), rows()], oracle, best, 3) == pytest.approx(1 / 3)


def test_rounding_and_searching_are_told_apart() -> None:
    exact = Oracle(DOCUMENTS)
    stored = Oracle(SparseBatch.from_vectors([SparseVector([0], [weight]) for weight in (4.0, 3.0, 2.0, 1.0, 2.5)]))
    found = agreement(QUERY, [rows(0, 2, 4)], exact, stored, 3)  # by what it keeps 0, 1, 4 would have been right
    assert found.engine_error == pytest.approx(1 / 3)
    assert found.quantisation_loss == pytest.approx(1 / 3)
    assert found.agreement == pytest.approx(2 / 3)
