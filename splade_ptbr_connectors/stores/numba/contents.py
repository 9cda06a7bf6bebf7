"""The contents of a store at one revision, in memory: segments, who lives in them, and a buffer of what no segment holds yet."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...vectors import SparseBatch, SparseVector
from .index import joined
from .passing import Passing
from .ranking import score_batch
from .schema import Change, Numbers
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


@dataclass(frozen=True, eq=False)
class Buffer:
    """Documents in the order of their numbers; dead ones stay until the next merge."""

    numbers: Numbers
    alive: Mask
    chunks: tuple[SparseBatch, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def changed(self, change: Change) -> Buffer:
        """After a change."""
        alive, chunks = self.alive, self.chunks
        if len(change.ended) and len(self):
            alive = alive & ~np.isin(self.numbers, change.ended)
        if not len(change.begun):
            return replace(self, alive=alive)
        chunks = (*chunks, change.vectors)
        if len(chunks) > _CHUNKS:
            chunks = (joined(chunks),)
        return Buffer(np.concatenate([self.numbers, change.begun]), np.concatenate([alive, np.ones(len(change.begun), np.bool_)]), chunks)

    def batch(self) -> SparseBatch:
        """The vectors of all rows."""
        return joined(self.chunks)

    def scores(self, query: SparseVector) -> NDArray[np.float64]:
        """[rows] scores; 0 for no hit."""
        scores = np.zeros(len(self))
        begin = 0
        for chunk in self.chunks:
            score_batch(*_read_only(chunk), query.term_ids, query.weights, scores[begin : begin + len(chunk)])
            begin += len(chunk)
        return scores


EMPTY = Buffer(np.empty(0, np.int64), np.empty(0, np.bool_), ())


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

    def search(self, query: SparseVector, top_k: int, passing: Passing | None) -> tuple[Numbers, NDArray[np.float64]]:
        """Numbers and scores of the top k that live and pass, and of all that tie with the last of them; in no order."""
        searcher = self._living if passing is None else self.segments.searcher.narrowed(self._masks(passing))
        rows, scores = searcher.search(query, top_k)
        numbers = self._numbers_of(rows, searcher)
        if len(self.buffer):
            in_buffer = self.buffer.scores(query) * self._buffer_mask(passing)
            hits = np.flatnonzero(in_buffer)
            numbers, scores = np.concatenate([numbers, self.buffer.numbers[hits]]), np.concatenate([scores, in_buffer[hits]])
        if len(scores) > top_k:
            kept = scores >= np.partition(scores, len(scores) - top_k)[len(scores) - top_k]
            numbers, scores = numbers[kept], scores[kept]
        return numbers, scores

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

    def _numbers_of(self, rows: NDArray[np.int64], searcher: Searcher) -> Numbers:
        which = np.searchsorted(searcher.bases, rows, "right") - 1
        numbers = np.empty(len(rows), np.int64)
        for w in np.unique(which).tolist():
            here = which == w
            numbers[here] = self.segments[w].numbers[rows[here] - searcher.bases[w]]
        return numbers


def _less(segment: Segment, alive: Mask, numbers: Numbers) -> Mask:
    rows = segment.rows_of(numbers)
    if not len(rows):
        return alive
    alive = alive.copy()
    alive[rows] = False
    return alive


def _read_only(batch: SparseBatch) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The types that kernels are compiled for."""
    indptr, terms, weights = batch.indptr.view(), batch.term_ids.view(), batch.weights.view()
    indptr.flags.writeable = terms.flags.writeable = weights.flags.writeable = False
    return indptr, terms, weights
