"""The exact ranking by scipy: slow, obvious, and what every engine's hits are compared with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

Ranking = tuple[NDArray[np.int64], NDArray[np.float64]]  # rows and scores, best first


class Oracle:
    """Scores are float64 sums, by ascending term, of products of float32 weights; ties by row.

    Args:
        documents: [N] vectors, held as float64 by document and by term: about 24 bytes a weight.
    """

    def __init__(self, documents: SparseBatch) -> None:
        terms = int(documents.term_ids.max(initial=0)) + 1
        weights = np.asarray(documents.weights, np.float64)
        shape = (len(documents), terms)
        self._rows = sparse.csr_array((weights, np.asarray(documents.term_ids, np.int32), np.asarray(documents.indptr)), shape=shape)
        self._terms = self._rows.tocsc()

    def rank(self, query: SparseVector, top_k: int) -> Ranking:
        """The top k; documents that share no term with the query are not hits."""
        terms, weights = self._known(query)
        scores = self._terms[:, terms] @ weights
        hits = np.flatnonzero(scores)  # products of positive float32 numbers never vanish in float64
        if len(hits) > top_k:
            least = np.partition(scores[hits], len(hits) - top_k)[len(hits) - top_k]
            hits = hits[scores[hits] >= least]
        best = hits[np.lexsort((hits, -scores[hits]))][:top_k]
        return best, scores[best]

    def rankings(self, queries: SparseBatch, top_k: int) -> Iterator[Ranking]:
        """rank() of each query."""
        return (self.rank(query, top_k) for query in queries)

    def scores(self, query: SparseVector, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores of these rows."""
        terms, weights = self._known(query)
        dense = np.zeros(self._rows.shape[1])
        dense[terms] = weights
        found: NDArray[np.float64] = self._rows[rows] @ dense
        return found

    def _known(self, query: SparseVector) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        known = query.term_ids < self._rows.shape[1]
        return query.term_ids[known].astype(np.int64), query.weights[known].astype(np.float64)
