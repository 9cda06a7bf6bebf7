"""Numbers as files and command lines write them: in ASCII digits. int() and float() also take "1_0", "١٢" and "nan"."""

from __future__ import annotations

import math
import re

_INTEGER = re.compile(r"[+-]?[0-9]{1,400}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def integer(text: str) -> int | None:
    """The integer that a text is, without white space around it; None when it is not one."""
    return int(text) if _INTEGER.fullmatch(text) else None


def number(text: str) -> float | None:
    """The finite number that a text is, without white space around it; None when it is not one."""
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None
