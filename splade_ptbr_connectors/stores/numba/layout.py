"""How kernels see an index: a table of addresses and sizes, one row a window, and the entries of a directory."""

from __future__ import annotations

from enum import IntEnum


class Field(IntEnum):
    """Columns of the table (int64). The names are those of the arrays in a window; see building.postings() and window.Window."""

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

# An entry of the directory is 16 bytes: int64 span, float32 largest weight, int32 slot (place in the window's terms).
ENTRY_BYTES = 16
SPAN, REST = 0, 1  # as int64: the span; slot << SLOT_SHIFT and the weight's bits below
LARGEST = 2  # as float32
SLOT_SHIFT = 32
COUNT_BITS = 16  # a span is start << COUNT_BITS | count of a list, or -1 - column of a frequent term, or 0: the window lacks the term
