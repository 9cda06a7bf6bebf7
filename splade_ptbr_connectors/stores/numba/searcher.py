"""Searcher: the windows of an index at one moment, ready to be searched by any number of threads."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...vectors import SparseBatch, SparseVector
from ..passages import Spread, deeper
from .addresses import to_read
from .directory import Directory
from .kernels import BINS
from .layout import FIELDS, ROOM, Field
from .postings import BLOCK, GROUP, WINDOW
from .ranking import CHUNK, best_of_each, search, touched
from .window import Window

Passing = NDArray[np.bool_]
Rows = tuple[NDArray[np.int64], NDArray[np.float64]]  # with their scores
_NOTHING: Rows = (np.empty(0, np.int64), np.empty(0, np.float64))
_CHUNK = 4  # queries that a thread takes at a time
_TABLE, _SIZE = (list(ROOM).index(name) for name in ("table", "size"))


class Searcher:
    """Reads windows and changes nothing.

    Attributes:
        windows: in order of insertion.
    """

    def __init__(self, windows: Sequence[Window], passing: Sequence[Passing | None] | None = None) -> None:
        """`passing`: for each window which rows may be found, None for all of them."""
        self.windows = list(windows)
        self.bases = np.cumsum([0, *map(len, self.windows)])
        self._directory = Directory(self.windows)
        self._table = np.array([window.fields() for window in self.windows], np.int64).reshape(-1, FIELDS)
        self._table[:, Field.BASE] = self.bases[:-1]
        self._own = threading.local()
        slots = {window.arrays["forward_slot"].itemsize if window.exact else 0 for window in self.windows}
        self._kinds = [True if size in slots else None for size in (2, 4, 0)]  # what search() compiles
        self._exact = slots != {0}
        self._bounded = True
        self._let_pass(passing or [None] * len(self.windows))

    def narrowed(self, passing: Sequence[Passing | None]) -> Searcher:
        """The same windows, of which other rows may be found; shares what was made when they were opened."""
        other = copy.copy(self)
        other._let_pass(passing)
        return other

    def exhaustive(self) -> Searcher:
        """The same without bounds: every document that shares a term is scored. To measure what they save."""
        other = copy.copy(self)
        other._bounded = False
        return other

    def _let_pass(self, passing: Sequence[Passing | None]) -> None:
        masks = [None if mask is None else _mask(mask) for mask in passing]
        self._kept = masks  # kernels see addresses only
        self._table = self._table.copy()
        self._table[:, Field.PASSING] = [0 if mask is None else mask.ctypes.data for mask in masks]
        self._table_address = self._table.ctypes.data

    def __len__(self) -> int:
        return int(self.bases[-1])

    def search(self, query: SparseVector, top_k: int) -> Rows:
        """The top k of the passing documents and every other one that ties with the last of them.

        Returns: (rows, scores), by score descending, then by row. Documents without a term of the query are not hits.
        Raises ConfigError: top_k is not at least 1.
        """
        _check_page(top_k)
        if not self.windows or not len(query):
            return _NOTHING
        room = self._own_room(len(query))
        self._search(room, np.array([0, len(query)]), query.term_ids, query.weights, 0, 1, top_k, (0, 0, 0))
        return room.found()

    def search_documents(self, query: SparseVector, top_k: int, spread: Spread, places: NDArray[np.int32]) -> Rows:
        """search() for documents of several rows, which are neighbours: of each its best row, the first of several.

        Args:
            places: [len(self)] the place of each row among those of its document.
        """
        wanted = spread.first(top_k)
        while True:
            rows, scores = self.search(query, wanted)
            if not len(rows):
                return rows, scores
            room = self._own_room(len(query))
            used = best_of_each(room.address, places.ctypes.data, top_k)
            count = int(room.held[_SIZE])
            if count >= top_k or len(rows) < wanted:
                spread.learn(count, used)
                return room.found()
            wanted = deeper(wanted, count, top_k)

    def search_batch(
        self, queries: SparseBatch, top_k: int, *, threads: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """The top k of every query, ties by row.

        Returns: rows [Q, top_k] and scores [Q, top_k], of which the first sizes [Q] of each query are hits.
        Raises ConfigError: top_k is not at least 1.
        """
        _check_page(top_k)
        rows, scores = np.full((len(queries), top_k), -1, np.int64), np.zeros((len(queries), top_k))
        sizes = np.zeros(len(queries), np.int64)
        chunks = iter(range(0, len(queries), _CHUNK))
        taking = threading.Lock()
        longest = int(np.diff(queries.indptr).max(initial=1))
        indptr, terms, weights = queries.indptr.copy(), to_read(queries.term_ids), to_read(queries.weights)
        results = rows.ctypes.data, scores.ctypes.data, sizes.ctypes.data

        def work() -> None:
            room = self._own_room(longest)
            while True:
                with taking:
                    first = next(chunks, None)
                if first is None:
                    return
                last = min(first + _CHUNK, len(queries))
                self._search(room, indptr, terms, weights, first, last, top_k, results)

        if self.windows and len(queries):
            _on_threads(work, threads)
        return rows, scores, sizes

    def _search(
        self, room: _Room, indptr: Any, terms: Any, weights: Any, first: int, last: int, top_k: int, results: tuple[int, int, int]
    ) -> None:
        how, every = (self._exact, self._bounded, *self._kinds, *results), -1
        while first < last:
            first = search(room.address, indptr, terms, weights, first, last, every, top_k, *how)
            every = touched(room.address) if first < last else -1

    def _own_room(self, terms: int) -> _Room:
        """Room to work in, made once for each thread."""
        room: _Room | None = getattr(self._own, "room", None)
        if room is None or room.terms < terms:
            room = self._own.room = _Room(self.windows, self._directory, max(terms, 256))
        room.held[_TABLE] = self._table_address
        return room


class _Room:
    """What a search reads and works in; see layout.ROOM."""

    def __init__(self, windows: Sequence[Window], directory: Directory, terms: int) -> None:
        documents = sum(map(len, windows)) + 1
        slots = 1 << max(16, max(len(window.arrays["terms"]) for window in windows).bit_length())
        self.terms = terms
        self.hits, self.scores = np.empty(documents, np.int64), np.empty(documents, np.float64)
        arrays: dict[str, NDArray[Any]] = {
            "terms": directory.terms,
            "entries": directory.entries,
            "places": np.zeros(terms, np.int64),
            "weights": np.zeros(terms, np.float32),
            "factors": np.zeros(terms, np.uint16),
            "begins": np.zeros(terms + 1, np.int64),
            "column_factors": np.zeros(terms + 1, np.uint16),
            "counts": np.zeros(WINDOW, np.uint16),
            "bounds": np.zeros(WINDOW // BLOCK, np.uint16),
            "surviving": np.zeros(WINDOW // GROUP, np.int64),
            "bins": np.zeros(BINS, np.int64),
            "found": np.empty(documents, np.int64),
            "found_counts": np.empty(documents, np.uint16),
            "hits": self.hits,
            "scores": self.scores,
            "spare": np.empty(documents, np.int64),
            "by_slot": np.zeros(slots, np.float32),
            "bits": np.zeros(slots // 64, np.int64),
            "chosen": np.zeros(CHUNK, np.int64),
        }
        numbers = {"windows": len(windows), "term_count": len(directory.terms), "slot_mask": slots - 1}
        numbers |= {name: array.ctypes.data for name, array in arrays.items()}
        self.held = np.array([numbers.get(name, 0) for name in ROOM], np.int64)
        self.address = self.held.ctypes.data
        self._arrays = arrays  # kernels see addresses only

    def found(self) -> Rows:
        """The rows that are in it, and their scores."""
        count = self.held[_SIZE]
        return self.hits[:count].copy(), self.scores[:count].copy()


def _check_page(top_k: int) -> None:
    if top_k < 1:
        raise ConfigError(f"top_k is {top_k}: it must be at least 1.")


def _mask(passing: Passing) -> NDArray[np.uint8]:
    padded = np.zeros(-(-len(passing) // GROUP) * GROUP, np.uint8)
    padded[: len(passing)] = passing
    return padded


def _on_threads(work: Any, threads: int) -> None:
    if threads == 1:
        work()
        return
    with ThreadPoolExecutor(threads) as pool:  # not kept: a process that forks later has no threads to lose
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()
