"""What the index is measured against: the textbook inverted index, compiled by numba."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.extras import require
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

Search = Callable[[SparseVector, int], tuple[NDArray[Any], NDArray[Any]]]


def plain_scatter_add(batch: SparseBatch, *, by_heap: bool = False) -> Search:
    """For each term an array of rows and one of weights in typed dicts, scores added up in an array of all documents.

    Args:
        by_heap: choose the top k by a heap within the compiled code; otherwise all documents that score are handed to numpy,
            which partitions and sorts them.
    """
    rows_of, weights_of, size = _lists(batch)
    scoring, heaped = _kernels()

    def search(query: SparseVector, top_k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        known = query.term_ids < size
        terms, weights = query.term_ids[known], query.weights[known]
        if by_heap:
            rows, scores = heaped(rows_of, weights_of, terms, weights, len(batch), top_k)
            return rows[scores > 0], scores[scores > 0]
        hits, scores = scoring(rows_of, weights_of, terms, weights, len(batch))
        if len(scores) > top_k:
            best = np.argpartition(-scores, top_k)[:top_k]
            hits, scores = hits[best], scores[best]
        order = np.argsort(-scores)
        return hits[order], scores[order]

    return search


def _lists(batch: SparseBatch) -> tuple[Any, Any, int]:
    """Rows and weights by term, and the number of terms."""
    typed, types = require("numba.typed", "the benchmark"), require("numba.types", "the benchmark")
    rows_of = typed.Dict.empty(types.int64, types.int32[::1])
    weights_of = typed.Dict.empty(types.int64, types.float32[::1])
    order = np.argsort(batch.term_ids, kind="stable")
    rows = np.repeat(np.arange(len(batch), dtype=np.int32), np.diff(batch.indptr))[order]
    weights, ends = batch.weights[order], np.cumsum(np.bincount(batch.term_ids))
    for term, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        rows_of[term], weights_of[term] = rows[begin:end].copy(), weights[begin:end].copy()
    return rows_of, weights_of, len(ends)


def _kernels() -> tuple[Any, Any]:
    numba = require("numba", "the benchmark")

    @numba.njit(nogil=True)  # type: ignore[untyped-decorator]
    def summed(rows_of: Any, weights_of: Any, terms: Any, query_weights: Any, count: Any) -> Any:
        scores = np.zeros(count, np.float32)
        for i in range(len(terms)):
            rows, weights = rows_of[np.int64(terms[i])], weights_of[np.int64(terms[i])]
            for j in range(len(rows)):
                scores[rows[j]] += query_weights[i] * weights[j]
        return scores

    @numba.njit(nogil=True)  # type: ignore[untyped-decorator]
    def scoring(rows_of: Any, weights_of: Any, terms: Any, query_weights: Any, count: Any) -> Any:
        scores = summed(rows_of, weights_of, terms, query_weights, count)
        hits = np.flatnonzero(scores > 0)
        return hits, scores[hits]

    @numba.njit(nogil=True)  # type: ignore[untyped-decorator]
    def heaped(rows_of: Any, weights_of: Any, terms: Any, query_weights: Any, count: Any, top_k: Any) -> Any:
        scores = summed(rows_of, weights_of, terms, query_weights, count)
        heap = [(np.float32(0), np.int64(0)) for _ in range(top_k)]
        for row in range(count):
            if scores[row] > heap[0][0]:
                heapq.heapreplace(heap, (scores[row], -row))  # type: ignore[misc]
        heap.sort()
        return np.array([-entry[1] for entry in heap[::-1]]), np.array([entry[0] for entry in heap[::-1]])

    return scoring, heaped
