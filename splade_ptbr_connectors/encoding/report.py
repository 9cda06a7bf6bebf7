"""EncodingReport: what an encoder has encoded so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..vectors import SparseVector
from .tokens import TokenizedText


@dataclass(frozen=True, slots=True)
class EncodingReport:
    """What one encoder has encoded so far.

    Attributes:
        texts: queries and documents.
        windows: forward passes' rows; more than texts when long texts were split.
        split: texts that needed more than one window.
        truncated, tokens_cut: texts that lost tokens to on_long="truncate", and how many.
        empty: texts whose vector has no terms; no query can find them.
        terms: vector entries in all.
    """

    texts: int = 0
    windows: int = 0
    split: int = 0
    truncated: int = 0
    tokens_cut: int = 0
    empty: int = 0
    terms: int = 0

    def after(self, texts: Sequence[TokenizedText], vectors: Sequence[SparseVector]) -> EncodingReport:
        """The counts when these texts have become these vectors too."""
        return EncodingReport(
            texts=self.texts + len(texts),
            windows=self.windows + sum(len(text.windows) for text in texts),
            split=self.split + sum(len(text.windows) > 1 for text in texts),
            truncated=self.truncated + sum(text.tokens_cut > 0 for text in texts),
            tokens_cut=self.tokens_cut + sum(text.tokens_cut for text in texts),
            empty=self.empty + sum(not len(vector) for vector in vectors),
            terms=self.terms + sum(map(len, vectors)),
        )
