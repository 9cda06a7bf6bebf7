"""A window's postings out of its documents: term lists with 8-bit impacts, frequent terms as plain columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...vectors import SparseBatch
from .compiled import compiled

WINDOW = 65_536  # documents of a window: a row fits 16 bits, its accumulators fit the second-level cache
BLOCK = 16  # documents of a block, of which the largest impact is known; GROUP of a group of four: a cache line of impacts
GROUP = 64  # simd.py has both numbers in its vectors
FREQUENT = 16  # a term in more than one document of this many is kept as a column, which is searched faster than a list
FREQUENT_ROUNDED = 8  # the same where room counts: at one document in 16 a column takes 16 bytes a posting, a list 3
STEPS = 255  # impacts are 1..255 steps of the term's largest weight in the window
DIRECT = 2**22  # up to this term id, terms are counted in a table


def postings(batch: SparseBatch, *, rounded: bool) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
    """The inverted side of a window.

    Args:
        batch: up to WINDOW documents.
        rounded: impacts to the nearest step, for an index that keeps nothing else; otherwise to the step above, which
            makes them upper bounds.

    Returns: arrays by name, and for each entry of the batch the place of its term
        terms: [P] uint32, the terms that occur, ascending.
        largest: [P] float32, largest weight of each.
        start: [P+1] int64, where its postings start; a frequent term has none.
        column: [P] int32, its column, -1 for a term that is not frequent.
        posting_row: uint16, posting_impact: uint8; by term, rows ascending.
        columns: [C, R] uint8, an impact for each row (0: the term does not occur), R the rows rounded up to whole groups.
        block_largest: [C, R / BLOCK] uint8, the largest impact of each block.
    """
    count = len(batch)
    padded = -(-count // GROUP) * GROUP
    terms, slots = _slots(batch.term_ids)
    frequency, largest = np.zeros(len(terms), np.int64), np.zeros(len(terms), np.float32)
    _count(slots, batch.weights, frequency, largest)
    one_in = FREQUENT_ROUNDED if rounded else FREQUENT
    frequent = frequency * one_in > max(count, one_in)
    column = np.where(frequent, np.cumsum(frequent) - 1, -1).astype(np.int32)
    start = np.zeros(len(terms) + 1, np.int64)
    np.cumsum(np.where(frequent, 0, frequency), out=start[1:])
    rows, impacts = np.empty(start[-1], np.uint16), np.empty(start[-1], np.uint8)
    columns = np.zeros((int(frequent.sum()), padded), np.uint8)
    steps = STEPS / largest.astype(np.float64)
    _fill(batch.indptr, slots, batch.weights, steps, start[:-1].copy(), column, rows, impacts, columns, rounded)
    block_largest = np.zeros((len(columns), padded // BLOCK), np.uint8)
    _tops(columns, block_largest)
    return {
        "terms": terms,
        "largest": largest,
        "start": start,
        "column": column,
        "posting_row": rows,
        "posting_impact": impacts,
        "columns": columns,
        "block_largest": block_largest,
    }, slots


def _slots(term_ids: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """The terms that occur, and for each entry which of them it is."""
    if not len(term_ids):
        return np.empty(0, np.uint32), np.empty(0, np.uint16)
    if int(term_ids.max()) >= DIRECT:
        terms, places = np.unique(term_ids, return_inverse=True)
        return terms, places.astype(_slot_type(len(terms)))
    occurs = np.zeros(int(term_ids.max()) + 1, np.bool_)
    _mark(term_ids, occurs)
    terms = np.flatnonzero(occurs).astype(np.uint32)
    place = (np.cumsum(occurs) - 1).astype(_slot_type(len(terms)))
    slots = np.empty(len(term_ids), place.dtype)
    _look_up(term_ids, place, slots)
    return terms, slots


def _slot_type(terms: int) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if terms <= 2**16 else np.uint32


@compiled
def _mark(term_ids: Any, occurs: Any) -> None:
    for entry in range(len(term_ids)):
        occurs[np.intp(term_ids[entry])] = True


@compiled
def _look_up(term_ids: Any, place: Any, slots: Any) -> None:
    for entry in range(len(term_ids)):
        slots[entry] = place[np.intp(term_ids[entry])]


@compiled
def _count(slots: Any, weights: Any, frequency: Any, largest: Any) -> None:
    for entry in range(len(slots)):
        slot = np.intp(slots[entry])
        frequency[slot] += 1
        if weights[entry] > largest[slot]:
            largest[slot] = weights[entry]


@compiled
def _fill(
    indptr: Any, slots: Any, weights: Any, steps: Any, following: Any, column: Any, rows: Any, impacts: Any, columns: Any, rounded: Any
) -> None:
    for row in range(len(indptr) - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            slot = np.intp(slots[entry])
            exact = np.float64(weights[entry]) * steps[slot]
            impact = np.uint8(min(255.0, max(1.0, np.rint(exact) if rounded else np.ceil(exact))))
            if column[slot] >= 0:
                columns[column[slot], row] = impact
            else:
                place = following[slot]
                rows[place] = row
                impacts[place] = impact
                following[slot] = place + 1


@compiled
def _tops(columns: Any, block_largest: Any) -> None:
    for c in range(len(columns)):
        for b in range(block_largest.shape[1]):
            for row in range(b * BLOCK, b * BLOCK + BLOCK):
                block_largest[c, b] = max(block_largest[c, b], columns[c, row])


def decoded(impacts: NDArray[np.uint8], largest: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weights that impacts stand for."""
    return (impacts.astype(np.float64) * (largest.astype(np.float64) / STEPS)).astype(np.float32)
