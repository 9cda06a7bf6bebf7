"""Agreement of an engine's hits with the exact ranking, split into what its search loses and what its rounding loses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison.oracle import Oracle, Ranking
from benchmarks.comparison.results import Agreement
from splade_ptbr_connectors.vectors import SparseBatch

TIE = 1e-5  # scores that differ by less, relatively, are the same: engines add up in float32, in an order of their own
Rows = Sequence[NDArray[np.int64]]  # per query, best first


def agreement(queries: SparseBatch, found: Rows, exact: Oracle, stored: Oracle | None, top_k: int) -> Agreement:
    """Shares of the top k, means over the queries that have a hit at all.

    Args:
        found: what the engine returned.
        exact: over the float32 vectors.
        stored: over the weights that the engine keeps; None: it keeps all of them.
    """
    best = [exact.rank(query, top_k) for query in queries]
    if stored is None:
        right = right_share(queries, found, exact, best, top_k)
        return Agreement(agreement=right, engine_error=1 - right, quantisation_loss=0.0)
    kept = [stored.rank(query, top_k) for query in queries]
    return Agreement(
        agreement=right_share(queries, found, exact, best, top_k),
        engine_error=1 - right_share(queries, found, stored, kept, top_k),
        quantisation_loss=1 - right_share(queries, [rows for rows, _ in kept], exact, best, top_k),
    )


def right_share(queries: SparseBatch, found: Rows, oracle: Oracle, best: Sequence[Ranking], top_k: int) -> float:
    """Mean share of the best that was found: a hit is right if its score reaches the last one's of the best."""
    shares = []
    for query, rows, (_, scores) in zip(queries, found, best, strict=True):
        if len(scores):
            unique = np.unique(rows[:top_k])
            reached = oracle.scores(query, unique) >= scores[-1] * (1 - TIE)
            shares.append(min(int(reached.sum()), len(scores)) / len(scores))
    return float(np.mean(shares)) if shares else 1.0
