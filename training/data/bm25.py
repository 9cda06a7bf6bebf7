r"""Stemmed BM25: the teacher of the distillation, and the baseline of the model card.

Words are lower-cased `\w+`, Snowball stop words are dropped, then the Snowball stemmer for Portuguese is applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import Stemmer
from bm25s.stopwords import STOPWORDS_PORTUGUESE
from numpy.typing import NDArray
from scipy import sparse

STOP_WORDS = frozenset(STOPWORDS_PORTUGUESE)
_WORD = re.compile(r"\w+")
StemIds = NDArray[np.int32]


class Stems:
    """Texts as stem ids; the table of words grows as texts come."""

    def __init__(self) -> None:
        self._stemmer = Stemmer.Stemmer("portuguese")
        self._of_word: dict[str, int] = dict.fromkeys(STOP_WORDS, -1)
        self._ids: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def _add(self, word: str) -> int:
        stem = self._stemmer.stemWord(word)
        index = self._ids.setdefault(stem, len(self._ids))
        self._of_word[word] = index
        return index

    def __call__(self, text: str) -> StemIds:
        """Stem ids of the words of a text, stop words left out."""
        known = self._of_word
        ids = [known[word] if word in known else self._add(word) for word in _WORD.findall(text.lower())]
        return np.asarray([index for index in ids if index >= 0], dtype=np.int32)

    def all(self, texts: Iterable[str]) -> list[StemIds]:
        return [self(text) for text in texts]


def counts(rows: Sequence[NDArray[np.int32]], size: int) -> sparse.csr_matrix:
    """[rows, size] how often each id occurs in each row."""
    lengths = [len(row) for row in rows]
    indices = np.concatenate([*rows, np.zeros(0, dtype=np.int32)])
    matrix = sparse.csr_matrix((np.ones(len(indices), dtype=np.float32), indices, np.cumsum([0, *lengths])), shape=(len(rows), size))
    matrix.sum_duplicates()
    return matrix


def inverse_document_frequency(frequency: NDArray[np.float64], documents: float) -> NDArray[np.float64]:
    """ln(1 + (N - df + 0.5) / (df + 0.5)), BM25's (Lucene) IDF."""
    return np.log1p((documents - frequency + 0.5) / (frequency + 0.5))


def document_weights(term_counts: sparse.csr_matrix, *, k1: float, b: float, average_length: float) -> sparse.csr_matrix:
    """Tf / (tf + k1 (1 - b + b length / average_length)), without IDF."""
    weights = term_counts.copy()
    lengths = np.asarray(term_counts.sum(axis=1)).ravel()
    norm = k1 * (1 - b + b * lengths / average_length)
    weights.data = weights.data / (weights.data + np.repeat(norm, np.diff(weights.indptr)))
    return weights


class Bm25Scorer:
    """BM25 of one collection of stem ids: its IDF and average length."""

    def __init__(self, documents: Sequence[StemIds], *, k1: float = 1.2, b: float = 0.75) -> None:
        size = 1 + max((int(row.max()) for row in documents if len(row)), default=0)
        term_counts = counts(documents, size)
        frequency = np.bincount(term_counts.indices, minlength=size).astype(np.float64)
        self.idf = inverse_document_frequency(frequency, len(documents))
        self.k1, self.b = k1, b
        self.average_length = max(1.0, float(term_counts.sum()) / max(1, len(documents)))

    def scores(self, queries: Sequence[StemIds], documents: Sequence[StemIds]) -> NDArray[np.float32]:
        """[queries, documents] BM25 scores; a repeated query word counts each time."""
        size = len(self.idf)
        asked = counts([row[row < size] for row in queries], size)
        held = counts([row[row < size] for row in documents], size)
        weights = document_weights(held, k1=self.k1, b=self.b, average_length=self.average_length)
        return np.asarray((asked.multiply(self.idf[None, :]).tocsr() @ weights.T).todense(), dtype=np.float32)


class Bm25Index(Bm25Scorer):
    """Bm25Scorer with the weights of its own documents kept, to score all of them again and again."""

    def __init__(self, documents: Sequence[StemIds], *, k1: float = 1.2, b: float = 0.75) -> None:
        super().__init__(documents, k1=k1, b=b)
        held = counts(documents, len(self.idf))
        self._weights = document_weights(held, k1=k1, b=b, average_length=self.average_length).T.tocsr()

    def all_scores(self, queries: Sequence[StemIds]) -> NDArray[np.float32]:
        """[queries, all documents]."""
        size = len(self.idf)
        asked = counts([row[row < size] for row in queries], size)
        return np.asarray((asked.multiply(self.idf[None, :]).tocsr() @ self._weights).todense(), dtype=np.float32)
