"""JSON values that every store gives back unchanged: checked once, and copied, so that the caller's object may change later.

And JSON documents of files that anybody may have written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import RecordError
from .strict import integer_text, of_numpy
from .text import MAX_CHARACTERS, check_text, is_utf8

MAX_DEPTH = 20
MAX_FILE_DEPTH = 100  # of the documents of parse_json(): none of ours is nested a tenth as deep
_TOO_DEEP = f"nested more than {MAX_FILE_DEPTH} levels deep"
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**63 - 1  # what gRPC carries; a larger one some engine rounds or refuses
MAX_NAMES, MAX_NAME = 1000, 100  # names of fields that are remembered as checked: a collection has few, and every document has them
_NAMES: set[str] = set()


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


def checked_copy(value: Any, owner: str, depth: int = 0, field: str | None = None) -> Any:
    """A deep copy of a JSON value, made of plain types; `owner` and `field` name in messages what the value belongs to.

    Raises:
        RecordError: nested more than 20 levels deep, NaN or infinity, an integer outside -2**63 .. 2**63 - 1, a name or a
            value that JSON does not have.
        TextError: lone surrogates, NUL or too many characters in a string.
    """
    # once per value of every document loaded: the common types are asked for first, by identity, and strings without a call for each
    kind = type(value)
    if kind is dict or isinstance(value, Mapping):
        _check_depth(owner, depth)
        copied = {}
        for name, item in value.items():
            key = name if type(name) is str and name in _NAMES else _checked_name(name, owner)
            if type(item) is not str:
                item = checked_copy(item, owner, depth + 1, name)
            elif "\0" in item or len(item) > MAX_CHARACTERS or not (item.isascii() or is_utf8(item)):
                check_text(item, f"a field of {owner}")
            copied[key] = item
        return copied
    if kind is str:
        return _checked_string(value, owner)
    if isinstance(value, list | tuple):
        _check_depth(owner, depth)
        return [checked_copy(item, owner, depth + 1, field) for item in value]
    if value is None or kind is bool or (kind is int and SMALLEST_INTEGER <= value <= LARGEST_INTEGER):
        return value
    return _checked_scalar(plain(value) if isinstance(value, str | int | float) else value, owner, field)


def plain(value: Any) -> Any:
    """A member of a StrEnum or IntEnum, or a scalar of numpy, as the plain value that it equals; anything else as it is."""
    if isinstance(value, str):
        return str.__str__(value)  # str() of a (str, Enum) is "Class.MEMBER"
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer) and not isinstance(value, np.timedelta64):
        return int(value)
    return float(value) if isinstance(value, float | np.floating) else value


def _checked_name(name: object, owner: str) -> str:
    if not isinstance(name, str):
        raise RecordError(f"{owner} has the field name {name!r}: field names are strings.")
    checked = _checked_string(name if type(name) is str else plain(name), owner, "a field name")
    if len(_NAMES) < MAX_NAMES and len(checked) < MAX_NAME:
        _NAMES.add(checked)
    return checked


def _checked_string(value: str, owner: str, what: str = "a field") -> str:
    if not value.isascii() or "\0" in value or len(value) > MAX_CHARACTERS:
        check_text(value, f"{what} of {owner}")
    return value


def _check_depth(owner: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise RecordError(f"{owner} is nested more than {MAX_DEPTH} levels deep.")


def _checked_scalar(value: object, owner: str, field: str | None) -> Any:
    where = "" if field is None else f" in the field {field[:60]!r}"
    if isinstance(value, str):
        return _checked_string(value, owner)
    if isinstance(value, int):
        if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            accepted = f"{SMALLEST_INTEGER} to {LARGEST_INTEGER} can be stored"
            raise RecordError(f"{owner} holds the integer {integer_text(value)}{where}: {accepted}, write it as a string.")
    elif not isinstance(value, float):
        what = f"a value of type {type(value).__name__}"
        raise RecordError(
            f"{owner} holds {what}{where}: only JSON values can be stored, write it as a string, a number or a list{of_numpy(value)}."
        )
    elif not math.isfinite(value):
        raise RecordError(f"{owner} holds {value}{where}: JSON has no such number.")
    return value
