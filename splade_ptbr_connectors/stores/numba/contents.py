"""The contents of a store at one revision, in memory: segments, who lives in them, and a buffer of what no segment holds yet."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...vectors import SparseBatch, SparseVector
from ..passages import Spread
from .filters import Passing
from .index import joined
from .keys import Hashes, KeyTable
from .ranking import score_batch
from .rows import Numbers
from .schema import Change, Documents, Places
from .searcher import Searcher
from .segment import Segment

_CHUNKS = 16  # batches of a buffer are joined when there are so many
Mask = NDArray[np.bool_]


class Segments(tuple[Segment, ...]):
    """The segments of a store, in order of their numbers."""

    @functools.cached_property
    def searcher(self) -> Searcher:
        """Of all rows, deleted ones too."""
        return Searcher([segment.window for segment in self])

    @functools.cached_property
    def numbers(self) -> Numbers:
        """Of all rows."""
        return np.concatenate([np.empty(0, np.int64), *[segment.numbers for segment in self]])

    @functools.cached_property
    def places(self) -> Places:
        """Of all rows."""
        return np.concatenate([np.empty(0, np.int32), *[segment.places_of(np.arange(len(segment))) for segment in self]])

    def doc_ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Of these rows."""
        which = np.searchsorted(self.searcher.bases, rows, "right") - 1
        local = rows - self.searcher.bases[which]
        return [self[w].doc_id(row) for w, row in zip(which.tolist(), local.tolist(), strict=True)]


class HitRows(NamedTuple):
    """Hits in no order: rows of the segments and of the buffer, each with its scores."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    in_buffer: NDArray[np.int64]
    buffer_scores: NDArray[np.float64]

    @property
    def all_scores(self) -> NDArray[np.float64]:
        """Of the segments, then of the buffer."""
        return np.concatenate([self.scores, self.buffer_scores])


class Results(NamedTuple):
    """Hits in no order: numbers, document ids and scores."""

    numbers: list[int]
    doc_ids: list[str]
    scores: list[float]


class Chunk(NamedTuple):
    """Documents of a buffer, and what finds them."""

    documents: Documents
    keys: KeyTable

    @classmethod
    def of(cls, documents: Documents) -> Chunk:
        """A chunk of them."""
        return cls(documents, KeyTable.of(documents.hashes))


@dataclass(frozen=True, eq=False)
class Buffer:
    """Documents in the order of their numbers; deleted ones stay until the next merge."""

    numbers: Numbers
    alive: Mask
    chunks: tuple[Chunk, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors."""
        return sum([chunk.documents.vectors.nbytes for chunk in self.chunks])

    def changed(self, change: Change) -> Buffer:
        """After a change."""
        alive, begun = self.alive, change.begun
        if len(change.ended) and len(self):
            alive = alive & ~np.isin(self.numbers, change.ended)
        if not len(begun.numbers):
            return replace(self, alive=alive)
        chunks = (*self.chunks, Chunk.of(begun))
        if len(chunks) > _CHUNKS:
            chunks = (Chunk.of(together([chunk.documents for chunk in chunks])),)
        numbers, alive = np.concatenate([self.numbers, begun.numbers]), np.concatenate([alive, np.ones(len(begun.numbers), np.bool_)])
        return Buffer(numbers, alive, chunks)

    def documents(self, rows: Numbers) -> Documents:
        """Those of these rows."""
        numbers, ids, hashes, vectors, places = together([chunk.documents for chunk in self.chunks])
        return Documents(numbers[rows], tuple([ids[row] for row in rows.tolist()]), hashes[rows], rows_of(vectors, rows), places[rows])

    @functools.cached_property
    def places(self) -> Places:
        """Of all rows."""
        return np.concatenate([np.empty(0, np.int32), *[chunk.documents.places for chunk in self.chunks]])

    def places_of(self, rows: Numbers) -> Places:
        """Of these rows."""
        return self.places[rows]

    def doc_ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Of these rows."""
        ends = np.cumsum([len(chunk.documents.ids) for chunk in self.chunks])
        which = np.searchsorted(ends, rows, "right").tolist()
        return [self.chunks[w].documents.ids[row - int(ends[w])] for w, row in zip(which, rows.tolist(), strict=True)]

    def find(self, hashes: Hashes) -> list[int]:
        """The numbers of the living that have one of these hashes."""
        found, begin = list[int](), 0
        for chunk in self.chunks:
            rows = chunk.keys.find(hashes) + begin
            found += self.numbers[rows[self.alive[rows]]].tolist()
            begin += len(chunk.documents.ids)
        return found

    def scores(self, query: SparseVector) -> NDArray[np.float64]:
        """[rows] scores; 0 for no hit."""
        scores, begin = np.zeros(len(self)), 0
        for chunk in self.chunks:
            end = begin + len(chunk.documents.ids)
            score_batch(*_read_only(chunk.documents.vectors), query.term_ids, query.weights, scores[begin:end])
            begin = end
        return scores


EMPTY = Buffer(np.empty(0, np.int64), np.empty(0, np.bool_), ())


@dataclass(frozen=True, eq=False)
class Contents:
    """What is searched. A change makes another one of it, so that searches that run keep theirs."""

    revision: int
    indexed: int
    segments: Segments
    alive: tuple[Mask, ...]
    buffer: Buffer

    @classmethod
    def of(cls, revision: int, indexed: int, segments: Sequence[Segment], deleted: Numbers, buffer: Buffer) -> Contents:
        """Segments, which hold what has a number up to `indexed`, less the deleted numbers (ascending), and a buffer."""
        alive = tuple(np.ones(len(segment), np.bool_) for segment in segments)
        return cls(revision, indexed, Segments(segments), alive, buffer)._without(deleted)

    def __len__(self) -> int:
        """Number of passages, of which a short document is one."""
        return sum([int(mask.sum()) for mask in (*self.alive, self.buffer.alive)])

    def changed(self, change: Change) -> Contents:
        """After a change."""
        rest = self._without(np.sort(change.ended)) if len(change.ended) else self
        return replace(rest, revision=change.revision, buffer=self.buffer.changed(change))

    def find(self, hashes: Hashes) -> list[int]:
        """The numbers of the living that have one of these hashes."""
        found = self.buffer.find(hashes)
        for segment, alive in zip(self.segments, self.alive, strict=True):
            rows = segment.keys.find(hashes)
            found += segment.numbers[rows[alive[rows]]].tolist()
        return found

    def numbers(self, passing: Passing | None = None) -> Numbers:
        """Of the documents that live and pass, ascending: of each that of its first passage."""
        masks = self._masks(passing)
        living = [segment.numbers[_firsts(mask, segment.places)] for segment, mask in zip(self.segments, masks, strict=True)]
        return np.concatenate([*living, self.buffer.numbers[_firsts(self._buffer_mask(passing), self.buffer.places)]])

    def search(self, query: SparseVector, top_k: int, passing: Passing | None) -> Results:
        """The top k of those that live and pass, and all that tie with the last of them."""
        return self.results(self.hit_rows(query, top_k, passing))

    def hit_rows(self, query: SparseVector, top_k: int, passing: Passing | None, spread: Spread | None = None) -> HitRows:
        """The same by their rows; with a spread the top k documents, of each its best row."""
        searcher = self._living if passing is None else self.segments.searcher.narrowed(self._masks(passing))
        if spread is None:
            rows, scores = searcher.search(query, top_k)
        else:
            rows, scores = searcher.search_documents(query, top_k, spread, self.segments.places)
        if not len(self.buffer):
            return HitRows(rows, scores, np.empty(0, np.int64), np.empty(0))
        in_buffer = self.buffer.scores(query) * self._buffer_mask(passing)
        hits = np.flatnonzero(in_buffer)
        if spread is not None:
            hits = _best_of_each(hits, in_buffer, self.buffer.places)
        every = np.concatenate([scores, in_buffer[hits]])
        if len(every) > top_k:
            least = np.partition(every, len(every) - top_k)[len(every) - top_k]
            kept, hits = scores >= least, hits[in_buffer[hits] >= least]
            rows, scores = rows[kept], scores[kept]
        return HitRows(rows, scores, hits, in_buffer[hits])

    def results(self, found: HitRows) -> Results:
        """With the ids of the documents."""
        ids = [*self.segments.doc_ids(found.rows), *(self.buffer.doc_ids(found.in_buffer) if len(found.in_buffer) else ())]
        return Results(self.numbers_of(found).tolist(), ids, found.all_scores.tolist())

    def numbers_of(self, found: HitRows) -> Numbers:
        """Of these rows."""
        return np.concatenate([self.segments.numbers[found.rows], self.buffer.numbers[found.in_buffer]])

    def places_of(self, found: HitRows) -> Places:
        """Which passage of its document each of these rows is."""
        return np.concatenate([self.segments.places[found.rows], self.buffer.places[found.in_buffer]])

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


def _best_of_each(rows: Numbers, scores: NDArray[np.float64], places: Places) -> Numbers:
    """Of these rows the best of each document, whose rows are neighbours, and in the same part of the contents."""
    order = rows[np.argsort(-scores[rows], kind="stable")]
    return np.sort(order[np.unique(order - places[order], return_index=True)[1]])


def _firsts(mask: Mask, places: Places | None) -> Mask:
    return mask if places is None else mask & (places == 0)


def _less(segment: Segment, alive: Mask, numbers: Numbers) -> Mask:
    rows = segment.rows_of(numbers)
    if not len(rows):
        return alive
    alive = alive.copy()
    alive[rows] = False
    return alive


def together(pieces: Sequence[Documents]) -> Documents:
    """One after the other."""
    numbers, ids, hashes, vectors, places = zip(*pieces, strict=True)
    return Documents(np.concatenate(numbers), tuple(itertools.chain(*ids)), np.concatenate(hashes), joined(vectors), np.concatenate(places))


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
