"""Search kernels: bounds of all documents by 8-bit impacts, window by window, then exact scores of the few that may be hits.

A query's scores are counted in units, small enough that 16 bits hold the largest possible score. A document's count
bounds its score: in units, it lies from count - (loss - spare) to count + spare. So whoever counts `loss` less than each of k
others is not among the top k. Windows are searched with the count that the top k must reach so far; blocks whose bound stays
below it are not looked at any further.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .building import BLOCK, WINDOW
from .compiled import compiled, inlined, numba, pointer, prefetch
from .layout import Field

UNITS = 60_000  # of the largest possible score; below 2**16 by what rounding up the factors may add
GROUP = 32  # blocks whose bounds are looked at together, apart from the work on those that survive
BIN = 16  # units of a bin of the histogram of counts
BINS = 65_536 // BIN
MAX_TERMS = 4_000  # beyond so many terms of a query, rounding could reach 2**16: everything is scored instead

_ROWS, _PADDED, _TERM_COUNT = int(Field.ROWS), int(Field.PADDED_ROWS), int(Field.TERM_COUNT)
_TERMS, _LARGEST, _START, _COLUMN = int(Field.TERMS), int(Field.LARGEST), int(Field.START), int(Field.COLUMN)
_POSTING_ROW, _POSTING_IMPACT, _COLUMNS = int(Field.POSTING_ROW), int(Field.POSTING_IMPACT), int(Field.COLUMNS)
_BLOCK_LARGEST, _PASSING = int(Field.BLOCK_LARGEST), int(Field.PASSING)
_FORWARD_START, _FORWARD_SLOT, _FORWARD_WEIGHT = int(Field.FORWARD_START), int(Field.FORWARD_SLOT), int(Field.FORWARD_WEIGHT)
_WIDE = int(Field.WIDE_SLOTS)


@compiled
def find_slots(table: Any, query_terms: Any, slots: Any) -> None:
    """slots[w, i]: where query term i stands in the terms of window w, -1 where it does not occur."""
    for w in range(len(table)):
        count = table[w, _TERM_COUNT]
        terms = numba.carray(pointer(table[w, _TERMS]), count, np.uint32)
        for i in range(len(query_terms)):
            term = np.int64(query_terms[i])
            slot: Any = term  # the right place where every term up to this one occurs
            if slot >= count or terms[slot] != term:
                low, high = np.int64(0), count
                while low < high:
                    middle = (low + high) >> 1
                    if terms[middle] < term:
                        low = middle + 1
                    else:
                        high = middle
                slot = low if low < count and terms[low] == term else np.int64(-1)
            slots[w, i] = slot
            if slot >= 0:  # what is read next, from places all over the arrays
                prefetch(table[w, _LARGEST] + 4 * slot)
                prefetch(table[w, _START] + 8 * slot)
                prefetch(table[w, _COLUMN] + 4 * slot)


@compiled
def unit_of(table: Any, query_weights: Any, slots: Any) -> Any:
    """(unit, loss, spare): the score that a count of one stands for, and how far counts may be from scores.

    Each term's product is rounded down once (a score may be `terms` above its count), its factor was rounded up before
    (`terms` below), and an impact that was rounded up counts up to a whole step too much. Two more for sums of float64.
    """
    total, terms, steps = 0.0, len(query_weights), 0.0
    for i in range(terms):
        largest = 0.0
        for w in range(len(table)):
            if slots[w, i] >= 0:
                weights = numba.carray(pointer(table[w, _LARGEST]), table[w, _TERM_COUNT], np.float32)
                largest = max(largest, np.float64(weights[slots[w, i]]))
        total += largest * np.float64(query_weights[i])
    unit = total / UNITS
    if table[0, _FORWARD_START] != 0:
        steps = UNITS / 255.0  # impacts are rounded up: each term counts up to one step too much
    return unit, np.int64(steps) + 2 * terms + 4, terms + 2


@inlined
def _scatter(rows: Any, impacts: Any, begin: Any, end: Any, factor: Any, counts: Any) -> None:
    for place in range(begin, end):
        row = np.intp(rows[place])
        counts[row] = np.uint16(counts[row] + ((np.uint32(impacts[place]) * factor) >> np.uint32(8)))


@inlined
def _reaches(counts: Any, base: Any, cut: Any) -> Any:
    """Whether one of the counts of the block at `base` reaches `cut`."""
    wanted, reached = np.uint16(min(max(cut, 0), 65_535)), np.uint8(0)
    for i in range(np.uintp(BLOCK)):  # unsigned, no slice, no branch, no maximum: this form becomes vector instructions
        reached |= np.uint8(counts[base + i] >= wanted)
    return reached != 0


@inlined
def _add_column(columns: Any, begin: Any, factor: Any, counts: Any, base: Any) -> None:
    """Add a block of a column; the product's upper half is one vector instruction."""
    for i in range(np.uintp(BLOCK)):
        product = (np.uint32(columns[begin + i]) << np.uint32(8)) * factor
        counts[base + i] = np.uint16(counts[base + i] + (product >> np.uint32(16)))


@inlined
def _passing_only(table: Any, w: Any, found: Any, begin: Any, end: Any) -> Any:
    found_rows, found_counts = found
    passing = numba.carray(pointer(table[w, _PASSING]), table[w, _PADDED], np.uint8)
    size = begin
    for n in range(begin, end):
        found_rows[size], found_counts[size] = found_rows[n], found_counts[n]
        size += passing[found_rows[n] - w * WINDOW] != 0
    return size


@inlined
def _take_window(
    table: Any, w: Any, query_weights: Any, slots: Any, unit: Any, loss: Any, top_k: Any, cut: Any, level: Any, space: Any, found: Any,
    size: Any,
) -> Any:  # fmt: skip
    """Append the documents of a window that count at least `cut`, which rises with what is found.

    Returns: (how many there are now, the bin that top_k of them reach).
    """
    counts, bins, factors, begins, column_factors, block_bounds, group = space
    found_rows, found_counts = found
    terms, padded, rows = table[w, _TERM_COUNT], table[w, _PADDED], table[w, _ROWS]
    largest = numba.carray(pointer(table[w, _LARGEST]), terms, np.float32)
    start = numba.carray(pointer(table[w, _START]), terms + 1, np.int64)
    column = numba.carray(pointer(table[w, _COLUMN]), terms, np.int32)
    bound: Any = 0
    columns_used = 0
    for i in range(len(query_weights)):
        slot = slots[w, i]
        if slot >= 0:
            scale = np.float64(largest[slot]) * np.float64(query_weights[i]) / 255.0
            factors[i] = np.uint32(np.ceil(scale / unit * 256.0))
            bound += (np.int64(factors[i]) * 255) >> 8
            if column[slot] >= 0:
                begins[columns_used], column_factors[columns_used] = column[slot] * padded, factors[i]
                columns_used += 1
            for line in range(3):  # the lists are short and lie apart: the processor does not guess where the next one starts
                prefetch(table[w, _POSTING_ROW] + 2 * start[slot] + 64 * line)
                prefetch(table[w, _POSTING_IMPACT] + start[slot] + 64 * line)
    if bound < cut:
        return size, level
    counts[:padded] = 0
    posting_row = numba.carray(pointer(table[w, _POSTING_ROW]), start[terms], np.uint16)
    posting_impact = numba.carray(pointer(table[w, _POSTING_IMPACT]), start[terms], np.uint8)
    for i in range(len(query_weights)):
        if slots[w, i] >= 0:
            _scatter(posting_row, posting_impact, start[slots[w, i]], start[slots[w, i] + 1], factors[i], counts)
    above: Any = 0
    for place in range(level, BINS):
        above += bins[place]
    blocks = padded // BLOCK
    block_bounds[:blocks] = 0
    for c in range(columns_used):
        tops = numba.carray(pointer(table[w, _BLOCK_LARGEST] + begins[c] // BLOCK), blocks, np.uint8)
        factor = column_factors[c]
        for b in range(blocks):
            block_bounds[b] += (np.uint32(tops[b]) * factor) >> np.uint32(8)
    columns = numba.carray(pointer(table[w, _COLUMNS]), WINDOW * WINDOW, np.uint8)
    for first in range(0, blocks, GROUP):
        surviving = 0
        for b in range(first, min(first + GROUP, blocks)):
            if _reaches(counts, np.uintp(b * BLOCK), cut - np.int64(block_bounds[b])):
                group[surviving] = b
                surviving += 1
        for n in range(surviving):
            base = np.uintp(group[n] * BLOCK)
            for c in range(columns_used):
                _add_column(columns, np.uintp(begins[c]) + base, column_factors[c], counts, base)
            if columns_used and not _reaches(counts, base, cut):
                continue
            begin, wanted = size, np.uint16(min(cut, 65_535))
            for row in range(group[n] * BLOCK, min(group[n] * BLOCK + BLOCK, rows)):
                found_rows[size] = w * WINDOW + row  # always written, kept if large enough: no branch to mispredict
                found_counts[size] = counts[row]
                size += counts[row] >= wanted
            if table[w, _PASSING] != 0:
                size = _passing_only(table, w, found, begin, size)
            for place in range(begin, size):
                reached = np.int64(found_counts[place]) // BIN
                bins[reached] += 1
                above += reached >= level
            while above - bins[level] >= top_k:
                above -= bins[level]
                level += 1
            cut = max(cut, level * BIN - loss)
    return size, level


@inlined
def reached_by(bins: Any, top_k: Any) -> Any:
    """A count that at least top_k of those in the bins reach, as large as the bins can tell; 0 where there are fewer."""
    above = 0
    for level in range(BINS - 1, -1, -1):
        above += bins[level]
        if above >= top_k:
            return level * BIN
    return 0


@compiled
def collect(table: Any, query_weights: Any, slots: Any, unit: Any, loss: Any, top_k: Any, guess: Any, space: Any, found: Any) -> Any:
    """Every document that may be among the top k, by its count.

    Args:
        guess: expect the windows to be alike, and from the first one on look for counts that will do if they are. Right
            only if the count proven in the end is not below the guessed one, which the caller checks.
        space: counts [WINDOW] uint16, bins [BINS] int32, factors [T] uint32, where columns begin [T] int64, their factors [T]
            uint32, block_bounds [WINDOW / BLOCK] uint32, a group of blocks [GROUP] int64.
        found: rows int64 (window * WINDOW + row) and counts uint16, with room for every document and one.

    Returns: (how many were found, the smallest count that may still be among the top k, the largest one looked for).
    """
    bins, total = space[1], 0
    for w in range(len(table)):
        total += table[w, _ROWS]
    bins[:] = 0
    size, level, cut, seen = 0, 0, 1, 0
    for w in range(len(table)):
        size, level = _take_window(table, w, query_weights, slots, unit, loss, top_k, cut, level, space, found, size)
        seen += table[w, _ROWS]
        cut = max(cut, level * BIN - loss)
        if guess and seen < total:
            share = top_k * (seen / total)
            cut = max(cut, reached_by(bins, np.int64(share + 4.0 * np.sqrt(share)) + 4) - loss)
    return size, max(1, level * BIN - loss), cut
