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

from math import sqrt
from typing import Any

from numpy import bool_, float32, float64, int64, uint8

from .addresses import clear, pointer, prefetch
from .compiled import part
from .directory import look_up
from .layout import COUNT_BITS, ENTRY_BYTES, ROW_BYTES, WINDOW_BITS, entry_at, window_at
from .postings import BLOCK, GROUP, WINDOW
from .simd import add_two, larger, lowest_bit, may_reach, product, reaching

UNITS = 60_000  # of the largest possible score; below 2**16 by what rounding up the factors may add
SURE = 256  # a factor from which on no product is rounded down to 0
BIN_BITS = 4
BIN = 1 << BIN_BITS  # units of a bin of the histogram of counts
BINS = 65_536 // BIN
MAX_TERMS = 4_000  # beyond so many terms of a query, rounding could reach 2**16: everything is scored instead
FIRST_GUESS = 2_048  # documents that are enough for a first guess of what the top k will reach
NEVER = 2**62
AHEAD = 8  # groups: the columns of a group are asked for while so many before it are worked on
LISTS_AHEAD = 3  # and a list while so many before it are added up

_LIST = (1 << COUNT_BITS) - 1
_BLOCK_BITS, _GROUP_BITS = 4, 6
_FIRST_BLOCK, _OTHER_BLOCKS = (1 << BLOCK) - 1, (1 << (GROUP - BLOCK)) - 1
_ROUNDING = 65_536 / 65_535  # makes good what product() loses at the largest impact


@part(float64)
def _unit(room: Any) -> Any:
    """The score that a count of one stands for."""
    total = 0.0
    for i in range(room.known):
        top = float32(0.0)
        for w in range(room.windows):
            largest = entry_at(room.places[i] + w * ENTRY_BYTES).largest
            if largest > top:
                top = largest
        total += float64(top) * float64(room.weights[i])
    return total / UNITS


@part(int64)
def _prepare(room: Any, window: Any, w: Any) -> Any:
    """Factors of all terms, where the columns of the frequent ones begin, and the smallest factor of all; returns a bound of any count."""
    bound, used = int64(0), int64(0)
    for i in range(room.known):
        entry = entry_at(room.places[i] + w * ENTRY_BYTES)
        exact = float64(entry.largest) * float64(room.weights[i]) / room.unit * _ROUNDING
        factor = int64(exact)
        factor += factor < exact
        room.factors[i] = factor
        bound += factor
        span = entry.span
        if span != 0 and factor < room.smallest:
            room.smallest = factor
        if span < 0:
            room.begins[used] = (-1 - span) * window.padded_rows
            room.column_factors[used] = factor
            used += 1
    room.begins[used] = room.begins[0]
    room.column_factors[used] = 0
    room.used = used
    return bound


@part(None)
def _scatter(room: Any, window: Any, w: Any) -> None:
    """Add up the lists of a window. They are short and lie apart: the processor does not guess where the next one starts."""
    counts, rows, impacts = room.counts, window.posting_row, window.posting_impact
    for i in range(room.known + LISTS_AHEAD):
        if i < room.known:
            span = entry_at(room.places[i] + w * ENTRY_BYTES).span
            if span > 0:
                prefetch(window.posting_row_at + 2 * (span >> COUNT_BITS), 2 * (span & _LIST))
                prefetch(window.posting_impact_at + (span >> COUNT_BITS), span & _LIST)
        if i >= LISTS_AHEAD:
            span, factor = entry_at(room.places[i - LISTS_AHEAD] + w * ENTRY_BYTES).span, room.factors[i - LISTS_AHEAD]
            if span > 0:
                begin = span >> COUNT_BITS
                for place in range(begin, begin + (span & _LIST)):
                    counts[rows[place]] += product(impacts[place], factor)


@part(int64)
def _surviving(room: Any, window: Any) -> Any:
    """Groups in which the largest count of the lists and the largest impacts of the columns may reach `cut`; returns how many."""
    bounds, blocks = room.bounds, window.padded_rows >> _BLOCK_BITS
    clear(bounds, blocks)
    for c in range(room.used):
        tops, factor = pointer(window.block_largest + (room.begins[c] >> _BLOCK_BITS), uint8), room.column_factors[c]
        for b in range(blocks):
            bounds[b] += product(tops[b], factor)
    size = int64(0)
    for g in range(window.padded_rows >> _GROUP_BITS):
        room.surviving[size] = g << _GROUP_BITS
        size += may_reach(room.counts, bounds, g << _GROUP_BITS, room.cut) != 0
    return size


@part(None)
def _take_window(room: Any, window: Any, w: Any, top_k: Any, total: Any) -> None:
    """Append the documents of a window that count at least the cut, which rises with what is found.

    Of the room, `size` is how many were found, `level` the bin that top_k of them reach, `above` how many are in it and above,
    `seen` how many documents of `total` were looked at, `guess` at how many the next guess is made.
    """
    last, used, size, before = _surviving(room, window), room.used, room.size, room.seen
    counts, bins, columns, begins = room.counts, room.bins, window.columns, room.begins
    for n in range(last):
        ahead = columns + room.surviving[n + AHEAD if n + AHEAD < last else last - 1]
        for c in range(used):
            prefetch(ahead + begins[c], 1)
        base = room.surviving[n]
        room.seen = before + base + GROUP
        hopeful = may_reach(counts, room.bounds, base, room.cut)
        while hopeful != 0:
            if hopeful & _FIRST_BLOCK != 0:
                _add_columns(room, columns + base, base)
                mask = reaching(counts, base, room.cut)
                while mask != 0:
                    row = base + lowest_bit(mask)
                    mask &= mask - 1
                    if row < window.rows and (window.passing_at == 0 or window.passing[row] != 0):
                        count = counts[row]
                        room.found[size] = w << WINDOW_BITS | row
                        room.found_counts[size] = count
                        size += 1
                        bins[count >> BIN_BITS] += 1
                        room.above += count >> BIN_BITS >= room.level
                _raise(room, top_k)
            hopeful = hopeful >> BLOCK & _OTHER_BLOCKS
            base += BLOCK
        if room.seen - GROUP >= room.guess:
            room.cut = larger(room.cut, _guessed(room, top_k, room.seen / total) - room.loss)
            room.guess += room.guess if room.guess < WINDOW else WINDOW
    room.size = size
    room.seen = before + window.rows


@part(None)
def _add_columns(room: Any, columns: Any, base: Any) -> None:
    """Add the columns, from a block on, to its counts; an odd one is paired with a factor of 0."""
    counts, begins, factors = room.counts, room.begins, room.column_factors
    for c in range(0, room.used, 2):
        add_two(counts, base, columns + begins[c], factors[c], columns + begins[c + 1], factors[c + 1])


@part(None)
def _raise(room: Any, top_k: Any) -> None:
    """Raise the cut to what top_k of those that were found reach."""
    while room.above - room.bins[room.level] >= top_k:
        room.above -= room.bins[room.level]
        room.level += 1
    room.cut = larger(room.cut, room.level * BIN - room.loss)


@part(int64)
def _guessed(room: Any, top_k: Any, share: Any) -> Any:
    """The count that the top k of all will reach, if the documents so far, this share of all, are like the others."""
    expected, level, above = top_k * share, room.level, room.above
    wanted = int64(expected + 4.0 * sqrt(expected)) + 4
    if wanted > top_k:
        wanted = top_k
    while above - room.bins[level] >= wanted:
        above -= room.bins[level]
        level += 1
    return level * BIN


@part(bool_)
def find(room: Any, query_terms: Any, query_weights: Any, first: Any, last: Any, top_k: Any, exact: Any, bounded: Any) -> Any:
    """Every document that may be among the top k, by its count, into the room.

    Each term's product is rounded down once (a score may be `known` above its count), its factor was rounded up before (`known`
    below), and an impact that was rounded up counts up to a whole step too much. Two more for sums of float64.

    The first time, documents are expected to be alike, and those left out that are not among the top k if they are. That was
    right if the count that is `proven` of the top k in the end is not below the `cut`; otherwise all is done once more.

    Args:
        query_terms, query_weights: of queries, of which this one has those from first to last.
        exact: whether impacts are rounded up.
        bounded: whether to look at all.

    Returns: whether rank() can go on from here; otherwise touched() has to come between.
    """
    look_up(room, query_terms, query_weights, first, last)
    room.unit = _unit(room)
    room.loss = 2 * room.known + 4
    if exact:
        room.loss += UNITS // 255
    room.size, room.level, room.proven, room.cut, room.guess, room.smallest = 0, 0, 1, 2, FIRST_GUESS, NEVER
    if not bounded or room.known > MAX_TERMS:
        return False
    total = int64(0)
    for w in range(room.windows):
        total += window_at(room.table + w * ROW_BYTES).rows
    while room.cut > room.proven and room.unit > 0.0:
        room.size, room.level, room.above, room.cut, room.seen = 0, 0, 0, room.proven, 0
        clear(room.bins, BINS)
        for w in range(room.windows):
            window = window_at(room.table + w * ROW_BYTES)
            bound = _prepare(room, window, w)
            if bound >= room.cut:
                clear(room.counts, window.padded_rows)
                _scatter(room, window, w)
                _take_window(room, window, w, top_k, total)
            else:
                room.seen += window.rows
        room.proven = larger(room.proven, room.level * BIN - room.loss)
        room.guess = NEVER
    return True
