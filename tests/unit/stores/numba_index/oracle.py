"""Scores of every row by a sparse product of scipy: slow, obvious, and what the index has to agree with bit by bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from splade_ptbr_connectors.vectors import SparseBatch, SparseVector


def ranked(
    documents: SparseBatch, query: SparseVector, top_k: int, passing: NDArray[np.bool_] | None = None
) -> tuple[list[int], list[float]]:
    """(rows, scores) of the top k by score, then by row; rows that share no term with the query are left out.

    scipy adds up a row in the order in which it is stored, by ascending term: the same float64 sum as the index's.
    """
    matrix, asked = _matrix(documents, query)
    scores = matrix @ asked
    shared = (matrix != 0).astype(np.int64) @ (asked != 0).astype(np.int64) > 0
    rows = np.flatnonzero(shared if passing is None else shared & passing)
    best = rows[np.lexsort((rows, -scores[rows]))][:top_k]
    return best.tolist(), scores[best].tolist()


def _matrix(documents: SparseBatch, query: SparseVector) -> tuple[sparse.csr_array, NDArray[np.float64]]:
    terms, places = np.unique(np.concatenate([documents.term_ids, query.term_ids]), return_inverse=True)
    nonzero = len(documents.term_ids)
    shape = (len(documents), max(1, len(terms)))
    matrix = sparse.csr_array((documents.weights.astype(np.float64), places[:nonzero], documents.indptr), shape=shape)
    asked = np.zeros(shape[1])
    asked[places[nonzero:]] = query.weights
    return matrix, asked
