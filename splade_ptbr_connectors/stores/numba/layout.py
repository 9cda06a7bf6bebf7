"""How kernels see an index and the room they work in: rows of numbers and addresses."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from .addresses import struct


class Field(IntEnum):
    """Columns of the table (int64), of which each window has a row. The names are those of the arrays in a window; see
    postings.postings() and window.Window.
    """

    ROWS = 0
    PADDED_ROWS = 1
    BASE = 2  # number of the window's first row in the index
    POSTING_ROW = 3
    POSTING_IMPACT = 4
    COLUMNS = 5
    BLOCK_LARGEST = 6
    FORWARD_START = 7  # 0: no forward arrays, the index keeps impacts only
    FORWARD_SLOT = 8
    FORWARD_WEIGHT = 9
    WIDE_SLOTS = 10  # 1: forward_slot is uint32, not uint16
    PASSING = 11  # 0: every row may be found; else one byte a row, 0: it may not


FIELDS = len(Field)
ROW_BYTES = 8 * FIELDS
_NUMBERS: dict[str, Any] = {
    "posting_row": [np.uint16], "posting_impact": [np.uint8], "forward_start": [np.int64], "forward_weight": [np.float32],
    "passing": [np.uint8],
}  # fmt: skip
window_at = struct("window", {field.name.lower(): (8 * field, _NUMBERS.get(field.name.lower(), np.int64)) for field in Field})

# An entry of the directory is 16 bytes: int64 span, float32 largest weight, int32 slot (place in the window's terms, or -1).
ENTRY_BYTES = 16
SPAN, REST = 0, 1  # as int64: the span; slot << SLOT_SHIFT and the weight's bits below
LARGEST = 2  # as float32
SLOT_SHIFT = 32
COUNT_BITS = 16  # a span is start << COUNT_BITS | count of a list, or -1 - column of a frequent term, or 0: the window lacks the term
entry_at = struct("entry", {"span": (0, np.int64), "largest": (8, np.float32), "slot": (12, np.int32)})

WINDOW_BITS = 16  # hits are numbered window << WINDOW_BITS | row until they are in order

# What a search reads and works in; T terms of the longest query, N documents, S slots of a window.
ROOM: dict[str, Any] = {
    # the index
    "windows": np.int64, "table": np.int64, "term_count": np.int64, "terms": [np.uint32], "entries": np.int64,
    # the query: [T] addresses of the entries of its terms in the first window, and weights; how many are known; see kernels.find()
    "places": [np.int64], "weights": [np.float32], "known": np.int64, "unit": np.float64, "loss": np.int64, "smallest": np.int64,
    # a window: [T] factors, [T + 1] where columns begin, and their factors; how many; [WINDOW] counts, [WINDOW / BLOCK] bounds,
    # [WINDOW / GROUP] groups that survive
    "factors": [np.uint16], "begins": [np.int64], "column_factors": [np.uint16], "used": np.int64, "counts": [np.uint16],
    "bounds": [np.uint16], "surviving": [np.int64],
    # what is found: [N] hits and their counts; how many; a histogram; see kernels.py
    "found": [np.int64], "found_counts": [np.uint16], "size": np.int64, "bins": [np.int64], "level": np.int64, "above": np.int64,
    "cut": np.int64, "proven": np.int64, "guess": np.int64, "seen": np.int64,
    # exact scores: [N] hits, scores and as much to sort them; [S] weights by slot, [S / 64] a bit for each; [CHUNK]
    "hits": [np.int64], "scores": [np.float64], "spare": [np.int64], "slot_mask": np.int64, "by_slot": [np.float32], "bits": [np.int64],
    "chosen": [np.int64],
}  # fmt: skip
room_at = struct("room", {name: (8 * place, kind) for place, (name, kind) in enumerate(ROOM.items())})
