"""Search kernels, second half: exact scores of the documents that collect() found, and the whole of a search.

A score is the sum, in float64 and in ascending order of terms, of the products of float32 weights, which are exact in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .building import WINDOW
from .compiled import compiled, inlined, numba, pointer, prefetch
from .kernels import BIN, MAX_TERMS, collect, find_slots, reached_by, unit_of
from .layout import Field

_ROWS, _PADDED, _TERM_COUNT, _COLUMN = int(Field.ROWS), int(Field.PADDED_ROWS), int(Field.TERM_COUNT), int(Field.COLUMN)
_LARGEST, _START, _COLUMNS = int(Field.LARGEST), int(Field.START), int(Field.COLUMNS)
_POSTING_ROW, _POSTING_IMPACT, _PASSING = int(Field.POSTING_ROW), int(Field.POSTING_IMPACT), int(Field.PASSING)
_FORWARD_START, _FORWARD_SLOT, _FORWARD_WEIGHT = int(Field.FORWARD_START), int(Field.FORWARD_SLOT), int(Field.FORWARD_WEIGHT)
_WIDE = int(Field.WIDE_SLOTS)


@inlined
def _dots(slots: Any, weights: Any, start: Any, rows: Any, by_slot: Any, scores: Any, addresses: Any) -> None:
    mask = np.uintp(len(by_slot) - 1)
    slot_address, slot_bytes, weight_address = addresses
    for n in range(len(rows)):
        if n + 2 < len(rows):  # documents lie apart, and each is a few cache lines: have the next but one on its way
            begin, end = start[rows[n + 2]], start[rows[n + 2] + 1]
            for place in range(begin, end, 64 // slot_bytes):
                prefetch(slot_address + slot_bytes * place)
            for place in range(begin, end, 16):
                prefetch(weight_address + 4 * place)
        score = 0.0
        for entry in range(start[rows[n]], start[rows[n] + 1]):
            score += np.float64(by_slot[np.uintp(slots[entry]) & mask]) * np.float64(weights[entry])
        scores[n] = score


@compiled
def _score_documents(table: Any, w: Any, rows: Any, scores: Any, query_weights: Any, slots: Any, by_slot: Any) -> None:
    """Scores by the documents' own weights. Rows are those of the window; by_slot is all zero before and after."""
    for i in range(len(query_weights)):
        if slots[i] >= 0:
            by_slot[slots[i]] = query_weights[i]
    start = numba.carray(pointer(table[w, _FORWARD_START]), table[w, _ROWS] + 1, np.int64)
    total = start[table[w, _ROWS]]
    weights = numba.carray(pointer(table[w, _FORWARD_WEIGHT]), total, np.float32)
    if table[w, _WIDE] != 0:
        wide = numba.carray(pointer(table[w, _FORWARD_SLOT]), total, np.uint32)
        _dots(wide, weights, start, rows, by_slot, scores, (table[w, _FORWARD_SLOT], 4, table[w, _FORWARD_WEIGHT]))
    else:
        narrow = numba.carray(pointer(table[w, _FORWARD_SLOT]), total, np.uint16)
        _dots(narrow, weights, start, rows, by_slot, scores, (table[w, _FORWARD_SLOT], 2, table[w, _FORWARD_WEIGHT]))
    for i in range(len(query_weights)):
        if slots[i] >= 0:
            by_slot[slots[i]] = 0.0


@inlined
def _impact(rows: Any, impacts: Any, begin: Any, end: Any, row: Any) -> Any:
    """The impact of a row in a term's postings, 0 where it has none: binary search."""
    low, high = begin, end
    while low < high:
        middle = (low + high) >> 1
        if rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return np.uint8(impacts[low]) if low < end and rows[low] == row else np.uint8(0)


@compiled
def _score_impacts(table: Any, w: Any, rows: Any, scores: Any, query_weights: Any, slots: Any) -> None:
    """Scores by the weights that the impacts stand for, for an index that keeps nothing else."""
    terms, padded = table[w, _TERM_COUNT], table[w, _PADDED]
    start = numba.carray(pointer(table[w, _START]), terms + 1, np.int64)
    column = numba.carray(pointer(table[w, _COLUMN]), terms, np.int32)
    largest = numba.carray(pointer(table[w, _LARGEST]), terms, np.float32)
    posting_row = numba.carray(pointer(table[w, _POSTING_ROW]), start[terms], np.uint16)
    posting_impact = numba.carray(pointer(table[w, _POSTING_IMPACT]), start[terms], np.uint8)
    scores[:] = 0.0
    for i in range(len(query_weights)):
        slot = slots[i]
        if slot < 0:
            continue
        step, weight = np.float64(largest[slot]) / 255.0, np.float64(query_weights[i])
        values = numba.carray(pointer(table[w, _COLUMNS] + max(column[slot], 0) * padded), padded, np.uint8)
        for n in range(len(rows)):
            if column[slot] >= 0:
                impact = values[rows[n]]
            else:
                impact = _impact(posting_row, posting_impact, start[slot], start[slot + 1], rows[n])
            scores[n] += weight * np.float64(np.float32(np.float64(impact) * step))


@compiled
def score_rows(table: Any, rows: Any, scores: Any, query_weights: Any, slots: Any, by_slot: Any) -> None:
    """scores[n] of rows[n] = window * WINDOW + row; rows ascend."""
    begin = 0
    while begin < len(rows):
        w = rows[begin] // WINDOW
        end = begin
        while end < len(rows) and rows[end] // WINDOW == w:
            end += 1
        local = rows[begin:end] - w * WINDOW
        if table[w, _FORWARD_START] != 0:
            _score_documents(table, w, local, scores[begin:end], query_weights, slots[w], by_slot)
        else:
            _score_impacts(table, w, local, scores[begin:end], query_weights, slots[w])
        begin = end


@compiled
def touched(table: Any, slots: Any, counts: Any, rows: Any) -> Any:
    """Every passing document that shares a term with the query, into `rows`; returns how many."""
    size = 0
    for w in range(len(table)):
        terms, padded = table[w, _TERM_COUNT], table[w, _PADDED]
        start = numba.carray(pointer(table[w, _START]), terms + 1, np.int64)
        column = numba.carray(pointer(table[w, _COLUMN]), terms, np.int32)
        posting_row = numba.carray(pointer(table[w, _POSTING_ROW]), start[terms], np.uint16)
        counts[:padded] = 0
        for i in range(slots.shape[1]):
            slot = slots[w, i]
            if slot < 0:
                continue
            if column[slot] >= 0:
                values = numba.carray(pointer(table[w, _COLUMNS] + column[slot] * padded), padded, np.uint8)
                for row in range(padded):
                    counts[row] |= np.uint16(values[row])
            for place in range(start[slot], start[slot + 1]):
                counts[np.intp(posting_row[place])] = 1
        filtered = table[w, _PASSING] != 0
        passing = numba.carray(pointer(table[w, _PASSING]), padded, np.uint8)
        for row in range(table[w, _ROWS]):
            if counts[row] and (not filtered or passing[row]):
                rows[size] = w * WINDOW + row
                size += 1
    return size


@compiled
def _sift(scores: Any, rows: Any, root: Any, size: Any) -> None:
    """Restore the heap below `root`: no entry is better than those below it; better is a higher score, then a lower row."""
    while 2 * root + 1 < size:
        worst = 2 * root + 1
        other = worst + 1
        if other < size and (scores[other] < scores[worst] or (scores[other] == scores[worst] and rows[other] > rows[worst])):
            worst = other
        if scores[root] < scores[worst] or (scores[root] == scores[worst] and rows[root] >= rows[worst]):
            return
        scores[root], scores[worst] = scores[worst], scores[root]
        rows[root], rows[worst] = rows[worst], rows[root]
        root = worst


@compiled
def _sort(scores: Any, rows: Any) -> None:
    """Best first. A heap of our own: numpy's sorts and selections take numba most of a minute to compile."""
    for root in range(len(scores) // 2 - 1, -1, -1):
        _sift(scores, rows, root, len(scores))
    for end in range(len(scores) - 1, 0, -1):
        scores[0], scores[end] = scores[end], scores[0]
        rows[0], rows[end] = rows[end], rows[0]
        _sift(scores, rows, 0, end)


@compiled
def _least_of_best(scores: Any, top_k: Any) -> Any:
    """The top_k-th largest score; there are as many."""
    heap, rows = scores[:top_k].copy(), np.zeros(top_k, np.int64)
    for root in range(top_k // 2 - 1, -1, -1):
        _sift(heap, rows, root, top_k)
    for n in range(top_k, len(scores)):
        if scores[n] > heap[0]:
            heap[0] = scores[n]
            _sift(heap, rows, 0, top_k)
    return heap[0]


@compiled
def _score_found(
    table: Any, size: Any, cut: Any, top_k: Any, unit: Any, spare: Any, query_weights: Any, slots: Any, by_slot: Any, bins: Any, found: Any
) -> Any:
    """Exact scores of those that may be among the top k: first of the likely ones, then of those whose bound is not below theirs."""
    rows, counts = found
    kept = 0
    bins[:] = 0
    for n in range(size):
        if counts[n] >= cut:
            rows[kept], counts[kept] = rows[n], counts[n]
            bins[counts[n] // BIN] += 1
            kept += 1
    level = reached_by(bins, top_k)
    chosen, scores, likely = np.empty(kept, np.int64), np.empty(kept), 0
    for n in range(kept):
        if counts[n] >= level:
            chosen[likely] = rows[n]
            likely += 1
    score_rows(table, chosen[:likely], scores[:likely], query_weights, slots, by_slot)
    if likely < top_k:
        return chosen[:likely], scores[:likely]
    least, every = _least_of_best(scores[:likely], top_k), likely
    for n in range(kept):
        if counts[n] < level and (np.float64(counts[n]) + spare) * unit >= least:
            chosen[every] = rows[n]
            every += 1
    score_rows(table, chosen[likely:every], scores[likely:every], query_weights, slots, by_slot)
    return chosen[:every], scores[:every]


@compiled
def search(table: Any, query_terms: Any, query_weights: Any, top_k: Any, space: Any, found: Any, by_slot: Any) -> Any:
    """The top k of the passing documents, and every other one that ties with the last of them.

    Returns: (rows int64 as window * WINDOW + row, scores float64), by score descending, then by row.
    """
    slots = np.empty((len(table), len(query_terms)), np.int32)
    find_slots(table, query_terms, slots)
    unit, loss, spare = unit_of(table, query_weights, slots)
    rows, scores = np.empty(0, np.int64), np.empty(0, np.float64)
    complete = unit == 0.0  # no document has any of the terms
    if not complete and len(query_terms) <= MAX_TERMS:
        proven, cut, size = np.int64(0), np.int64(1), np.int64(0)
        guess = top_k > 0
        while cut > proven:  # once more without a guess where the windows are not alike
            size, proven, cut = collect(table, query_weights, slots, unit, loss, top_k, guess, space, found)
            guess = False
        rows, scores = _score_found(table, size, proven, top_k, unit, spare, query_weights, slots, by_slot, space[1], found)
        # documents that count 0 were left out: right if they cannot reach the last of the top k
        complete = proven > 1 or (len(rows) >= top_k and _least_of_best(scores, top_k) > spare * unit)
    if not complete:
        rows = found[0][: touched(table, slots, space[0], found[0])].copy()
        scores = np.empty(len(rows))
        score_rows(table, rows, scores, query_weights, slots, by_slot)
    return best(rows, scores, top_k)


@compiled
def best(rows: Any, scores: Any, top_k: Any) -> Any:
    """The top k and those that tie with the last of them, in order."""
    kept = len(rows)
    if kept > top_k:
        least, kept = _least_of_best(scores, top_k), 0
        for n in range(len(rows)):
            if scores[n] >= least:
                rows[kept], scores[kept] = rows[n], scores[n]
                kept += 1
    rows, scores = rows[:kept], scores[:kept]
    _sort(scores, rows)
    return rows, scores


@compiled
def search_many(
    table: Any, indptr: Any, terms: Any, weights: Any, first: Any, last: Any, top_k: Any, space: Any, found: Any, by_slot: Any,
    out_rows: Any, out_scores: Any, out_sizes: Any,
) -> None:  # fmt: skip
    """search() for queries first..last of a batch, cut to top_k by row; outputs are [queries, top_k] and [queries]."""
    for query in range(first, last):
        begin, end = indptr[query], indptr[query + 1]
        rows, scores = search(table, terms[begin:end], weights[begin:end], top_k, space, found, by_slot)
        size = min(len(rows), top_k)
        out_rows[query, :size] = rows[:size]
        out_scores[query, :size] = scores[:size]
        out_sizes[query] = size


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
