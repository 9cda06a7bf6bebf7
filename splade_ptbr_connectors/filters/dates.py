"""Dates and date-times: which texts of a payload are some, and which moment each of them is.

    2024-03-01
    2024-03-01 14:30                  a T in place of the blank, here and below
    2024-03-01 14:30:00               in UTC, as above
    2024-03-01 14:30:00.25Z           of a fraction six digits count
    2024-03-01 14:30:00-03:00         also -0300 and -03; a blank may stand before Z and offset

In years 0001 to 9999, month to second with one or two digits. This is what Qdrant's engine reads: an offset without seconds it does not.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

_TEXT = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{1,2})"
    r"(?::(\d{1,2})(?:\.(\d+))?(?: ?(?:([Zz])|([+-])([01]\d|2[0-3]):?([0-5]\d)?))?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
EARLIEST, LATEST = ((edge.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND for edge in (datetime.min, datetime.max))
_SHORTEST = 8  # characters


def moment(text: str) -> int | None:
    """The moment that a text is, in microseconds since 1970 in UTC; None: it is not a date. May lie a day beyond EARLIEST or LATEST."""
    found = _TEXT.fullmatch(text) if len(text) >= _SHORTEST and text[0].isdigit() else None
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, hours, minutes = found.groups()
    try:
        local = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC)
    except ValueError:
        return None
    ahead = 60 * int(hours or 0) + int(minutes or 0)
    seconds = (local - _EPOCH) // timedelta(seconds=1) + (60 * ahead if sign == "-" else -60 * ahead)
    return 1_000_000 * seconds + int((fraction or "0")[:6].ljust(6, "0"))


def moment_of(value: date) -> int | None:
    """The moment of a date (its first) or date-time (in UTC unless it says otherwise); None: in UTC it lies beyond the years 1 to 9999."""
    whole = value if isinstance(value, datetime) else datetime.combine(value, time())
    found = (whole.replace(tzinfo=whole.tzinfo or UTC) - _EPOCH) // _MICROSECOND
    return found if EARLIEST <= found <= LATEST else None


def date_time(moment: int) -> datetime:
    """The date-time in UTC of a moment from EARLIEST to LATEST."""
    return _EPOCH + timedelta(microseconds=moment)
