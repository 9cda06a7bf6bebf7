r"""Stemmed Portuguese BM25, the baseline that learned weights must beat.

Lower-cased \w+ tokens with accents kept, Snowball's stop words taken out, then Snowball's Portuguese stemmer; scored
by bm25s as Lucene does (Robertson and Zaragoza 2009, with Lucene's idf).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..errors import InputError
from ..extras import require
from .runs import Run

_WORD = re.compile(r"\w+")


class StemmedBm25:
    """An index over documents held in memory.

    Args:
        documents: (doc_id, content) pairs; content is title, a space, text.
        k1: saturation of term frequency.
        b: strength of length normalisation, 0..1.

    Raises:
        MissingExtraError: without the extra [evaluation].
        InputError: no document, or none with a word in it.
    """

    def __init__(self, documents: Iterable[tuple[str, str]], *, k1: float = 1.2, b: float = 0.75) -> None:
        bm25s = require("bm25s", "the BM25 baseline")
        self._stop_words = frozenset(require("bm25s.stopwords", "the BM25 baseline").STOPWORDS_PORTUGUESE)
        self._stemmer = require("Stemmer", "the BM25 baseline").Stemmer("portuguese")
        self._doc_ids, tokens = [], []
        for doc_id, content in documents:
            self._doc_ids.append(doc_id)
            tokens.append(self.tokens(content))
        if not any(tokens):
            raise InputError("BM25 needs at least one document with a word in it.")
        self._index = bm25s.BM25(method="lucene", k1=k1, b=b)
        self._index.index(tokens, show_progress=False)

    def tokens(self, text: str) -> list[str]:
        """The stems that are matched."""
        words = [word for word in _WORD.findall(text.lower()) if word not in self._stop_words]
        stems: list[str] = self._stemmer.stemWords(words)
        return stems

    def search(self, query: str, top_k: int = 10) -> dict[str, float]:
        """Document ids with scores, best first; documents without a common stem are no hits."""
        stems = [stem for stem in self.tokens(query) if stem in self._index.vocab_dict]
        if not stems:
            return {}
        rows, scores = self._index.retrieve([stems], k=min(top_k, len(self._doc_ids)), show_progress=False)
        pairs = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return {self._doc_ids[row]: score for row, score in pairs if score > 0}

    def run(self, queries: Mapping[str, str], top_k: int = 1000) -> Run:
        """Search every query (query id -> text)."""
        return {query_id: self.search(text, top_k) for query_id, text in queries.items()}
