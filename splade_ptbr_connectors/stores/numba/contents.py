"""The contents of a store at one revision, in memory: segments, who lives in them, and a buffer of what no segment holds yet."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...vectors import SparseBatch, SparseVector
from .index import joined
from .passing import Passing
from .ranking import score_batch
from .schema import Change, Documents, Numbers
from .searcher import Searcher
from .segment import Segment

_CHUNKS = 16  # batches of a buffer are joined when there are so many
Mask = NDArray[np.bool_]


class Segments(tuple[Segment, ...]):
    """The segments of a store, in order of their numbers."""

    @functools.cached_property
    def searcher(self) -> Searcher:
        """Of all rows, dead ones too."""
        return Searcher([segment.window for segment in self])

    @functools.cached_property
    def numbers(self) -> Numbers:
        """Of all rows."""
        return np.concatenate([np.empty(0, np.int64), *[segment.numbers for segment in self]])

    def doc_ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Of these rows."""
        which = np.searchsorted(self.searcher.bases, rows, "right") - 1
        local = rows - self.searcher.bases[which]
        return [self[w].doc_id(row) for w, row in zip(which.tolist(), local.tolist(), strict=True)]


class Results(NamedTuple):
    """Hits in no order: the numbers, ids and scores of their documents."""

    numbers: list[int]
    doc_ids: list[str]
    scores: list[float]


@dataclass(frozen=True, eq=False)
class Buffer:
    """Documents in the order of their numbers; dead ones stay until the next merge."""

    numbers: Numbers
    ids: tuple[str, ...]
    alive: Mask
    chunks: tuple[SparseBatch, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def changed(self, change: Change) -> Buffer:
        """After a change."""
        alive, chunks = self.alive, self.chunks
        if len(change.ended) and len(self):
            alive = alive & ~np.isin(self.numbers, change.ended)
        begun = change.begun
        if not len(begun.numbers):
            return replace(self, alive=alive)
        chunks = (*chunks, begun.vectors)
        if len(chunks) > _CHUNKS:
            chunks = (joined(chunks),)
        numbers, alive = np.concatenate([self.numbers, begun.numbers]), np.concatenate([alive, np.ones(len(begun.numbers), np.bool_)])
        return Buffer(numbers, self.ids + begun.ids, alive, chunks)

    def documents(self, rows: Numbers) -> Documents:
        """Those of these rows."""
        return Documents(self.numbers[rows], tuple([self.ids[row] for row in rows.tolist()]), rows_of(joined(self.chunks), rows))

    def scores(self, query: SparseVector) -> NDArray[np.float64]:
        """[rows] scores; 0 for no hit."""
        scores = np.zeros(len(self))
        begin = 0
        for chunk in self.chunks:
            score_batch(*_read_only(chunk), query.term_ids, query.weights, scores[begin : begin + len(chunk)])
            begin += len(chunk)
        return scores


EMPTY = Buffer(np.empty(0, np.int64), (), np.empty(0, np.bool_), ())


@dataclass(frozen=True, eq=False)
class Contents:
    """What is searched. A change makes another one of it, so that searches that run keep theirs."""

    revision: int
    segments: Segments
    alive: tuple[Mask, ...]
    buffer: Buffer

    @classmethod
    def of(cls, revision: int, segments: Sequence[Segment], deleted: Numbers, buffer: Buffer) -> Contents:
        """Segments, less the deleted numbers (ascending), and a buffer."""
        alive = tuple(np.ones(len(segment), np.bool_) for segment in segments)
        return cls(revision, Segments(segments), alive, buffer)._without(deleted)

    def __len__(self) -> int:
        """Number of documents."""
        return sum([int(mask.sum()) for mask in (*self.alive, self.buffer.alive)])

    def changed(self, change: Change) -> Contents:
        """After a change."""
        rest = self._without(np.sort(change.ended)) if len(change.ended) else self
        return replace(rest, revision=change.revision, buffer=self.buffer.changed(change))

    def numbers(self, passing: Passing | None = None) -> Numbers:
        """Of the documents that live and pass, ascending."""
        masks = self._masks(passing)
        living = [segment.numbers[mask] for segment, mask in zip(self.segments, masks, strict=True)]
        return np.concatenate([*living, self.buffer.numbers[self._buffer_mask(passing)]])

    def search(self, query: SparseVector, top_k: int, passing: Passing | None) -> Results:
        """The top k of those that live and pass, and all that tie with the last of them."""
        searcher = self._living if passing is None else self.segments.searcher.narrowed(self._masks(passing))
        rows, scores = searcher.search(query, top_k)
        if not len(self.buffer):
            return Results(self.segments.numbers[rows].tolist(), self.segments.doc_ids(rows), scores.tolist())
        in_buffer = self.buffer.scores(query) * self._buffer_mask(passing)
        hits = np.flatnonzero(in_buffer)
        every = np.concatenate([scores, in_buffer[hits]])
        if len(every) > top_k:
            least = np.partition(every, len(every) - top_k)[len(every) - top_k]
            kept, hits = scores >= least, hits[in_buffer[hits] >= least]
            rows, scores = rows[kept], scores[kept]
        return Results(
            [*self.segments.numbers[rows].tolist(), *self.buffer.numbers[hits].tolist()],
            [*self.segments.doc_ids(rows), *[self.buffer.ids[row] for row in hits.tolist()]],
            [*scores.tolist(), *in_buffer[hits].tolist()],
        )

    @functools.cached_property
    def _living(self) -> Searcher:
        return self.segments.searcher.narrowed([None if mask.all() else mask for mask in self.alive])

    def _without(self, numbers: Numbers) -> Contents:
        return replace(self, alive=tuple(map(_less, self.segments, self.alive, [numbers] * len(self.segments))))

    def _masks(self, passing: Passing | None) -> Sequence[Mask]:
        if passing is None:
            return self.alive
        return [mask & passing.rows(segment) for mask, segment in zip(self.alive, self.segments, strict=True)]

    def _buffer_mask(self, passing: Passing | None) -> Mask:
        return self.buffer.alive if passing is None else self.buffer.alive & passing.among(self.buffer.numbers)


def _less(segment: Segment, alive: Mask, numbers: Numbers) -> Mask:
    rows = segment.rows_of(numbers)
    if not len(rows):
        return alive
    alive = alive.copy()
    alive[rows] = False
    return alive


def rows_of(batch: SparseBatch, rows: Numbers) -> SparseBatch:
    """These rows of a batch."""
    lengths = np.diff(batch.indptr)[rows]
    indptr = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=indptr[1:])
    places = np.repeat(batch.indptr[rows] - indptr[:-1], lengths) + np.arange(indptr[-1])
    return SparseBatch(indptr, batch.term_ids[places], batch.weights[places])


def _read_only(batch: SparseBatch) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The types that kernels are compiled for."""
    indptr, terms, weights = batch.indptr.view(), batch.term_ids.view(), batch.weights.view()
    indptr.flags.writeable = terms.flags.writeable = weights.flags.writeable = False
    return indptr, terms, weights
