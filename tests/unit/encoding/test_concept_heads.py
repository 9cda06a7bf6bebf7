"""The concepts of a query: positive weights, best for what was chosen, better with each one, and exact where concepts are independent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.encoding.concept_heads import RIDGE, DocumentHead, QueryHead, pursued

SIZE = 24
seeds = st.integers(0, 2**32 - 1)


def problem(seed: int, *, twins: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Correlations of documents' codes, and a target that codes can follow in part."""
    rng = np.random.default_rng(seed)
    codes = np.maximum(rng.normal(size=(200, SIZE)) + rng.normal(size=(200, 1)), 0)
    if twins:
        codes[:, 1] = codes[:, 0]
    codes = (codes - codes.mean(axis=0)) / codes.std(axis=0)
    similarity = codes @ rng.random(SIZE) + rng.normal(size=200)
    return np.float32(codes.T @ codes / 200), np.float32(codes.T @ similarity / 200)


def pursue(correlations: np.ndarray, towards: np.ndarray, top: int) -> tuple[list[int], np.ndarray]:
    return pursued(correlations + RIDGE * np.eye(SIZE, dtype=np.float32), towards, top)


def explained(correlations: np.ndarray, towards: np.ndarray, top: int) -> float:
    chosen, weights = pursue(correlations, towards, top)
    ridge = correlations[np.ix_(chosen, chosen)] + RIDGE * np.eye(len(chosen))
    return float(2 * weights @ towards[chosen] - weights @ ridge @ weights)


@given(seed=seeds, top=st.integers(1, SIZE), twins=st.booleans())
def test_weights_are_positive_and_the_best_for_what_is_chosen(seed: int, top: int, twins: bool) -> None:
    correlations, towards = problem(seed, twins=twins)
    chosen, weights = pursue(correlations, towards, top)
    assert len(chosen) == len(set(chosen)) <= top and (weights > 0).all()
    gradient = towards[chosen] - correlations[np.ix_(chosen, chosen)] @ weights - RIDGE * weights
    assert gradient == pytest.approx(np.zeros(len(chosen)), abs=1e-4 * float(np.abs(towards).max()))


@given(seed=seeds)
def test_most_of_what_all_concepts_explain_is_explained_by_a_few(seed: int) -> None:
    correlations, towards = problem(seed)
    found = [explained(correlations, towards, top) for top in (1, 8, SIZE)]
    assert 0 < found[0] <= found[1] + 1e-6 and found[1] > 0.5 * found[2]


@given(seed=seeds, top=st.integers(1, SIZE))
def test_independent_concepts_are_taken_by_their_correlation(seed: int, top: int) -> None:
    towards = np.random.default_rng(seed).normal(size=SIZE).astype(np.float32)
    chosen, weights = pursue(np.eye(SIZE, dtype=np.float32), towards, top)
    wanted = [n for n in np.argsort(-towards, kind="stable")[:top] if towards[n] > 0]
    assert chosen == wanted and weights == pytest.approx(towards[wanted] / (1 + RIDGE), rel=1e-5)


@pytest.mark.parametrize("towards", [np.zeros(SIZE), np.full(SIZE, -1.0)])
def test_nothing_is_chosen_where_nothing_helps(towards: np.ndarray) -> None:
    assert pursue(np.eye(SIZE, dtype=np.float32), towards.astype(np.float32), 5)[0] == []


def test_scores_of_sparse_queries_follow_the_similarity_that_they_were_made_for() -> None:
    rng = np.random.default_rng(3)
    queries, documents = (rng.normal(size=(count, 6)).astype(np.float32) for count in (40, 2_000))
    nowhere, similarity = np.zeros(6, np.float32), rng.normal(size=(6, 6)).astype(np.float32)
    directions = rng.normal(size=(60, 6)).astype(np.float32)
    head = DocumentHead(directions, np.full(60, -0.5, np.float32), nowhere, 20)
    codes, unit = head.activations(documents), documents / np.linalg.norm(documents, axis=1, keepdims=True)
    deviations = codes.std(axis=0)
    normed = (codes - codes.mean(axis=0)) / deviations
    with_similarity = normed.T @ (unit @ similarity.T) / len(codes)
    asked = QueryHead(normed.T @ normed / len(codes), deviations, with_similarity, nowhere, 1.0, 12).activations(queries)
    wanted = queries / np.linalg.norm(queries, axis=1, keepdims=True) @ similarity @ unit.T
    assert (asked >= 0).all() and 0 < (asked > 0).sum(axis=1).max() <= 12
    assert np.mean([np.corrcoef(found, true)[0, 1] for found, true in zip(asked @ codes.T, wanted, strict=True)]) > 0.9
