"""Conditions of `filters.py` in the terms of Qdrant's filters, which the embedded engine and the server's client spell differently."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ..errors import ConfigError
from ..filters import AnyOf, Condition, Range

_PLAIN_PART = re.compile(r"[A-Za-z0-9_-]+(\[\d*\])?")
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


class Dialect(Protocol):
    """How one library writes the parts of a filter. Fields are JSON paths."""

    def among(self, field: str, values: list[str] | list[int]) -> Any:
        """The field is one of these texts or one of these integers."""

    def flag(self, field: str, value: bool) -> Any:
        """The field is this boolean."""

    def within(self, field: str, bounds: Range) -> Any:
        """The field is a number within the bounds."""

    def nothing(self) -> Any:
        """No document."""

    def combined(self, must: list[Any] | None, must_not: list[Any] | None, should: list[Any] | None) -> Any:
        """A filter: all of `must`, none of `must_not`, one of `should`; None leaves a part out."""


def translate(conditions: Iterable[Condition], dialect: Dialect, rename: Callable[[str], str] = str) -> Any:
    """All conditions must hold.

    Args:
        rename: maps a field of a payload to where the collection keeps it.

    Raises:
        ConfigError: a field name or a value that Qdrant cannot compare with.
    """
    must: list[Any] = []
    must_not: list[Any] = []
    for condition in conditions:
        path = _path(rename(condition.field))
        if isinstance(condition, Range):
            must.append(dialect.within(path, condition))
        else:
            (must_not if condition.negated else must).append(_any_of(path, condition, dialect))
    return dialect.combined(must or None, must_not or None, None)


def _any_of(path: str, condition: AnyOf, dialect: Dialect) -> Any:
    texts = [value for value in condition.values if isinstance(value, str)]
    numbers = [value for value in condition.values if isinstance(value, int) and not isinstance(value, bool)]
    _check(condition.field, texts, numbers)
    fields = [dialect.among(path, texts)] if texts else []
    fields += [dialect.among(path, numbers)] if numbers else []
    fields += [dialect.flag(path, value) for value in condition.values if isinstance(value, bool)]
    if not fields:
        return dialect.nothing()  # nothing is among no values
    return fields[0] if len(fields) == 1 else dialect.combined(None, None, fields)


def _check(field: str, texts: list[str], numbers: list[int]) -> None:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"filter on {field!r} compares with a text that is no UTF-8.") from error
    outside = next((number for number in numbers if not _SMALLEST <= number <= _LARGEST), None)
    if outside is not None:
        raise ConfigError(f"filter on {field!r} compares with an integer of {outside.bit_length()} bits: at most 64 bits can be compared.")


def _path(field: str) -> str:
    parts = field.split(".")
    if not all(parts) or '"' in field:
        raise ConfigError(f"filter field {field!r} is not a path such as 'metadata.subject' (no empty parts, no quotes).")
    try:
        field.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"filter field {field!r} is no UTF-8.") from error
    return ".".join(part if _PLAIN_PART.fullmatch(part) else f'"{part}"' for part in parts)
