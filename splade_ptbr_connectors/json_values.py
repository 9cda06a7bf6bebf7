"""JSON values that every store gives back unchanged: checked once, and copied, so that the caller's object may change later.

And JSON documents of files that anybody may have written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .errors import RecordError
from .text import MAX_CHARACTERS, check_text

MAX_DEPTH = 20
MAX_FILE_DEPTH = 100  # of the documents of parse_json(): none of ours is nested a tenth as deep
_TOO_DEEP = f"nested more than {MAX_FILE_DEPTH} levels deep"
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1  # beyond these an engine stores a rounded float


def parse_json(text: str | bytes) -> Any:
    """json.loads() for files: whatever cannot be used is a ValueError, a nesting that exhausts the interpreter's stack included."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    level = [value]
    for _ in range(MAX_FILE_DEPTH + 1):
        nested = [part for part in level if isinstance(part, dict | list)]
        if not nested:
            return value
        level = [item for part in nested for item in (part.values() if isinstance(part, dict) else part)]
    raise ValueError(_TOO_DEEP)


def checked_copy(value: Any, owner: str, depth: int = 0) -> Any:
    """A deep copy of a JSON value; `owner` names in messages what the value belongs to.

    Raises:
        RecordError: nested more than 20 levels deep, NaN or infinity, an integer of over 64 bits, a name or a value that
            JSON does not have.
        TextError: lone surrogates, NUL or too many characters in a string.
    """
    # once per value of every document loaded: the common types are asked for first, by identity
    kind = type(value)
    if kind is str:
        return _checked_string(value, owner)
    if kind is dict or isinstance(value, Mapping):
        _check_depth(owner, depth)
        return {_checked_name(name, owner): checked_copy(item, owner, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        _check_depth(owner, depth)
        return [checked_copy(item, owner, depth + 1) for item in value]
    if value is None or kind is bool:
        return value
    return _checked_scalar(value, owner)


def _checked_name(name: object, owner: str) -> str:
    if not isinstance(name, str):
        raise RecordError(f"{owner} has the field name {name!r}: field names are strings.")
    return _checked_string(name, owner, "a field name")


def _checked_string(value: str, owner: str, what: str = "a field") -> str:
    if not value.isascii() or "\0" in value or len(value) > MAX_CHARACTERS:
        check_text(value, f"{what} of {owner}")
    return value


def _check_depth(owner: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise RecordError(f"{owner} is nested more than {MAX_DEPTH} levels deep.")


def _checked_scalar(value: object, owner: str) -> Any:
    if isinstance(value, str):
        return _checked_string(str(value), owner)
    if isinstance(value, int):
        if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            raise RecordError(f"{owner} holds an integer of {value.bit_length()} bits: write it as a string.")
    elif not isinstance(value, float):
        raise RecordError(f"{owner} holds a {type(value).__name__}: only JSON values can be stored.")
    elif not math.isfinite(value):
        raise RecordError(f"{owner} holds {value}: JSON has no such number.")
    return value
