"""Rankings out of scores, and two ways to make one of two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Ranking = NDArray[np.int64]
"""Rows of documents, best first."""


def ranking(scores: Scores, order: Ranking, depth: int, *, above: float = -np.inf) -> Ranking:
    """The `depth` best documents of one query with a score larger than `above`; ties by `order`, the places of document ids [D]."""
    rows = np.lexsort((order, -scores))[:depth]
    return rows[scores[rows] > above]


def reciprocal_ranks(rankings: Sequence[Ranking], k: int, size: int) -> Scores:
    """[size]: sum of 1 / (k + rank), ranks from 1 (Cormack, Clarke and Büttcher 2009); 0 of a document in no ranking."""
    scores = np.zeros(size)
    for rows in rankings:
        scores[rows] += 1 / (k + np.arange(1, len(rows) + 1))
    return scores


def weighted(sparse: Scores, dense: Scores, share: float) -> Scores:
    """[D]: the dense scores of one query with this share and the sparse ones with the rest, each with mean 0 and deviation 1."""
    return share * _standardised(dense) + (1 - share) * _standardised(sparse)


def _standardised(scores: Scores) -> Scores:
    deviation = scores.std()
    return (scores - scores.mean()) / (deviation if deviation > 0 else 1.0)
