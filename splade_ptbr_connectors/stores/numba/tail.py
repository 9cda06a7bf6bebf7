"""The tail: documents that no window holds yet, in memory; the log holds them on the medium."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...vectors import SparseBatch, SparseVector
from .documents import Document, Key
from .index import joined
from .ranking import score_batch

_CHUNKS = 16  # batches are joined when there are so many


class Tail:
    """Rows in the order in which they came; deleted ones stay until the next merge."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self.alive: list[bool] = []
        self.rows: dict[Key, int] = {}
        self._chunks: list[SparseBatch] = []

    def __len__(self) -> int:
        return len(self.documents)

    def append(self, documents: list[Document], batch: SparseBatch) -> None:
        """Add documents; earlier ones with the same keys are dead."""
        for document in documents:
            self.delete(document.key)
            self.rows[document.key] = len(self.documents)
            self.documents.append(document)
            self.alive.append(True)
        self._chunks.append(batch)
        if len(self._chunks) > _CHUNKS:
            self._chunks = [joined(self._chunks)]

    def delete(self, key: Key) -> bool:
        """Whether there was such a document."""
        row = self.rows.pop(key, None)
        if row is not None:
            self.alive[row] = False
        return row is not None

    def batch(self) -> SparseBatch:
        """The vectors of all rows."""
        self._chunks = [joined(self._chunks)]
        return self._chunks[0]

    def scores(self, query: SparseVector) -> NDArray[np.float64]:
        """[rows] scores of the living; 0 for no hit."""
        scores = np.zeros(len(self))
        begin = 0
        for chunk in self._chunks:
            part = scores[begin : begin + len(chunk)]
            score_batch(*_read_only(chunk), query.term_ids, query.weights, part)
            begin += len(chunk)
        scores[~np.array(self.alive, np.bool_)] = 0
        return scores

    def heads(self, rows: Sequence[int]) -> list[tuple[Key, str | None]]:
        """(key, content hash) of each row."""
        return [(self.documents[row].key, self.documents[row].content_hash) for row in rows]

    def payloads(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The payload of each row."""
        return [json.loads(self.documents[row].payload) for row in rows]


def _read_only(batch: SparseBatch) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    indptr, terms, weights = batch.indptr.view(), batch.term_ids.view(), batch.weights.view()
    indptr.flags.writeable = terms.flags.writeable = weights.flags.writeable = False
    return indptr, terms, weights
