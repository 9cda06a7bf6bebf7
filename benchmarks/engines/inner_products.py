"""The largest inner products of queries with many vectors, exactly, a block of vectors at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 65_536  # vectors multiplied at once


def largest(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], top_k: int, block: int = BLOCK
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Best first, ties by row.

    Args:
        vectors: [N, D], may be mapped.
        queries: [Q, D].

    Returns: rows and products, [Q, min(top_k, N)].
    """
    rows, best = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
    for begin in range(0, len(vectors), block):
        products = queries @ np.asarray(vectors[begin : begin + block]).T
        chosen = _best(products, top_k)
        rows = np.concatenate([rows, chosen + begin], axis=1)
        best = np.concatenate([best, np.take_along_axis(products, chosen, axis=1)], axis=1)
        kept = _best(best, top_k)
        rows, best = np.take_along_axis(rows, kept, axis=1), np.take_along_axis(best, kept, axis=1)
    return rows, best


def _best(products: NDArray[np.float32], top_k: int) -> NDArray[np.int64]:
    """[Q, min(top_k, M)] columns of the largest, best first, ties by column."""
    if top_k < products.shape[1]:
        limits = np.partition(products, -top_k, axis=1)[:, -top_k]
        candidates = [np.flatnonzero(row >= limit) for row, limit in zip(products, limits, strict=True)]
    else:
        candidates = [np.arange(products.shape[1])] * len(products)
    ranked = [each[np.argsort(-row[each], kind="stable")][:top_k] for row, each in zip(products, candidates, strict=True)]
    return np.array(ranked, np.int64).reshape(len(products), -1)
