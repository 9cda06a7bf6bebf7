"""Directory: where each term of an index stands in every window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .building import DIRECT
from .compiled import compiled, prefetch
from .layout import COUNT_BITS, ENTRY_BYTES, REST, SLOT_SHIFT, SPAN
from .window import Window


class Directory:
    """One table for all windows, made when an index is opened, 16 bytes a term and window: a query term costs one look-up and a
    few cache lines side by side, instead of a search and four cache lines a window.

    Attributes:
        terms: [P] uint32, every term of any window, ascending.
        entries: [P, W, 2] int64, see layout.py.
        largest: the same memory as float32 [P, W, 4].
        arrays: the three of them, as kernels take them.
    """

    def __init__(self, windows: Sequence[Window]) -> None:
        self.terms, find = _union([window.arrays["terms"] for window in windows])
        self.entries = np.zeros((len(self.terms), len(windows), 2), np.int64)
        self.entries[:, :, REST] = -1 << SLOT_SHIFT  # slot -1, weight 0.0
        self.largest = self.entries.view(np.float32).reshape(len(self.terms), len(windows), 4)
        for w, window in enumerate(windows):
            held = window.arrays
            _enter(self.entries, w, find(held["terms"]), held["start"], held["column"], held["largest"].view(np.uint32))
        self.arrays = self.terms, self.entries, self.largest


def _union(parts: Sequence[NDArray[np.uint32]]) -> tuple[NDArray[np.uint32], Any]:
    """All terms, and a function from terms of a window to their places."""
    most = max((int(part.max(initial=0)) for part in parts), default=0)
    if most >= DIRECT:
        terms = np.unique(np.concatenate(parts))
        return terms, lambda part: np.searchsorted(terms, part)
    occurs = np.zeros(most + 1, np.bool_)
    for part in parts:
        occurs[part] = True
    place = np.cumsum(occurs) - 1
    return np.flatnonzero(occurs).astype(np.uint32), lambda part: place[part]


@compiled
def _enter(entries: Any, w: Any, places: Any, start: Any, column: Any, weight_bits: Any) -> None:
    for slot in range(len(places)):
        count = start[slot + 1] - start[slot]
        entries[places[slot], w, SPAN] = -1 - np.int64(column[slot]) if column[slot] >= 0 else (start[slot] << COUNT_BITS) | count
        entries[places[slot], w, REST] = (slot << SLOT_SHIFT) | np.int64(weight_bits[slot])


@compiled
def look_up(terms: Any, entries: Any, query_terms: Any, query_weights: Any, places: Any, weights: Any) -> Any:
    """Places in the directory, and weights, of those query terms that any window has; returns how many."""
    count, known = len(terms), 0
    for i in range(len(query_terms)):
        term = np.int64(query_terms[i])
        place: Any = term  # the right place where every term up to this one occurs
        if place >= count or terms[place] != term:
            low, high = np.int64(0), np.int64(count)
            while low < high:
                middle = (low + high) >> 1
                if terms[middle] < term:
                    low = middle + 1
                else:
                    high = middle
            place = low
        if place < count and terms[place] == term:
            places[known], weights[known] = place, query_weights[i]
            known += 1
            first = entries.ctypes.data + place * entries.shape[1] * ENTRY_BYTES
            for address in range(first, first + entries.shape[1] * ENTRY_BYTES, 64):
                prefetch(address)
    return known
