"""How kernels see an index and the room they work in: addresses and sizes, one after the other in memory."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from .compiled import struct


class Field(IntEnum):
    """Columns of the table (int64), of which each window has a row. The names are those of the arrays in a window; see
    building.postings() and window.Window.
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

# the directory's entry of a term in a window
ENTRY_BYTES = 16
SPAN, REST = 0, 1  # as int64: the span; slot << SLOT_SHIFT and the weight's bits below
LARGEST = 2  # as float32
SLOT_SHIFT = 32
COUNT_BITS = 16  # a span is start << COUNT_BITS | count of a list, or -1 - column of a frequent term, or 0: the window lacks the term

_number, _address = (np.int64, None), (np.int64, None)
ROOM = {
    "windows": np.int64,  # how many
    "table": np.int64,  # address of a row a window
    "term_count": np.int64,  # of the directory
    "terms": [np.uint32],
    "entries": np.int64,  # address
    "places": [np.int64],  # addresses of the entries of the query's terms
    "weights": [np.float32],
    "factors": [np.uint16],
    "begins": [np.int64],
    "column_factors": [np.uint16],
    "counts": [np.uint16],
    "bounds": [np.uint16],
    "surviving": [np.int64],
    "bins": [np.int64],
    "found": [np.int64],
    "found_counts": [np.uint16],
    "hits": [np.int64],
    "scores": [np.float64],
    "spare": [np.int64],
    "slot_mask": np.int64,
    "by_slot": [np.float32],
    "bits": [np.int64],
    "chosen": [np.int64],
    "known": np.int64,
    "unit": np.float64,
    "size": np.int64,
    "level": np.int64,
    "above": np.int64,
    "cut": np.int64,
    "proven": np.int64,
    "guess": np.int64,
    "seen": np.int64,
    "used": np.int64,
    "smallest": np.int64,
    "loss": np.int64,
}
_KINDS = {
    "posting_row": [np.uint16], "posting_impact": [np.uint8], "block_largest": [np.uint8],
    "forward_start": [np.int64], "forward_weight": [np.float32], "passing": [np.uint8],
}  # fmt: skip
window_at = struct("window", {field.name.lower(): (8 * field, _KINDS.get(field.name.lower(), np.int64)) for field in Field})
entry_at = struct("entry", {"span": (0, np.int64), "largest": (8, np.float32), "slot": (12, np.int32)})
room_at = struct("room", {name: (8 * n, kind) for n, (name, kind) in enumerate(ROOM.items())})
