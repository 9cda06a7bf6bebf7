"""An exact in-memory index of SparseEmbed documents: one posting list of (document, embedding) a term.

It is for measuring a model, not for serving: stores of sparse vectors have no place for an embedding a term.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.errors import ConfigError, InputError, VectorError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class EmbedHit(NamedTuple):
    """One result; `score` is the sum over common terms of the dot products of embeddings."""

    doc_id: str
    score: float


class SparseEmbedIndex:
    """Documents are added in batches and can be searched at any time.

    Args:
        size: length of a term's embedding.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ConfigError(f"the size of an embedding is {size}; accepted: 1 or more")
        self.size = size
        self.doc_ids: list[str] = []
        self._known: set[str] = set()
        self._pending: list[tuple[Ints, Ints, Floats]] = []
        self._terms, self._starts = np.zeros(0, np.int64), np.zeros(1, np.int64)
        self._documents, self._embeddings = np.zeros(0, np.int32), np.zeros((0, size), np.float32)

    def __len__(self) -> int:
        return len(self.doc_ids)

    @property
    def nbytes(self) -> int:
        """Bytes of the postings (document number and embedding) and of the list of terms; ids are not counted."""
        self._merge()
        return sum(array.nbytes for array in (self._terms, self._starts, self._documents, self._embeddings))

    @property
    def postings(self) -> int:
        """(document, term) pairs."""
        self._merge()
        return len(self._documents)

    def add(self, doc_ids: Sequence[str], terms: Any, embeddings: Any) -> None:
        """Adds documents; all of them or, on an error, none.

        Args:
            doc_ids: [D], none known yet; terms: [D, K] int, -1 for none; embeddings: [D, K, size] float.
        Raises: InputError for an id that the index already has; VectorError for arrays that do not fit, terms that occur twice
            in a document, and numbers that are not finite.
        """
        twice = len(set(doc_ids)) != len(doc_ids) or not self._known.isdisjoint(doc_ids)
        if twice:
            raise InputError("a document is in the index already, or twice in the batch; every id is added once")
        kept_terms, kept_embeddings = self._checked(terms, embeddings, rows=len(doc_ids))
        rows, columns = (kept_terms >= 0).nonzero()
        self._pending.append((kept_terms[rows, columns], rows + len(self.doc_ids), kept_embeddings[rows, columns]))
        self.doc_ids.extend(doc_ids)
        self._known.update(doc_ids)

    def search(self, terms: Any, embeddings: Any, top_k: int) -> list[EmbedHit]:
        """The `top_k` documents that share a term with the query, best first; of equal scores, the one added first.

        Args:
            terms: [K] int, -1 for none; embeddings: [K, size] float.
        """
        if top_k < 1:
            raise ConfigError(f"top_k is {top_k}; accepted: 1 or more")
        query_terms, query_embeddings = (row[0] for row in self._checked([terms], [embeddings], rows=1))
        self._merge()
        scores, found = np.zeros(len(self), np.float32), np.zeros(len(self), np.bool_)
        for term, embedding in zip(query_terms, query_embeddings, strict=True):
            postings = self._postings(int(term))
            documents = self._documents[postings]
            scores[documents] += self._embeddings[postings] @ embedding
            found[documents] = True
        hits = found.nonzero()[0]
        best = hits[np.argsort(-scores[hits], kind="stable")[:top_k]]
        return [EmbedHit(self.doc_ids[number], float(scores[number])) for number in best]

    def _postings(self, term: int) -> slice:
        """Where the postings of a term are; empty for an unknown term and for -1."""
        place = int(np.searchsorted(self._terms, term))
        if place == len(self._terms) or self._terms[place] != term:
            return slice(0, 0)
        return slice(int(self._starts[place]), int(self._starts[place + 1]))

    def _merge(self) -> None:
        """Sorts what was added since the last search into the posting lists, by term and then by document."""
        if not self._pending:
            return
        present = (np.repeat(self._terms, np.diff(self._starts)), self._documents.astype(np.int64), self._embeddings)
        terms, documents, embeddings = (np.concatenate(parts) for parts in zip(present, *self._pending, strict=True))
        order = np.lexsort((documents, terms))
        self._terms, counts = np.unique(terms, return_counts=True)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._documents, self._embeddings = documents[order].astype(np.int32), embeddings[order]
        self._pending = []

    def _checked(self, terms: Any, embeddings: Any, *, rows: int) -> tuple[Ints, Floats]:
        """[rows, K] terms and [rows, K, size] embeddings as arrays, or VectorError."""
        made_terms, made = np.asarray(terms), np.asarray(embeddings, dtype=np.float32)
        if made_terms.ndim != 2 or len(made_terms) != rows or made.shape != (*made_terms.shape, self.size):
            expected = f"[{rows}, K] and [{rows}, K, {self.size}]"
            raise VectorError(f"terms are {list(made_terms.shape)} and embeddings {list(made.shape)}; expected {expected}")
        if not np.issubdtype(made_terms.dtype, np.integer):
            raise VectorError(f"terms are {made_terms.dtype}; expected integers")
        if not np.isfinite(made[made_terms >= 0]).all():
            raise VectorError("an embedding holds NaN or infinity; expected finite numbers")
        ordered = np.sort(made_terms.astype(np.int64), axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise VectorError("a text has a term twice; expected each term once, -1 for none")
        return made_terms.astype(np.int64), made
