"""Orders and selects hits. Our own, in a few lines: numpy's sorts take numba most of a minute to compile."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import compiled, inlined

_SHORT = 48  # so many are sorted by insertion
_BINS = 1024


@inlined
def _insert(keys: Any, scores: Any, rows: Any) -> None:
    for n in range(1, len(rows)):
        score, row, place = scores[n], rows[n], n
        while place > 0 and (scores[place - 1] < score or (scores[place - 1] == score and rows[place - 1] > row)):
            scores[place], rows[place] = scores[place - 1], rows[place - 1]
            place -= 1
        scores[place], rows[place] = score, row


@inlined
def _by_bytes(keys: Any, others: Any, spare: Any) -> None:
    """Sort by uint64 keys, keeping the order of equal ones; others move along. One pass a byte, none where all agree in it."""
    spare_keys, spare_others = spare
    starts = np.empty(256, np.int64)
    for shift in range(0, 64, 8):
        starts[:] = 0
        for n in range(len(keys)):
            starts[np.intp((keys[n] >> np.uint64(shift)) & np.uint64(255))] += 1
        if starts[np.intp((keys[0] >> np.uint64(shift)) & np.uint64(255))] == len(keys):
            continue
        following: Any = 0
        for value in range(256):
            starts[value], following = following, following + starts[value]
        for n in range(len(keys)):
            byte = np.intp((keys[n] >> np.uint64(shift)) & np.uint64(255))
            spare_keys[starts[byte]], spare_others[starts[byte]] = keys[n], others[n]
            starts[byte] += 1
        keys[:], others[:] = spare_keys, spare_others


@compiled
def sort_hits(scores: Any, rows: Any) -> None:
    """By score descending, then by row. Scores are not negative: the bits of such float64 ascend as they do."""
    if len(rows) <= _SHORT:
        _insert(scores, scores, rows)
        return
    keys, numbers = scores.view(np.uint64), rows.view(np.uint64)
    spare = np.empty(len(rows), np.uint64), np.empty(len(rows), np.uint64)
    for n in range(len(rows)):
        keys[n] = ~keys[n]
    _by_bytes(numbers, keys, spare)
    _by_bytes(keys, numbers, spare)
    for n in range(len(rows)):
        keys[n] = ~keys[n]


@compiled
def about_the_best(scores: Any, top_k: Any) -> Any:
    """A score that at least top_k of them reach, and few more: the lower end of the bin where the top_k-th largest is."""
    low, high = scores[0], scores[0]
    for score in scores:
        low, high = min(low, score), max(high, score)
    scale = (_BINS - 1) / (high - low) if high > low else 0.0
    if not 0.0 < scale < np.inf:
        return low
    bins = np.zeros(_BINS, np.int64)
    for score in scores:
        bins[np.intp((score - low) * scale)] += 1
    above, place = bins[_BINS - 1], _BINS - 1
    while above < top_k:
        place -= 1
        above += bins[place]
    least = high
    for score in scores:  # the smallest of those that were counted: what a bin's end is, rounding leaves open
        if np.intp((score - low) * scale) >= place:
            least = min(least, score)
    return least
