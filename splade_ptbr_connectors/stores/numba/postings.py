"""A window's postings out of its documents: term lists with 8-bit impacts, frequent terms as plain columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...vectors import SparseBatch
from .addresses import memory, to_read
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
    indptr, weights, (numbers, known) = to_read(batch.indptr), to_read(batch.weights), _numbered(batch.term_ids)
    size = int(numbers.max(initial=0)) + 1
    frequency, largest = np.zeros(size, np.int64), np.zeros(size, np.float32)
    _count(numbers, weights, frequency, largest)
    occurring = np.flatnonzero(frequency)
    terms, frequency, largest = known[occurring] if len(known) else occurring.astype(np.uint32), frequency[occurring], largest[occurring]
    one_in = FREQUENT_ROUNDED if rounded else FREQUENT
    frequent = frequency * one_in > max(count, one_in)
    column = np.where(frequent, np.cumsum(frequent) - 1, -1).astype(np.int32)
    start = np.zeros(len(terms) + 1, np.int64)
    np.cumsum(np.where(frequent, 0, frequency), out=start[1:])
    rows, impacts = np.empty(start[-1], np.uint16), np.empty(start[-1], np.uint8)
    columns = np.zeros((int(frequent.sum()), padded), np.uint8)
    steps = STEPS / largest.astype(np.float64)
    slot_of = np.zeros(size, np.uint16 if len(terms) <= 2**16 else np.uint32)
    slot_of[occurring] = np.arange(len(terms))
    slots = np.empty(len(numbers), slot_of.dtype)
    _fill(indptr, numbers, slot_of, slots, weights, steps, start[:-1].copy(), column, rows, impacts, columns, padded, rounded)
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


def _numbered(term_ids: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Terms as numbers that a table has room for: their ids, or if these are large their places among the terms, which come too."""
    if int(term_ids.max(initial=0)) < DIRECT:
        return to_read(term_ids), np.empty(0, np.uint32)
    terms, places = np.unique(term_ids, return_inverse=True)
    return to_read(places.astype(np.uint32)), terms


@compiled
def _count(numbers: Any, weights: Any, frequency: Any, largest: Any) -> None:
    terms, values, counts, tops = memory(numbers), memory(weights), memory(frequency), memory(largest)
    for entry in range(len(numbers)):
        term = terms[entry]
        counts[term] += 1
        if values[entry] > tops[term]:
            tops[term] = values[entry]


@compiled
def _fill(
    indptr: Any, numbers: Any, slot_of: Any, slots: Any, weights: Any, steps: Any, following: Any, column: Any, rows: Any, impacts: Any,
    columns: Any, padded: Any, rounded: Any,
) -> None:  # fmt: skip
    start, terms, slot_of_term, slot_of_entry, values = memory(indptr), memory(numbers), memory(slot_of), memory(slots), memory(weights)
    of_slot, free, frequent = memory(steps), memory(following), memory(column)
    posting_row, posting_impact, plain = memory(rows), memory(impacts), memory(columns)
    for row in range(len(indptr) - 1):
        for entry in range(start[row], start[row + 1]):
            slot = slot_of_term[terms[entry]]
            slot_of_entry[entry] = slot
            exact = np.float64(values[entry]) * of_slot[slot]
            step = np.rint(exact) if rounded else np.ceil(exact)
            impact = np.uint8(1.0 if step < 1.0 else 255.0 if step > 255.0 else step)
            if frequent[slot] >= 0:
                plain[frequent[slot] * padded + row] = impact
            else:
                place = free[slot]
                posting_row[place] = row
                posting_impact[place] = impact
                free[slot] = place + 1


@compiled
def _tops(columns: Any, block_largest: Any) -> None:
    impacts, tops = memory(columns), memory(block_largest)
    for block in range(block_largest.size):
        top = np.uint8(0)
        for place in range(block * BLOCK, block * BLOCK + BLOCK):
            if impacts[place] > top:
                top = impacts[place]
        tops[block] = top


def decoded(impacts: NDArray[np.uint8], largest: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weights that impacts stand for."""
    return (impacts.astype(np.float64) * (largest.astype(np.float64) / STEPS)).astype(np.float32)
