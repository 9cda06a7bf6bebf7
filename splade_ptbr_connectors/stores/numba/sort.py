"""Orders and selects hits. Our own, in a few lines: numpy's sorts take numba most of a minute to compile."""

from __future__ import annotations

from typing import Any

from numpy import float64, inf, int64

from .addresses import clear
from .compiled import part

BINS = 1024
_SHORT = 48  # so many are sorted by insertion
_BELOW = 1 - 2.0**-50  # where rounding cannot have put a score into the bin from


@part(None)
def _insert(keys: Any, rows: Any, size: Any) -> None:
    for n in range(1, size):
        key, row, place = keys[n], rows[n], n
        while place > 0 and (keys[place - 1] < key or (keys[place - 1] == key and rows[place - 1] > row)):
            keys[place] = keys[place - 1]
            rows[place] = rows[place - 1]
            place -= 1
        keys[place] = key
        rows[place] = row


@part(None)
def _by_bytes(keys: Any, rows: Any, size: Any, other_keys: Any, other_rows: Any, starts: Any) -> None:
    """By row, then by key, keeping the order of equal ones. One pass a byte, none where all agree in it."""
    moved = False
    for step in range(16):
        by, shift, flip = rows if step < 8 else keys, 8 * (step & 7), 255 * (step >> 3)  # keys descend: their bytes are turned round
        clear(starts, 256)
        for n in range(size):
            starts[by[n] >> shift & 255 ^ flip] += 1
        if starts[by[0] >> shift & 255 ^ flip] < size:
            following = int64(0)
            for value in range(256):
                count = starts[value]
                starts[value] = following
                following += count
            for n in range(size):
                byte = by[n] >> shift & 255 ^ flip
                place = starts[byte]
                starts[byte] = place + 1
                other_keys[place] = keys[n]
                other_rows[place] = rows[n]
            keys, other_keys = other_keys, keys
            rows, other_rows = other_rows, rows
            moved = not moved
    if moved:
        for n in range(size):
            other_keys[n] = keys[n]
            other_rows[n] = rows[n]


@part(None)
def sort_hits(keys: Any, rows: Any, size: Any, other_keys: Any, other_rows: Any, starts: Any) -> None:
    """By score descending, then by row.

    Args:
        keys: the bits of the scores as int64. Those of float64 that are not negative ascend as they do.
        rows: int64, not negative.
        other_keys, other_rows, starts: room for as many int64 each, and for 256.
    """
    if size <= _SHORT:
        _insert(keys, rows, size)
    else:
        _by_bytes(keys, rows, size, other_keys, other_rows, starts)


@part(float64)
def about_the_best(scores: Any, size: Any, top_k: Any, bins: Any) -> Any:
    """A score that at least top_k of them reach, and few more: the lower end of the bin where the top_k-th largest is.

    Args:
        scores: not negative.
        bins: room for BINS int64.
    """
    high = 0.0
    for n in range(size):
        if scores[n] > high:
            high = scores[n]
    scale = (BINS - 1) / high
    if not scale < inf:  # all are 0 or nearly so
        return 0.0
    clear(bins, BINS)
    for n in range(size):
        bins[int64(scores[n] * scale)] += 1
    place, above = int64(BINS), int64(0)
    while above < top_k:
        place -= 1
        above += bins[place]
    return place / scale * _BELOW
