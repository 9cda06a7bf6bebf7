"""Exact search over sparse vectors: blocks kept in memory, or a stream of blocks of which only the best hits are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from splade_ptbr_connectors.errors import ConfigError, InputError, VectorError

Hits = list[tuple[str, float]]  # (doc_id, score), best first
SCORE_BYTES = 64 * 2**20
"""Most memory that the scores of one product of queries and documents take."""
DOCUMENTS_AT_ONCE = 32_768
_BYTES_A_SCORE = 24  # float64 score, int32 column, int64 row, and the mask of those that are kept


def checked(vectors: sparse.csr_matrix, vocab_size: int) -> sparse.csr_matrix:
    """Vectors as canonical float32 rows [N, V]: terms sorted and unique, no explicit zeros. The argument stays as it is.

    Raises:
        VectorError: another number of terms than V; a weight that is negative, infinite or NaN.
    """
    with np.errstate(over="ignore"):
        rows = sparse.csr_matrix(vectors, dtype=np.float32)
    if rows.shape[1] != vocab_size:
        raise VectorError(f"vectors have {rows.shape[1]:,} terms, the vocabulary has {vocab_size:,}: they come from another model.")
    bad = ~(np.isfinite(rows.data) & (rows.data >= 0))
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(rows.indptr, place, side="right")) - 1
        raise VectorError(f"vector {row} has the weight {rows.data[place]} for term {rows.indices[place]}: weights are finite and >= 0.")
    if rows.has_canonical_format and rows.data.all():
        return rows
    rows = rows.copy()
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows


class TermCounts:
    """How often each term of the vocabulary occurs in vectors that pass by.

    Attributes:
        vectors: N, how many vectors were added.
        empty: those of them without any term.
        postings: all their terms together.
        frequencies: [V] int64, vectors that have the term.
    """

    def __init__(self, vocab_size: int) -> None:
        self.vectors = self.empty = self.postings = 0
        self.frequencies: NDArray[np.int64] = np.zeros(vocab_size, dtype=np.int64)

    def add(self, vectors: sparse.csr_matrix) -> None:
        """Count canonical vectors (see `checked`)."""
        self.vectors += vectors.shape[0]
        self.empty += int((np.diff(vectors.indptr) == 0).sum())
        self.postings += vectors.nnz
        self.frequencies += np.bincount(vectors.indices, minlength=len(self.frequencies))

    @property
    def mean_terms(self) -> float:
        """Terms per vector, empty vectors included; 0 when there is no vector."""
        return self.postings / max(1, self.vectors)

    @property
    def shares(self) -> NDArray[np.float64]:
        """[V] share of the vectors that have each term."""
        return self.frequencies / max(1, self.vectors)


def evaluation_flops(queries: TermCounts, documents: TermCounts) -> float:
    """sum_j p_j^q p_j^d, p = frequency / N: expected products per (query, document) pair (arXiv 2004.05665)."""
    return float(queries.shares @ documents.shares)


class StreamingSearch:
    """Searches blocks of documents for queries that are known beforehand; of each query only the best hits are kept.

    Scores are dot products summed in float64 in order of term id, so no block size can change one. Hits have scores above
    0; of equal scores the document that was added first comes first.

    Args:
        queries: [Q, V] vectors.
        query_ids: Q ids, no two alike.
        top_k: hits kept of each query.
        score_bytes: most memory that scores take at a time.

    Raises:
        ConfigError: top_k below 1.
        InputError: ids that repeat, or another number of them than queries.
        VectorError: see `checked`.
    """

    def __init__(self, queries: sparse.csr_matrix, query_ids: Sequence[str], top_k: int, *, score_bytes: int = SCORE_BYTES) -> None:
        if top_k < 1:
            raise ConfigError(f"top_k is {top_k}: at least one hit must be asked for.")
        self.vocab_size: int = queries.shape[1]
        rows = checked(queries, self.vocab_size)
        _check_ids(query_ids, rows, "query")
        self._queries = rows.astype(np.float64)
        self._query_ids = list(query_ids)
        self._top_k = top_k
        self._cells = max(1, score_bytes // _BYTES_A_SCORE)
        self._scores: list[NDArray[np.float64]] = [np.empty(0)] * len(self._query_ids)
        self._doc_ids: list[NDArray[np.object_]] = [np.empty(0, dtype=np.object_)] * len(self._query_ids)
        self._to_beat = np.zeros(len(self._query_ids))

    def add(self, doc_ids: Sequence[str], vectors: sparse.csr_matrix) -> None:
        """Search a block: D ids and [D, V] vectors. Ids must differ within a block; over blocks the caller answers for it."""
        rows = checked(vectors, self.vocab_size)
        _check_ids(doc_ids, rows, "document")
        ids = np.array(doc_ids, dtype=np.object_)
        for start in range(0, len(ids), self._documents_at_once):
            end = start + self._documents_at_once
            self._search(ids[start:end], rows[start:end])

    @property
    def _documents_at_once(self) -> int:
        return min(DOCUMENTS_AT_ONCE, self._cells)

    def _search(self, doc_ids: NDArray[np.object_], vectors: sparse.csr_matrix) -> None:
        postings = vectors.T.tocsr().astype(np.float64)
        queries_at_once = max(1, self._cells // len(doc_ids))
        for start in range(0, len(self._query_ids), queries_at_once):
            self._keep_best(start, self._queries[start : start + queries_at_once] @ postings, doc_ids)

    def _keep_best(self, first: int, scores: sparse.csr_matrix, doc_ids: NDArray[np.object_]) -> None:
        """Merge [q, D] scores of the queries from `first` on into their best hits."""
        rows = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
        # a later document loses a tie, so a full list can only be changed by a higher score
        kept = scores.data > self._to_beat[first : first + scores.shape[0]][rows]
        columns, values = scores.indices[kept], scores.data[kept]
        ends = np.cumsum(np.bincount(rows[kept], minlength=scores.shape[0]))
        start = 0
        for row, end in enumerate(ends.tolist()):
            if end > start:
                order = np.lexsort((columns[start:end], -values[start:end]))[: self._top_k]
                self._merge(first + row, values[start:end][order], doc_ids[columns[start:end][order]])
            start = end

    def _merge(self, query: int, scores: NDArray[np.float64], doc_ids: NDArray[np.object_]) -> None:
        joined = np.concatenate([self._scores[query], scores])
        order = np.argsort(-joined, kind="stable")[: self._top_k]
        self._scores[query] = joined[order]
        self._doc_ids[query] = np.concatenate([self._doc_ids[query], doc_ids])[order]
        if len(order) == self._top_k:
            self._to_beat[query] = self._scores[query][-1]

    def run(self) -> dict[str, Hits]:
        """The best hits so far, for every query; a query that nothing matches has none."""
        found = zip(self._query_ids, self._doc_ids, self._scores, strict=True)
        return {query_id: list(zip(ids.tolist(), scores.tolist(), strict=True)) for query_id, ids, scores in found}


class ExactIndex:
    """Documents as sparse vectors in memory; memory grows with the blocks that are added and nothing else."""

    def __init__(self, vocab_size: int) -> None:
        self.counts = TermCounts(vocab_size)
        self.vocab_size = vocab_size
        self._blocks: list[tuple[list[str], sparse.csr_matrix]] = []
        self._known: set[str] = set()

    def __len__(self) -> int:
        return self.counts.vectors

    def add(self, doc_ids: Sequence[str], vectors: sparse.csr_matrix) -> None:
        """Add D documents with [D, V] vectors. Nothing is added when an error is raised.

        Raises:
            InputError: an id that the index already has, or another number of ids than vectors.
            VectorError: see `checked`.
        """
        rows = checked(vectors, self.vocab_size)
        _check_ids(doc_ids, rows, "document")
        again = next((doc_id for doc_id in doc_ids if doc_id in self._known), None)
        if again is not None:
            raise InputError(f"document id {again!r} is already in the index: ids must differ.")
        self._known.update(doc_ids)
        self._blocks.append((list(doc_ids), rows))
        self.counts.add(rows)

    def search(
        self, queries: sparse.csr_matrix, query_ids: Sequence[str], top_k: int, *, score_bytes: int = SCORE_BYTES
    ) -> dict[str, Hits]:
        """The best hits of each query; scores, ties and errors as in StreamingSearch."""
        search = StreamingSearch(checked(queries, self.vocab_size), query_ids, top_k, score_bytes=score_bytes)
        for doc_ids, rows in self._blocks:
            search.add(doc_ids, rows)
        return search.run()

    @property
    def document_frequencies(self) -> NDArray[np.int64]:
        """[V] documents that have each term."""
        return self.counts.frequencies

    @property
    def postings(self) -> int:
        """Terms of all documents together."""
        return self.counts.postings

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that hold the vectors."""
        return sum(rows.data.nbytes + rows.indices.nbytes + rows.indptr.nbytes for _, rows in self._blocks)


def _check_ids(ids: Sequence[str], rows: sparse.csr_matrix, what: str) -> None:
    if len(ids) != rows.shape[0]:
        raise InputError(f"{len(ids)} {what} ids for {rows.shape[0]} vectors: every vector needs one id.")
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        again = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"duplicate {what} id {again!r}: ids must differ.")
