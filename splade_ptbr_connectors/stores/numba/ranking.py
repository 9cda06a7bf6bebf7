"""Search kernels, second half: exact scores of the documents that find() found, and their order.

A score is the sum, in float64 and in ascending order of terms, of the products of float32 weights, which are exact in float64.
"""

from __future__ import annotations

from typing import Any

from numpy import float32, float64, int32, int64, uint8, uint16, uint32

from .addresses import clear, memory, pointer, prefetch
from .compiled import compiled, part
from .kernels import BIN, NEVER, SURE, find
from .layout import COUNT_BITS, ENTRY_BYTES, ROW_BYTES, WINDOW_BITS, entry_at, room_at, window_at
from .simd import larger
from .sort import about_the_best, sort_hits

CHUNK = 256  # entries of a document that are looked through at a time
_AHEAD = 4  # documents: they lie apart, and each is a few cache lines, so that those of a later one are asked for early
_FEW = 16  # rows of a window
_LIST = (1 << COUNT_BITS) - 1
_ROW = (1 << WINDOW_BITS) - 1


@part(None)
def _mark(room: Any, w: Any) -> None:
    """Note the query's weights by the window's slots."""
    clear(room.bits, (room.slot_mask >> 6) + 1)
    for i in range(room.known):
        slot = int64(entry_at(room.places[i] + w * ENTRY_BYTES).slot)
        if slot >= 0:
            room.by_slot[slot] = room.weights[i]
            room.bits[slot >> 6] |= 1 << (slot & 63)


@part(None)
def _dots(room: Any, window: Any, slots: Any, slot_bytes: Any, begin: Any, end: Any) -> None:
    """A query has few of a document's terms: those are picked by a bit each, without a branch, and only they are multiplied."""
    by_slot, bits, chosen, mask, hits = room.by_slot, room.bits, room.chosen, room.slot_mask, room.hits
    start, weights = window.forward_start, window.forward_weight
    for n in range(begin, end):
        if n + 4 * _AHEAD < end:
            prefetch(window.forward_start_at + 8 * (hits[n + 4 * _AHEAD] & _ROW), 1)
        if n + _AHEAD < end:
            row = hits[n + _AHEAD] & _ROW
            first, size = start[row], start[row + 1] - start[row]
            prefetch(window.forward_slot + slot_bytes * first, slot_bytes * size)
            prefetch(window.forward_weight_at + 4 * first, 4 * size)
        row = hits[n] & _ROW
        first, stop, score = start[row], start[row + 1], 0.0
        while first < stop:
            last = first + CHUNK if first + CHUNK < stop else stop
            size = int64(0)
            for entry in range(first, last):
                slot = slots[entry] & mask
                chosen[size] = entry
                size += bits[slot >> 6] >> (slot & 63) & 1
            for m in range(size):
                entry = chosen[m]
                score += float64(by_slot[slots[entry] & mask]) * float64(weights[entry])
            first = last
        room.scores[n] = score


@part(int64)
def _find(rows: Any, low: Any, end: Any, row: Any) -> Any:
    """Where a row stands in a term's postings, -1 where it does not: binary search."""
    high = end
    while low < high:
        middle = (low + high) >> 1
        if rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low if low < end and rows[low] == row else -1


@part(None)
def _score_impacts(room: Any, window: Any, w: Any, first: Any, last: Any) -> None:
    """Scores by the weights that the impacts stand for, for an index that keeps nothing else.

    Few rows are searched for in every list; for more, the lists are gone through, and marks say who is meant.
    """
    marks, rows, impacts, hits, scores = room.counts, window.posting_row, window.posting_impact, room.hits, room.scores
    through = _FEW <= last - first <= _ROW
    if through:
        clear(marks, window.padded_rows)
    for n in range(first, last):
        scores[n] = 0.0
        if through:
            marks[hits[n] & _ROW] = n - first + 1
    for i in range(room.known):
        entry, weight = entry_at(room.places[i] + w * ENTRY_BYTES), float64(room.weights[i])
        span, step = entry.span, float64(entry.largest) / 255.0
        begin, end = span >> COUNT_BITS, (span >> COUNT_BITS) + (span & _LIST)
        if span >= 0 and through:
            for place in range(begin, end):
                mark = int64(marks[rows[place]])
                if 0 < mark <= last - first:  # an altered file may name a row that was not cleared
                    scores[first + mark - 1] += weight * float64(float32(float64(impacts[place]) * step))
        else:
            values = pointer(window.columns + (-1 - span) * window.padded_rows, uint8)
            for n in range(first, last):
                impact = uint8(0)
                if span < 0:
                    impact = values[hits[n] & _ROW]
                else:
                    at = _find(rows, begin, end, hits[n] & _ROW)
                    if at >= 0:
                        impact = impacts[at]
                scores[n] += weight * float64(float32(float64(impact) * step))


@compiled
def touched(address: Any) -> Any:
    """Every passing document that shares a term with the query, as hits; returns how many."""
    room = room_at(address)
    counts, hits, size = room.counts, room.hits, int64(0)
    for w in range(room.windows):
        window = window_at(room.table + w * ROW_BYTES)
        rows, padded = window.posting_row, window.padded_rows
        clear(counts, padded)
        for i in range(room.known):
            span = entry_at(room.places[i] + w * ENTRY_BYTES).span
            if span < 0:
                values = pointer(window.columns + (-1 - span) * padded, uint8)
                for row in range(padded):
                    counts[row] |= values[row]
            else:
                begin = span >> COUNT_BITS
                for place in range(begin, begin + (span & _LIST)):
                    counts[rows[place]] = 1
        for row in range(window.rows):
            hits[size] = w << WINDOW_BITS | row
            size += counts[row] != 0 and (window.passing_at == 0 or window.passing[row] != 0)
    room.size, room.smallest = 0, NEVER  # for rank(): nothing else is to be scored
    return size


@part(None)
def _score(room: Any, begin: Any, every: Any, narrow: Any, wide: Any, rounded: Any) -> None:
    """Scores of hits from begin to every; those of a window stand together."""
    while begin < every:
        w, end = room.hits[begin] >> WINDOW_BITS, begin
        while end < every and room.hits[end] >> WINDOW_BITS == w:
            end += 1
        window = window_at(room.table + w * ROW_BYTES)
        if rounded is not None:
            if window.forward_start_at == 0:
                _score_impacts(room, window, w, begin, end)
        if narrow is not None:
            if window.forward_start_at != 0 and window.wide_slots == 0:
                _mark(room, w)
                _dots(room, window, pointer(window.forward_slot, uint16), 2, begin, end)
        if wide is not None:
            if window.wide_slots != 0:
                _mark(room, w)
                _dots(room, window, pointer(window.forward_slot, uint32), 4, begin, end)
        begin = end


@part(int64)
def rank(room: Any, top_k: Any, every: Any, narrow: Any, wide: Any, rounded: Any) -> Any:
    """The top k of what find() or touched() left in the room, and every other one that ties with the last of them, in order.

    First the likely ones are scored, then those whose bound is not below what the top k of these reach.

    Args:
        every: how many hits there are already: what touched() returned, else 0.

    Returns: how many there are, in the room's hits and scores; -1: touched() has to find more.
    """
    hits, scores, counts = room.hits, room.scores, room.found_counts
    spare = (room.known + 2) * room.unit  # two more for sums of float64
    low = larger(room.level * BIN, room.proven)
    high, begin, least, count = int64(NEVER), int64(0), 0.0, int64(0)
    while True:
        for n in range(room.size):
            hits[every] = room.found[n]
            its = int64(counts[n])
            every += (its >= low) & (its < high) & (its * room.unit + spare >= least)
        _score(room, begin, every, narrow, wide, rounded)
        least = about_the_best(scores, every, top_k, room.bins) if every >= top_k else 0.0
        if low == room.proven or every < top_k:
            break
        begin, low, high = every, room.proven, low
    if room.proven <= 1 and room.smallest < SURE and least <= spare:
        return int64(-1)  # documents that count 0 were left out: right if they cannot reach the last of the top k
    for n in range(every):
        hits[count] = hits[n]
        scores[count] = scores[n]
        count += scores[n] >= least
    sort_hits(pointer(room.scores_at, int64), hits, count, room.spare, room.found, room.bins)
    while count > top_k and scores[count - 1] < scores[top_k - 1]:
        count -= 1
    for n in range(count):
        hits[n] = window_at(room.table + (hits[n] >> WINDOW_BITS) * ROW_BYTES).base + (hits[n] & _ROW)
    return count


@compiled
def search(
    address: Any, indptr: Any, terms: Any, weights: Any, first: Any, last: Any, every: Any, top_k: Any, exact: Any, bounded: Any,
    narrow: Any, wide: Any, rounded: Any, rows: Any, scores: Any, sizes: Any,
) -> Any:  # fmt: skip
    """find() and rank() for queries from first to last of a batch, in the room at an address (layout.ROOM).

    Args:
        indptr, terms, weights: of the batch.
        every: what touched() returned for the first query; -1: it was not called.
        exact, bounded: see find().
        narrow, wide, rounded: True where there are windows whose slots are uint16 or uint32, or that keep impacts only, else None:
            what is None is not compiled.
        rows, scores, sizes: where sizes is not 0, addresses of int64 [queries, top_k], float64 [queries, top_k] and int64 [queries],
            which get the top k; otherwise the hits stay in the room.

    Returns: last; or the query before which it stopped, because touched() has to find its hits first.
    """
    room = room_at(address)
    for n in range(first, last):
        if every < 0:
            if not find(room, memory(terms), memory(weights), indptr[n], indptr[n + 1], top_k, exact, bounded):
                return n
            every = int64(0)
        count = rank(room, top_k, every, narrow, wide, rounded)
        if count < 0:
            return n
        room.size, every = count, int64(-1)
        if sizes != 0:
            at = 8 * n * top_k
            _copy(room, top_k, pointer(rows + at, int64), pointer(scores + at, float64), pointer(sizes + 8 * n, int64))
    return last


@compiled
def best_of_each(address: Any, places: Any, top_k: Any) -> Any:
    """Of the hits in the room, which are in order, keep the best of each document: the first top_k, and all that tie with the last one.

    The rows of a document are neighbours, and the first hit of it that comes is its best one, or the first of its best ones.

    Args:
        places: address of int32 by row, which passage of its document it is.

    Returns: how many hits there are up to the last that is kept.
    """
    room = room_at(address)
    hits, scores, seen, place = room.hits, room.scores, room.spare, pointer(places, int32)
    size, count, n = room.size, int64(0), int64(0)
    for m in range(size):
        seen[hits[m] - place[hits[m]]] = 0
    while n < size and (count < top_k or scores[n] == scores[count - 1]):
        head = hits[n] - place[hits[n]]
        hits[count] = hits[n]
        scores[count] = scores[n]
        count += seen[head] == 0
        seen[head] = 1
        n += 1
    room.size = count
    return n


@part(None)
def _copy(room: Any, top_k: Any, rows: Any, scores: Any, size: Any) -> None:
    size[0] = room.size if room.size < top_k else top_k
    for n in range(size[0]):
        rows[n] = room.hits[n]
        scores[n] = room.scores[n]


@compiled
def score_batch(indptr: Any, terms: Any, weights: Any, query_terms: Any, query_weights: Any, scores: Any) -> None:
    """Scores of documents that no window holds yet; 0.0 for those that share no term with the query."""
    start, held, asked, size = memory(indptr), memory(terms), memory(query_terms), len(query_terms)
    theirs, ours, into = memory(weights), memory(query_weights), memory(scores)
    for row in range(len(indptr) - 1):
        score, i = 0.0, int64(0)
        for entry in range(start[row], start[row + 1]):
            while i < size and asked[i] < held[entry]:
                i += 1
            if i == size:
                break
            if asked[i] == held[entry]:
                score += float64(ours[i]) * float64(theirs[entry])
        into[row] = score
