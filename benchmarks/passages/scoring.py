"""Scores of documents out of scores of their passages, every query against everything, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

Scores = NDArray[np.float64]


def dot_products(queries: Sequence[SparseVector], rows: Sequence[SparseVector], vocab_size: int) -> Scores:
    """[queries, rows]."""
    asked, held = (SparseBatch.from_vectors(vectors).to_scipy(vocab_size).astype(np.float64) for vectors in (queries, rows))
    found: Scores = (asked @ held.T).toarray()
    return found


def best(scores: Scores, document_of: Sequence[int]) -> Scores:
    """[queries, documents]: each document's best passage (MaxP, Dai and Callan 2019)."""
    return mean_of_best(scores, document_of, 1)


def mean_of_best(scores: Scores, document_of: Sequence[int], few: int) -> Scores:
    """[queries, documents]: the mean of each document's `few` best passages, of all where it has fewer."""
    return _by_document(scores, document_of, lambda part: np.sort(part, axis=1)[:, -few:].mean(axis=1))


def _by_document(scores: Scores, document_of: Sequence[int], reduce: Callable[[Scores], Scores]) -> Scores:
    """Passages of a document are consecutive, and every document has one."""
    begins = np.flatnonzero(np.diff(document_of, prepend=-1))
    return np.stack([reduce(part) for part in np.split(scores, begins[1:], axis=1)], axis=1)


def run_of(scores: Scores, query_ids: Sequence[str], doc_ids: Sequence[str], top_k: int = 100) -> dict[str, dict[str, float]]:
    """Query id -> document id -> score, best first, ties by document id; documents of score 0 are not hits."""
    order = np.argsort(np.argsort(doc_ids))
    found = {}
    for query_id, row in zip(query_ids, scores, strict=True):
        ranked = np.lexsort((order, -row))[:top_k]
        found[query_id] = {doc_ids[place]: float(row[place]) for place in ranked if row[place] > 0}
    return found
