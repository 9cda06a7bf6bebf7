"""Search kernels, second half: exact scores of the documents that collect() found, and the whole of a search.

A score is the sum, in float64 and in ascending order of terms, of the products of float32 weights, which are exact in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .building import WINDOW
from .compiled import compiled, inlined, numba, pointer, prefetch
from .directory import look_up
from .kernels import ANY, LINE, MAX_TERMS, collect, unit_of
from .layout import COUNT_BITS, LARGEST, REST, SLOT_SHIFT, SPAN, Field
from .sorting import about_the_best, sort_hits

CHUNK = 256  # entries of a document that are looked through at a time
_AHEAD = 4  # documents: they lie apart, and each is a few cache lines, so that those of a later one are asked for early
_FEW = 16  # rows of a window
_LIST = (1 << COUNT_BITS) - 1

_ROWS, _PADDED, _BASE, _COLUMNS = int(Field.ROWS), int(Field.PADDED_ROWS), int(Field.BASE), int(Field.COLUMNS)
_POSTING_ROW, _POSTING_IMPACT, _PASSING = int(Field.POSTING_ROW), int(Field.POSTING_IMPACT), int(Field.PASSING)
_FORWARD_START, _FORWARD_SLOT, _FORWARD_WEIGHT = int(Field.FORWARD_START), int(Field.FORWARD_SLOT), int(Field.FORWARD_WEIGHT)
_WIDE = int(Field.WIDE_SLOTS)


@inlined
def _dots(slots: Any, weights: Any, start: Any, rows: Any, query: Any, scores: Any, addresses: Any) -> None:
    """A query has few of a document's terms: those are picked by a bit each, without a branch, and only they are multiplied."""
    by_slot, bits, chosen, _ = query
    mask = np.uintp(len(by_slot) - 1)
    slot_address, slot_bytes, weight_address = addresses
    for n in range(len(rows)):
        if n + 4 * _AHEAD < len(rows):
            prefetch(start.ctypes.data + 8 * rows[n + 4 * _AHEAD])
        if n + _AHEAD < len(rows):
            begin, end = start[rows[n + _AHEAD]], start[rows[n + _AHEAD] + 1]
            for address in range(slot_address + slot_bytes * begin, slot_address + slot_bytes * end, LINE):
                prefetch(address)
            for address in range(weight_address + 4 * begin, weight_address + 4 * end, LINE):
                prefetch(address)
        score: Any = 0.0
        first, end = np.uintp(start[rows[n]]), np.uintp(start[rows[n] + 1])
        while first < end:
            last, size = min(end, first + np.uintp(CHUNK)), np.uintp(0)
            for entry in range(first, last):
                slot = np.uintp(slots[entry]) & mask
                chosen[size] = entry
                size += (bits[slot >> np.uintp(6)] >> (slot & np.uintp(63))) & np.uintp(1)
            for m in range(size):
                shared = np.uintp(chosen[m])
                score += np.float64(by_slot[np.uintp(slots[shared]) & mask]) * np.float64(weights[shared])
            first = last
        scores[n] = score


@inlined
def _mark(w: Any, entries: Any, places: Any, query_weights: Any, query: Any, marked: Any) -> None:
    """Note, or forget, the query's weights by the window's slots."""
    by_slot, bits, _, _ = query
    for i in range(len(places)):
        slot = entries[places[i], w, REST] >> SLOT_SHIFT
        if slot >= 0:
            by_slot[slot] = query_weights[i] if marked else np.float32(0.0)
            if marked:
                bits[slot >> 6] |= np.uint64(1) << np.uint64(slot & 63)
            else:
                bits[slot >> 6] = np.uint64(0)


@compiled
def _score_documents(table: Any, w: Any, rows: Any, scores: Any, entries: Any, places: Any, query_weights: Any, query: Any) -> None:
    """Scores by the documents' own weights. Rows are those of the window; query is all zero before and after."""
    _mark(w, entries, places, query_weights, query, True)
    start = numba.carray(pointer(table[w, _FORWARD_START]), table[w, _ROWS] + 1, np.int64)
    weights = numba.carray(pointer(table[w, _FORWARD_WEIGHT]), ANY, np.float32)
    if table[w, _WIDE] != 0:
        wide = numba.carray(pointer(table[w, _FORWARD_SLOT]), ANY, np.uint32)
        _dots(wide, weights, start, rows, query, scores, (table[w, _FORWARD_SLOT], 4, table[w, _FORWARD_WEIGHT]))
    else:
        narrow = numba.carray(pointer(table[w, _FORWARD_SLOT]), ANY, np.uint16)
        _dots(narrow, weights, start, rows, query, scores, (table[w, _FORWARD_SLOT], 2, table[w, _FORWARD_WEIGHT]))
    _mark(w, entries, places, query_weights, query, False)


@inlined
def _find(rows: Any, begin: Any, end: Any, row: Any) -> Any:
    """Where a row stands in a term's postings, -1 where it does not: binary search."""
    low, high = begin, end
    while low < high:
        middle = (low + high) >> 1
        if rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low if low < end and rows[low] == row else np.int64(-1)


@compiled
def _score_impacts(
    table: Any, w: Any, rows: Any, scores: Any, entries: Any, largest: Any, places: Any, query_weights: Any, marks: Any
) -> None:
    """Scores by the weights that the impacts stand for, for an index that keeps nothing else.

    Few rows are searched for in every list; for more, the lists are gone through, and marks [WINDOW] uint16 say who is meant.
    """
    padded, through = table[w, _PADDED], _FEW <= len(rows) < WINDOW
    posting_row = numba.carray(pointer(table[w, _POSTING_ROW]), ANY, np.uint16)
    posting_impact = numba.carray(pointer(table[w, _POSTING_IMPACT]), ANY, np.uint8)
    scores[:] = 0.0
    if through:
        marks[:padded] = 0
        for n in range(len(rows)):
            marks[rows[n]] = n + 1
    for i in range(len(places)):
        span = entries[places[i], w, SPAN]
        begin, end = span >> COUNT_BITS, (span >> COUNT_BITS) + (span & _LIST)
        step, weight = np.float64(largest[places[i], w, LARGEST]) / 255.0, np.float64(query_weights[i])
        if span < 0:
            values = numba.carray(pointer(table[w, _COLUMNS] + (-1 - span) * padded), padded, np.uint8)
            for n in range(len(rows)):
                scores[n] += weight * np.float64(np.float32(np.float64(values[rows[n]]) * step))
        elif through:
            for place in range(begin, end):
                mark = np.intp(marks[np.intp(posting_row[place])])
                if 0 < mark <= len(rows):  # an altered file may name a row that was not cleared
                    scores[mark - 1] += weight * np.float64(np.float32(np.float64(posting_impact[place]) * step))
        else:
            for n in range(len(rows)):
                at = _find(posting_row, begin, end, rows[n])
                if at >= 0:
                    scores[n] += weight * np.float64(np.float32(np.float64(posting_impact[at]) * step))


@compiled
def score_rows(table: Any, rows: Any, scores: Any, entries: Any, largest: Any, places: Any, query_weights: Any, query: Any) -> None:
    """scores[n] of rows[n] = window * WINDOW + row; those of a window stand together."""
    begin = 0
    while begin < len(rows):
        w = rows[begin] // WINDOW
        end = begin
        while end < len(rows) and rows[end] // WINDOW == w:
            end += 1
        local = rows[begin:end] - w * WINDOW
        if table[w, _FORWARD_START] != 0:
            _score_documents(table, w, local, scores[begin:end], entries, places, query_weights, query)
        else:
            _score_impacts(table, w, local, scores[begin:end], entries, largest, places, query_weights, query[3])
        begin = end


@compiled
def touched(table: Any, entries: Any, places: Any, counts: Any, rows: Any) -> Any:
    """Every passing document that shares a term with the query, into `rows`; returns how many."""
    size = 0
    for w in range(len(table)):
        padded = table[w, _PADDED]
        posting_row = numba.carray(pointer(table[w, _POSTING_ROW]), ANY, np.uint16)
        counts[:padded] = 0
        for i in range(len(places)):
            span = entries[places[i], w, SPAN]
            if span < 0:
                values = numba.carray(pointer(table[w, _COLUMNS] + (-1 - span) * padded), padded, np.uint8)
                for row in range(padded):
                    counts[row] |= np.uint16(values[row])
            else:
                for place in range(span >> COUNT_BITS, (span >> COUNT_BITS) + (span & _LIST)):
                    counts[np.intp(posting_row[place])] = 1
        filtered = table[w, _PASSING] != 0
        passing = numba.carray(pointer(table[w, _PASSING]), padded, np.uint8)
        for row in range(table[w, _ROWS]):
            if counts[row] and (not filtered or passing[row]):
                rows[size] = w * WINDOW + row
                size += 1
    return size


@compiled
def _score_found(
    table: Any, entries: Any, largest: Any, places: Any, query_weights: Any, size: Any, level: Any, cut: Any, top_k: Any, unit: Any,
    spare: Any, found: Any, query: Any,
) -> Any:  # fmt: skip
    """Exact scores of those that may be among the top k: first of the likely ones, then of those whose bound is not below theirs."""
    rows, counts = found
    kept = 0
    for n in range(size):
        rows[kept], counts[kept] = rows[n], counts[n]
        kept += counts[n] >= cut
    chosen, scores, likely = np.empty(kept, np.int64), np.empty(kept), 0
    for n in range(kept):
        chosen[likely] = rows[n]
        likely += counts[n] >= level
    score_rows(table, chosen[:likely], scores[:likely], entries, largest, places, query_weights, query)
    if likely < top_k:
        return chosen[:likely], scores[:likely]
    least, every = about_the_best(scores[:likely], top_k), likely
    for n in range(kept):
        if counts[n] < level and (np.float64(counts[n]) + spare) * unit >= least:
            chosen[every] = rows[n]
            every += 1
    score_rows(table, chosen[likely:every], scores[likely:every], entries, largest, places, query_weights, query)
    return chosen[:every], scores[:every]


@compiled
def search(table: Any, directory: Any, query_terms: Any, query_weights: Any, top_k: Any, space: Any, found: Any, query: Any) -> Any:
    """The top k of the passing documents, and every other one that ties with the last of them.

    Args:
        directory: terms, entries and largest of a Directory.
        space, found: see collect().
        query: all zero: room for a weight a slot [S] float32, and a bit a slot [S / 64] uint64; and for [CHUNK] int64,
            and [WINDOW] uint16 that need not be zero.

    Returns: (rows int64, scores float64), by score descending, then by row.
    """
    terms, entries, largest = directory
    places, weights = np.empty(len(query_terms), np.int64), np.empty(len(query_terms), np.float32)
    known = look_up(terms, entries, query_terms, query_weights, places, weights)
    places, weights = places[:known], weights[:known]
    unit, loss, spare = unit_of(table, largest, places, weights)
    rows, scores = np.empty(0, np.int64), np.empty(0, np.float64)
    complete = unit == 0.0  # no document has any of the terms
    if not complete and known <= MAX_TERMS:
        proven, cut, size, level = np.int64(1), np.int64(2), np.int64(0), np.int64(0)
        guess = top_k > 0
        while cut > proven:  # once more without guesses where the documents are not alike
            size, level, proven, cut = collect(table, entries, largest, places, weights, unit, loss, top_k, proven, guess, space, found)
            guess = False
        rows, scores = _score_found(table, entries, largest, places, weights, size, level, proven, top_k, unit, spare, found, query)
        # documents that count 0 were left out: right if they cannot reach the last of the top k
        complete = proven > 1 or (len(rows) >= top_k and about_the_best(scores, top_k) > spare * unit)
    if not complete:
        rows = found[0][: touched(table, entries, places, space[0], found[0])].copy()
        scores = np.empty(len(rows))
        score_rows(table, rows, scores, entries, largest, places, weights, query)
    rows, scores = best(rows, scores, top_k)
    for n in range(len(rows)):
        rows[n] = table[rows[n] // WINDOW, _BASE] + rows[n] % WINDOW
    return rows, scores


@compiled
def best(rows: Any, scores: Any, top_k: Any) -> Any:
    """The top k and those that tie with the last of them, in order."""
    kept = len(rows)
    if kept > top_k:
        least, kept = about_the_best(scores, top_k), 0
        for n in range(len(rows)):
            if scores[n] >= least:
                rows[kept], scores[kept] = rows[n], scores[n]
                kept += 1
    rows, scores = rows[:kept], scores[:kept]
    sort_hits(scores, rows)
    last = min(top_k, kept)
    while last < kept and scores[last] == scores[top_k - 1]:
        last += 1
    return rows[:last], scores[:last]


@compiled
def search_many(
    table: Any, directory: Any, indptr: Any, terms: Any, weights: Any, first: Any, last: Any, top_k: Any, space: Any, found: Any,
    query: Any, out_rows: Any, out_scores: Any, out_sizes: Any,
) -> None:  # fmt: skip
    """search() for queries first..last of a batch, cut to top_k by row; outputs are [queries, top_k] and [queries]."""
    for n in range(first, last):
        begin, end = indptr[n], indptr[n + 1]
        rows, scores = search(table, directory, terms[begin:end], weights[begin:end], top_k, space, found, query)
        size = min(len(rows), top_k)
        out_rows[n, :size] = rows[:size]
        out_scores[n, :size] = scores[:size]
        out_sizes[n] = size


@compiled
def score_batch(indptr: Any, terms: Any, weights: Any, query_terms: Any, query_weights: Any, scores: Any) -> None:
    """Scores of documents that no window holds yet; 0.0 for those that share no term with the query."""
    for row in range(len(indptr) - 1):
        score, i = 0.0, 0
        for entry in range(indptr[row], indptr[row + 1]):
            while i < len(query_terms) and query_terms[i] < terms[entry]:
                i += 1
            if i == len(query_terms):
                break
            if query_terms[i] == terms[entry]:
                score += np.float64(query_weights[i]) * np.float64(weights[entry])
        scores[row] = score
