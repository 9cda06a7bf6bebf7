r"""Lexical BM25, the baseline that learned weights must beat: over plain words, or over Portuguese stems.

Lower-cased \w+ tokens with accents kept; stemmed, Snowball's stop words are taken out and its Portuguese stemmer follows. Scored
by bm25s as Lucene does (Robertson and Zaragoza 2009, with Lucene's idf).
"""

from __future__ import annotations

import array
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, StoreNotFoundError
from ..extras import require
from .runs import Run

_WORD = re.compile(r"\w+")


class PlainBm25:
    """An index over words as they are, lower-cased, in memory or mapped from a folder.

    Args:
        documents: (doc_id, content) pairs, read once; content is title, a space, text.
        k1: saturation of term frequency.
        b: strength of length normalisation, 0..1.

    Raises:
        MissingExtraError: without the extra [evaluation].
        InputError: no document, or none with a word in it.
    """

    def __init__(self, documents: Iterable[tuple[str, str]], *, k1: float = 1.2, b: float = 0.75) -> None:
        self._doc_ids, terms, vocabulary = [], [], dict[str, int]()
        for doc_id, content in documents:
            self._doc_ids.append(doc_id)
            terms.append(array.array("i", [vocabulary.setdefault(token, len(vocabulary)) for token in self.tokens(content)]))
        if not vocabulary:
            raise InputError("BM25 needs at least one document with a word in it.")
        self._index: Any = require("bm25s", "the BM25 baseline").BM25(method="lucene", k1=k1, b=b)
        self._index.index((terms, vocabulary), show_progress=False)

    def tokens(self, text: str) -> list[str]:
        """The words that are matched."""
        return _WORD.findall(text.lower())

    def search(self, query: str, top_k: int = 10) -> dict[str, float]:
        """Document ids with scores, best first; documents without a common word are not hits."""
        rows, scores = self.search_rows(query, top_k)
        return {self._doc_ids[row]: score for row, score in zip(rows.tolist(), scores.tolist(), strict=True)}

    def search_rows(self, query: str, top_k: int = 10) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """search() with the numbers of documents, counted from 0 as they came. Returns (rows, scores), at most top_k of them."""
        words = [word for word in self.tokens(query) if word in self._index.vocab_dict]
        if not words:
            return np.empty(0, np.int64), np.empty(0)
        found, scores = self._index.retrieve([words], k=min(top_k, self._index.scores["num_docs"]), show_progress=False)
        hits = scores[0] > 0
        return found[0][hits].astype(np.int64), scores[0][hits].astype(np.float64)

    def run(self, queries: Mapping[str, str], top_k: int = 1000) -> Run:
        """Search every query (query id -> text)."""
        return {query_id: self.search(text, top_k) for query_id, text in queries.items()}

    def save(self, folder: str | Path) -> None:
        """Write the index in bm25s' own form; document ids are the caller's to keep."""
        self._index.save(str(folder), show_progress=False)

    @classmethod
    def load(cls, folder: str | Path, doc_ids: Sequence[str] = ()) -> Self:
        """Map what save() wrote. Without document ids only search_rows() can be used.

        Raises:
            MissingExtraError: without the extra [evaluation].
            StoreNotFoundError: nothing there.
        """
        library = require("bm25s", "the BM25 baseline")
        loaded = cls.__new__(cls)
        loaded._doc_ids = list(doc_ids)
        try:
            loaded._index = library.BM25.load(str(folder), mmap=True, show_progress=False)
        except FileNotFoundError as error:
            raise StoreNotFoundError(f"there is no BM25 index in {folder}: write one with save().") from error
        return loaded


class StemmedBm25(PlainBm25):
    """An index over Portuguese stems without stop words; arguments and errors as in PlainBm25."""

    def __init__(self, documents: Iterable[tuple[str, str]], *, k1: float = 1.2, b: float = 0.75) -> None:
        self._prepare()
        super().__init__(documents, k1=k1, b=b)

    def tokens(self, text: str) -> list[str]:
        """The stems that are matched."""
        words = [word for word in super().tokens(text) if word not in self._stop_words]
        with self._stemming:
            stems: list[str] = self._stemmer.stemWords(words)
        return stems

    @classmethod
    def load(cls, folder: str | Path, doc_ids: Sequence[str] = ()) -> Self:
        loaded = super().load(folder, doc_ids)
        loaded._prepare()
        return loaded

    def _prepare(self) -> None:
        self._stop_words = frozenset(require("bm25s.stopwords", "the BM25 baseline").STOPWORDS_PORTUGUESE)
        self._stemmer = require("Stemmer", "the BM25 baseline").Stemmer("portuguese")
        self._stemming = threading.Lock()  # a stemmer is not made for threads
