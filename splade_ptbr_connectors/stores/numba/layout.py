"""How a kernel sees the windows of an index: a table of addresses and sizes, one row a window."""

from __future__ import annotations

from enum import IntEnum


class Field(IntEnum):
    """Columns of the table (int64). The names are those of the arrays in a window; see building.postings() and window.Window."""

    ROWS = 0
    PADDED_ROWS = 1
    TERM_COUNT = 2
    TERMS = 3
    LARGEST = 4
    START = 5
    COLUMN = 6
    POSTING_ROW = 7
    POSTING_IMPACT = 8
    COLUMNS = 9
    BLOCK_LARGEST = 10
    FORWARD_START = 11  # 0: no forward arrays, the index keeps impacts only
    FORWARD_SLOT = 12
    FORWARD_WEIGHT = 13
    WIDE_SLOTS = 14  # 1: forward_slot is uint32, not uint16
    PASSING = 15  # 0: every row may be found; else one byte a row, 0: it may not


FIELDS = len(Field)
