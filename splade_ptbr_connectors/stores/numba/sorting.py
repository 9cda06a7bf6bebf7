"""Orders and selects hits. Our own, in a few lines: numpy's sorts take numba most of a minute to compile."""

from __future__ import annotations

from typing import Any

from numpy import float64, inf, int64

from .addresses import clear
from .compiled import part

BINS = 1024
_SHORT = 48  # so many are sorted by insertion


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
        by, shift, flip = (rows, 8 * step, 0) if step < 8 else (keys, 8 * step - 64, 255)
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
            keys, other_keys, rows, other_rows, moved = other_keys, keys, other_rows, rows, not moved
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
        bins: room for BINS int64.
    """
    low, high = scores[0], scores[0]
    for n in range(size):
        score = scores[n]
        if score < low:
            low = score
        if score > high:
            high = score
    least, scale = low, (BINS - 1) / (high - low)
    if scale < inf:  # nor infinite where all are the same
        clear(bins, BINS)
        for n in range(size):
            bins[int64((scores[n] - low) * scale)] += 1
        place, above = int64(BINS), int64(0)
        while above < top_k:
            place -= 1
            above += bins[place]
        least = high
        for n in range(size):  # the smallest of those that were counted: what a bin's end is, rounding leaves open
            score = scores[n]
            if score < least and int64((score - low) * scale) >= place:
                least = score
    return least
