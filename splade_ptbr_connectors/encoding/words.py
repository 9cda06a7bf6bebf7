"""Words as terms, without a network: a token stands for the term of its inflections, and a document counts its terms.

The table of terms is computed when the model is made (folded stems of whole words), so that nothing is stemmed here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFormatError
from ..vectors import SparseVector
from .config import WordSettings
from .folder import ModelFolder
from .inflections import Inflections
from .tensors import read_tensors
from .tokens import TokenizedText

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TermIds = NDArray[np.int64]


class Words:
    """Documents as counted terms: w = n / (n + k1 (1 - b + b L / average)), the saturation of BM25.

    n is how often a term occurs and L how many terms the text has, stop words left out and forms not counted again; there is no IDF here:
    queries have it.

    Args:
        terms: [V] the term of each token, -1 for none.
        tokenizer: for settings with inflections.
    """

    def __init__(self, terms: NDArray[np.int32], settings: WordSettings, tokenizer: Tokenizer | None = None) -> None:
        self._terms = terms.astype(np.int64)
        self._settings = settings
        self._inflections = Inflections(tokenizer, self._terms) if settings.inflections and tokenizer else None

    @classmethod
    def read(cls, folder: ModelFolder, settings: WordSettings, tokenizer: Tokenizer) -> Words:
        """Read a folder's table of terms. Raises ModelFormatError."""
        path, size, end = folder.path / settings.file, folder.config.vocab_size, folder.config.word_terms
        terms = read_tensors(path).get("terms")
        if terms is None or terms.shape != (size,) or terms.dtype.kind != "i" or terms.min(initial=0) < -1 or terms.max(initial=0) >= end:
            raise ModelFormatError(f"{path} must hold one tensor 'terms' of {size:,} whole numbers from -1 to {end - 1:,}.")
        named = terms[terms >= 0]
        if (terms[named] != named).any():
            raise ModelFormatError(f"{path} has tokens whose term has another term: download or make the model again.")
        return cls(terms, settings, tokenizer)

    def pieces(self, found: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        """The (token, start, end) of a text as (term, start, end), its form behind it; the term is -1 for none."""
        words, terms, are_forms = self._read([token for token, _, _ in found])
        ends = self._inflections.ends(found, words) if self._inflections else [end for _, _, end in found]
        pieces = list[tuple[int, int, int]]()
        for (_, start, _), end, word, term, form in zip(found, ends, words.tolist(), terms.tolist(), are_forms.tolist(), strict=True):
            pieces += [(term, start, end), (word, start, end)] if form else [(term, start, end)]
        return pieces

    def terms(self, token_ids: list[int]) -> TermIds:
        """The terms of a text in its order; tokens without one are left out."""
        _, terms, _ = self._read(token_ids)
        return terms[terms >= 0]

    def terms_and_forms(self, token_ids: list[int]) -> tuple[TermIds, TermIds]:
        """The terms of a text in its order, and the forms of its words that are not the word that their term is called by."""
        words, terms, are_forms = self._read(token_ids)
        return terms[terms >= 0], words[are_forms]

    def _read(self, token_ids: list[int]) -> tuple[TermIds, TermIds, NDArray[np.bool_]]:
        """[N] each: the words of a text (inflections.py), their terms, and whether the word is a term of its own as well."""
        words = np.asarray(token_ids, np.int64)
        if not self._inflections:
            return words, self._terms[words], np.zeros(len(words), np.bool_)
        words = self._inflections.words(words)
        terms = np.where(words < 0, -1, self._terms[words])
        if not self._settings.forms:
            return words, terms, np.zeros(len(words), np.bool_)
        return words, terms, (terms >= 0) & (terms != words) & self._inflections.are_whole(words)

    def vectors(self, texts: list[TokenizedText]) -> list[list[SparseVector]]:
        """One vector for each window of each text."""
        windows = [self.terms_and_forms(window) for text in texts for window in text.windows]
        found = iter(self.counted([terms for terms, _ in windows], [forms for _, forms in windows]))
        return [[next(found) for _ in text.windows] for text in texts]

    def counted(self, rows: list[TermIds], forms: list[TermIds] | None = None) -> list[SparseVector]:
        """The vectors of documents that are given as the terms, and the forms, that they have, one entry an occurrence."""
        size, lengths = len(self._terms), np.array([len(row) for row in rows], np.int64)
        if forms is not None:
            rows = [np.concatenate(parts) for parts in zip(rows, forms, strict=True)]
        keys = np.concatenate([np.zeros(0, np.int64), *rows]) + np.repeat(np.arange(len(rows)), [len(row) for row in rows]) * size
        keys, counts = np.unique(keys, return_counts=True)
        weights = self._saturation(counts, lengths[keys // size])
        ends = np.searchsorted(keys, np.arange(len(rows) + 1) * size).tolist()
        terms = (keys % size).astype(np.uint32)
        return [SparseVector(terms[start:end], weights[start:end]) for start, end in pairwise(ends)]

    def _saturation(self, counts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        k1, b, average = self._settings.k1, self._settings.b, self._settings.average_length
        return (counts / (counts + k1 * (1 - b + b * lengths / average))).astype(np.float32)
