"""Directory: where each term of an index stands in every window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import int64
from numpy.typing import NDArray

from .addresses import prefetch
from .arrays import Arrays
from .compiled import part
from .layout import COUNT_BITS, ENTRY_BYTES, REST, SLOT_SHIFT, SPAN
from .postings import DIRECT
from .window import Window


class Directory:
    """One table for all windows, made when an index is opened, 16 bytes a term and window: a query term costs one look-up and a
    few cache lines side by side, instead of a search and four cache lines a window.

    Attributes:
        terms: [P] uint32, every term of any window, ascending.
        entries: [P, W, 2] int64, see layout.py.
        largest: the same memory as float32 [P, W, 4].
    """

    def __init__(self, windows: Sequence[Window]) -> None:
        self.terms, find = _union([window.arrays["terms"] for window in windows])
        self.entries = np.zeros((len(self.terms), len(windows), 2), np.int64)
        self.entries[:, :, REST] = -1 << SLOT_SHIFT  # slot -1, weight 0.0
        self.largest = self.entries.view(np.float32).reshape(len(self.terms), len(windows), 4)
        for w, window in enumerate(windows):
            self._enter(w, window.arrays, find(window.arrays["terms"]))

    def _enter(self, w: int, held: Arrays, places: NDArray[np.int64]) -> None:
        start, column, slots = held["start"], held["column"].astype(np.int64), np.arange(len(places))
        self.entries[places, w, SPAN] = np.where(column >= 0, -1 - column, start[:-1] << COUNT_BITS | np.diff(start))
        self.entries[places, w, REST] = slots << SLOT_SHIFT | held["largest"].view(np.uint32)


def _union(parts: Sequence[NDArray[np.uint32]]) -> tuple[NDArray[np.uint32], Any]:
    """All terms, and a function from terms of a window to their places."""
    most = max((int(some.max(initial=0)) for some in parts), default=0)
    if most >= DIRECT:
        terms = np.unique(np.concatenate(parts))
        return terms, lambda some: np.searchsorted(terms, some)
    occurs = np.zeros(most + 1, np.bool_)
    for some in parts:
        occurs[some] = True
    place = np.cumsum(occurs) - 1
    return np.flatnonzero(occurs).astype(np.uint32), lambda some: place[some]


@part(None)
def look_up(room: Any, terms: Any, weights: Any, first: Any, last: Any) -> None:
    """Addresses of entries in the directory, and weights, of those terms of a query that any window has, into the room.

    Args:
        terms, weights: of queries, of which this one has those from first to last.
    """
    known, held, count, size = int64(0), room.terms, room.term_count, room.windows * ENTRY_BYTES
    for i in range(first, last):
        term = int64(terms[i])
        place = term  # the right place where every term up to this one occurs
        if place >= count or held[place] != term:
            place, high = int64(0), count
            while place < high:
                middle = (place + high) >> 1
                if held[middle] < term:
                    place = middle + 1
                else:
                    high = middle
        if place < count and held[place] == term:
            at = room.entries + place * size
            room.places[known] = at
            room.weights[known] = weights[i]
            known += 1
            prefetch(at, size)
    room.known = known
