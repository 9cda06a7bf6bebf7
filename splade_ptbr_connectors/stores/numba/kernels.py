"""Search kernels: bounds of all documents by 8-bit impacts, window by window, so that exact scores are needed of a few only.

A query's scores are counted in units, small enough that 16 bits hold the largest possible score. A document's count
bounds its score: in units, it lies from count - (loss - spare) to count + spare. So whoever counts `loss` less than each of k
others is not among the top k. Windows are searched with the count that the top k must reach so far; blocks whose bound stays
below it are not looked at any further.

Sources: impacts in small integers, added up list by list (Lin & Trotman 2015, JASS); bounds of blocks (Ding & Suel 2011, block-max
WAND; Mallia et al. 2024, BMP, for learned sparse weights). Lists that are left out until a document needs them (Turtle & Flood
1995, MaxScore; Broder et al. 2003, WAND) are the columns here: few terms make most of the postings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .building import BLOCK, GROUP, WINDOW
from .compiled import compiled, inlined, numba, pointer, prefetch
from .layout import COUNT_BITS, LARGEST, SPAN, Field
from .simd import add_two, lowest_bit, may_reach, reaching

UNITS = 60_000  # of the largest possible score; below 2**16 by what rounding up the factors may add
BIN = 16  # units of a bin of the histogram of counts
BINS = 65_536 // BIN
MAX_TERMS = 4_000  # beyond so many terms of a query, rounding could reach 2**16: everything is scored instead
FIRST_GUESS = 2_048  # documents that are enough for a first guess of what the top k will reach
AHEAD = 8  # groups: the columns of a group are asked for while so many before it are worked on
LINE = 64  # bytes of a cache line
ANY = 2**62  # length of an array whose end the kernels know otherwise

_ROWS, _PADDED, _COLUMNS, _PASSING = int(Field.ROWS), int(Field.PADDED_ROWS), int(Field.COLUMNS), int(Field.PASSING)
_POSTING_ROW, _POSTING_IMPACT = int(Field.POSTING_ROW), int(Field.POSTING_IMPACT)
_BLOCK_LARGEST, _FORWARD_START = int(Field.BLOCK_LARGEST), int(Field.FORWARD_START)


@compiled
def unit_of(table: Any, largest: Any, places: Any, query_weights: Any) -> Any:
    """(unit, loss, spare): the score that a count of one stands for, and how far counts may be from scores.

    Each term's product is rounded down once (a score may be `terms` above its count), its factor was rounded up before
    (`terms` below), and an impact that was rounded up counts up to a whole step too much. Two more for sums of float64.
    """
    total, terms, steps = 0.0, len(places), 0.0
    for i in range(terms):
        top = np.float32(0.0)
        for w in range(len(table)):
            top = max(top, largest[places[i], w, LARGEST])
        total += np.float64(top) * np.float64(query_weights[i])
    if len(table) and table[0, _FORWARD_START] != 0:
        steps = UNITS / 255.0  # impacts are rounded up: each term counts up to one step too much
    return total / UNITS, np.int64(steps) + 2 * terms + 4, terms + 2


@inlined
def _product(impact: Any, factor: Any) -> Any:
    """A factor times impact / 255, rounded down: 8 bits are made 16 by repeating them, so that it is the upper half of one product."""
    wide = (np.uint32(impact) << np.uint32(8)) | np.uint32(impact)
    return np.uint16((wide * np.uint32(factor)) >> np.uint32(16))


@inlined
def _prepare(w: Any, entries: Any, largest: Any, places: Any, query_weights: Any, unit: Any, padded: Any, space: Any) -> Any:
    """Factors of all terms, and where the columns of the frequent ones begin; returns (how many columns, bound of any count)."""
    _, _, factors, begins, column_factors, _, _ = space
    bound, used = np.int64(0), 0
    for i in range(len(places)):
        top = np.float64(largest[places[i], w, LARGEST]) * np.float64(query_weights[i])
        factors[i] = np.uint16(np.ceil(top / unit * (65_536 / 65_535)))
        bound += _product(255, factors[i])
        span = entries[places[i], w, SPAN]
        if span < 0:
            begins[used], column_factors[used] = (-1 - span) * padded, factors[i]
            used += 1
    begins[used], column_factors[used] = begins[0], 0
    return used, bound


@inlined
def _prefetch_list(table: Any, w: Any, span: Any) -> None:
    """Lists are short and lie apart, so that the processor does not guess where the next one starts."""
    start, count = span >> COUNT_BITS, span & ((1 << COUNT_BITS) - 1)
    rows, impacts = table[w, _POSTING_ROW] + 2 * start, table[w, _POSTING_IMPACT] + start
    for address in range(rows, rows + 2 * count, LINE):
        prefetch(address)
    for address in range(impacts, impacts + count, LINE):
        prefetch(address)


@inlined
def _scatter(table: Any, w: Any, entries: Any, places: Any, factors: Any, counts: Any) -> None:
    """Add up the lists of a window, and ask for those of the next one meanwhile."""
    rows = numba.carray(pointer(table[w, _POSTING_ROW]), ANY, np.uint16)
    impacts = numba.carray(pointer(table[w, _POSTING_IMPACT]), ANY, np.uint8)
    for i in range(len(places)):
        span = entries[places[i], w, SPAN]
        if w + 1 < len(table) and entries[places[i], w + 1, SPAN] > 0:
            _prefetch_list(table, w + 1, entries[places[i], w + 1, SPAN])
        if span > 0:
            begin, factor = np.uintp(span >> COUNT_BITS), factors[i]
            end = begin + np.uintp(span & ((1 << COUNT_BITS) - 1))
            for place in range(begin, end):
                row = np.intp(rows[place])
                counts[row] = np.uint16(counts[row] + _product(impacts[place], factor))


@inlined
def _surviving(table: Any, w: Any, used: Any, cut: Any, space: Any) -> Any:
    """Groups in which the largest count of the lists and the largest impacts of the columns may reach `cut`; returns how many."""
    counts, _, _, begins, column_factors, bounds, surviving = space
    blocks = table[w, _PADDED] // BLOCK
    bounds[:blocks] = 0
    for c in range(used):
        tops = numba.carray(pointer(table[w, _BLOCK_LARGEST] + begins[c] // BLOCK), blocks, np.uint8)
        factor = column_factors[c]
        for b in range(blocks):
            impact = np.uint32(tops[b])
            product = ((impact << np.uint32(8)) | impact) * np.uint32(factor)  # _product(), which LLVM widens when it is called here
            bounds[b] = np.uint16(bounds[b] + (product >> np.uint32(16)))
    size = 0
    for g in range(table[w, _PADDED] // GROUP):
        surviving[size] = g
        size += _may_reach(counts, bounds, g * GROUP, cut) != 0
    return size


@inlined
def _may_reach(counts: Any, bounds: Any, base: Any, cut: Any) -> Any:
    """A bit for each document of the group at `base` that may reach `cut` by the columns' largest impacts of its block."""
    return may_reach(counts.ctypes.data + 2 * base, bounds.ctypes.data + 2 * (base // BLOCK), np.uint16(min(cut, 65_535)))


@inlined
def _add_columns(table: Any, w: Any, base: Any, used: Any, space: Any) -> None:
    """Add the columns to a block; an odd one is paired with a factor of 0."""
    counts, _, _, begins, factors, _, _ = space
    address = table[w, _COLUMNS] + base
    for c in range(0, used, 2):
        add_two(counts.ctypes.data + 2 * base, address + begins[c], factors[c], address + begins[c + 1], factors[c + 1])


@inlined
def _take(table: Any, w: Any, base: Any, mask: Any, counts: Any, found: Any, size: Any) -> Any:
    """Append the documents of a block that the mask names and that pass; returns how many there are now."""
    found_rows, found_counts = found
    passing = numba.carray(pointer(table[w, _PASSING]), table[w, _PADDED], np.uint8)
    while mask != 0:
        row = base + lowest_bit(mask)
        mask &= mask - np.uint64(1)
        if row < table[w, _ROWS] and (table[w, _PASSING] == 0 or passing[row] != 0):
            found_rows[size], found_counts[size] = w * WINDOW + row, counts[row]
            size += 1
    return size


@inlined
def _guessed(bins: Any, level: Any, above: Any, top_k: Any, share: Any) -> Any:
    """The count that the top k of all will reach, if the documents so far, this share of all, are like the others."""
    expected = top_k * share
    wanted = min(np.int64(expected + 4.0 * np.sqrt(expected)) + 4, np.int64(top_k))
    while above - bins[level] >= wanted:
        above -= bins[level]
        level += 1
    return level * BIN


@inlined
def _take_window(table: Any, w: Any, used: Any, loss: Any, top_k: Any, space: Any, found: Any, state: Any, progress: Any) -> Any:
    """Append the documents of a window that count at least the cut, which rises with what is found.

    Args:
        state: how many were found, the bin that top_k of them reach, how many are in it and above, the cut.
        progress: documents before this window, documents of all windows, and of how many to make the next guess.

    Returns: the state and of how many to make the next guess.
    """
    size, level, above, cut = state
    before, total, guess = progress
    counts, bins, _, begins, _, bounds, surviving = space
    last = _surviving(table, w, used, cut, space)
    for n in range(last):
        for c in range(used):
            prefetch(table[w, _COLUMNS] + begins[c] + surviving[min(n + AHEAD, last - 1)] * GROUP)
        first = surviving[n] * GROUP
        hopeful = _may_reach(counts, bounds, first, cut)
        for base in range(first, first + GROUP, BLOCK):
            if (hopeful >> np.uint64(base - first)) & np.uint64((1 << BLOCK) - 1) == 0:
                continue
            _add_columns(table, w, base, used, space)
            reached = reaching(counts.ctypes.data + 2 * base, np.uint16(min(cut, 65_535)))
            begin, size = size, _take(table, w, base, reached, counts, found, size)
            for place in range(begin, size):
                its_bin = np.int64(found[1][place]) // BIN
                bins[its_bin] += 1
                above += its_bin >= level
            while above - bins[level] >= top_k:
                above -= bins[level]
                level += 1
            cut = max(cut, level * BIN - loss)
        if before + first >= guess:
            cut = max(cut, _guessed(bins, level, above, top_k, (before + first + GROUP) / total) - loss)
            guess += min(guess, WINDOW)
    return (size, level, above, cut), guess


@compiled
def collect(
    table: Any, entries: Any, largest: Any, places: Any, query_weights: Any, unit: Any, loss: Any, top_k: Any, least: Any, guess: Any,
    space: Any, found: Any,
) -> Any:  # fmt: skip
    """Every document that may be among the top k, by its count.

    Args:
        least: a count that all of the top k are known to reach; at least 1.
        guess: expect the documents to be alike, and look for counts that will do if they are. Right only if the count proven
            in the end is not below the one looked for, which the caller checks.
        space: counts [WINDOW] uint16, bins [BINS] int32, factors [T] uint16, where columns begin [T + 1] int64, their factors
            [T + 1] uint16, bounds [WINDOW / BLOCK] uint16, surviving groups [WINDOW / GROUP] int64.
        found: rows int64 (window * WINDOW + row) and counts uint16, with room for every document.

    Returns: (how many were found, a count that top_k of them reach, or 0; the smallest one that may still be among the top k, the
        largest one looked for).
    """
    counts, bins, factors = space[0], space[1], space[2]
    total, before = np.int64(0), np.int64(0)
    for w in range(len(table)):
        total += table[w, _ROWS]
    bins[:] = 0
    state = (np.int64(0), np.int64(0), np.int64(0), np.int64(least))
    following = np.int64(FIRST_GUESS) if guess else np.int64(ANY)
    for i in range(len(places)):
        if entries[places[i], 0, SPAN] > 0:
            _prefetch_list(table, 0, entries[places[i], 0, SPAN])
    for w in range(len(table)):
        padded = table[w, _PADDED]
        used, bound = _prepare(w, entries, largest, places, query_weights, unit, padded, space)
        if bound >= state[3]:
            counts[:padded] = 0
            _scatter(table, w, entries, places, factors, counts)
            state, following = _take_window(table, w, used, loss, top_k, space, found, state, (before, total, following))
        before += table[w, _ROWS]
    return state[0], state[1] * BIN, max(np.int64(least), state[1] * BIN - loss), state[3]
