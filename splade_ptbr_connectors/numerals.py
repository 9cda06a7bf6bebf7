"""Numbers as files, URLs and command lines write them: in ASCII digits. int() and float() also take "1_0", "١٢" and "nan"."""

from __future__ import annotations

import math
import re

_INTEGER = re.compile(r"[+-]?[0-9]{1,400}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORDS = {"true": True, "false": False}


def integer(text: str) -> int | None:
    """The integer that a text is, without white space around it; None when it is not one."""
    return int(text) if _INTEGER.fullmatch(text) else None


def number(text: str) -> float | None:
    """The finite number that a text is, without white space around it; None when it is not one."""
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def value_of(text: str) -> str | int | float | bool:
    """The boolean, integer or finite number that a text is, else the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    whole = integer(text)
    value = number(text) if whole is None else whole
    return text if value is None else value
