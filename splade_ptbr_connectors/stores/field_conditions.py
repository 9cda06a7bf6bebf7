"""Conditions of `filters.py` in the terms of Qdrant's filters, which the embedded engine and the server's client spell differently."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, ClassVar, Protocol

from ..filters import And, AnyOf, Condition, Exists, Not, Or, Path, Period, Range
from ..filters.dates import date_time
from .float_ranges import exact_pieces

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")


class Dialect(Protocol):
    """How one engine writes the parts of a filter."""

    def place(self, path: Path) -> Any:
        """What stands for a path in the other methods."""

    def among(self, place: Any, values: list[str] | list[int]) -> Any:
        """The field is one of these texts or one of these integers."""

    def flag(self, place: Any, value: bool) -> Any:
        """The field is this boolean."""

    def within(self, place: Any, bounds: Range) -> Any:
        """The field is a number within the bounds, exactly."""

    def during(self, place: Any, period: Period) -> Any:
        """The field is a date within the bounds."""

    def empty(self, place: Any) -> Any:
        """The field is missing, null or an empty list."""

    def nothing(self) -> Any:
        """No document."""

    def combined(self, must: list[Any] | None, must_not: list[Any] | None, should: list[Any] | None) -> Any:
        """A filter: all of `must`, none of `must_not`, one of `should`; None leaves a part out."""


class QdrantDialect(Dialect):
    """What Qdrant's engine asks of every way to write its filters: JSON paths, and ranges made of floats.

    Args:
        rename: maps a JSON path of a payload to where the collection keeps it.
    """

    slack: ClassVar[int] = 0  # by how many steps of a float the way to the engine may move a bound

    def __init__(self, rename: Callable[[str], str] = str) -> None:
        self._rename = rename

    def place(self, path: Path) -> str:
        return self._rename(json_path(path))

    @abstractmethod
    def between(self, place: str, bounds: Range) -> Any:
        """A range as the engine has it: it turns integers into floats before it compares."""

    def within(self, place: str, bounds: Range) -> Any:
        core, windows = exact_pieces(bounds, self.slack)
        pieces = [self.between(place, core)] if core else []
        for window in windows:
            if window.inside:
                pieces.append(self.among(place, window.inside))
            if window.floats:
                # of a list that holds such a float and one of these integers, the float is not seen
                near, others = self.between(place, window.floats), window.outside
                pieces.append(self.combined([near], [self.among(place, others)], None) if others else near)
        return _any(pieces, self)

    @staticmethod
    def date_times(period: Period) -> dict[str, datetime | None]:
        """The bounds of a period as both spell them."""
        bounds = {"gt": period.gt, "gte": period.gte, "lt": period.lt, "lte": period.lte}
        return {name: None if moment is None else date_time(moment) for name, moment in bounds.items()}


def translate(conditions: Iterable[Condition], dialect: Dialect) -> Any:
    """All conditions must hold. Raises ConfigError for a field name that no engine can be asked for."""
    must: list[Any] = []
    must_not: list[Any] = []
    for condition in conditions:
        if isinstance(condition, Not):
            must_not.append(_translated(condition.part, dialect))
        else:
            must.append(_translated(condition, dialect))
    return dialect.combined(must or None, must_not or None, None)


def _translated(condition: Condition, dialect: Dialect) -> Any:
    if isinstance(condition, Not):
        return dialect.combined(None, [_translated(condition.part, dialect)], None)
    if isinstance(condition, And):
        return translate(condition.parts, dialect)
    if isinstance(condition, Or):
        return _any([_translated(part, dialect) for part in condition.parts], dialect)
    return _any([one for path in condition.paths for one in _at(dialect.place(path), condition, dialect)], dialect)


def _at(place: Any, condition: AnyOf | Range | Period | Exists, dialect: Dialect) -> list[Any]:
    """Alternatives."""
    if isinstance(condition, AnyOf):
        return _among(place, condition, dialect)
    if isinstance(condition, Range):
        return [dialect.within(place, condition)]
    if isinstance(condition, Period):
        return [dialect.during(place, condition)]
    return [dialect.combined(None, [dialect.empty(place)], None)]


def _among(place: Any, condition: AnyOf, dialect: Dialect) -> list[Any]:
    texts = [value for value in condition.values if isinstance(value, str)]
    numbers = [value for value in condition.values if isinstance(value, int) and not isinstance(value, bool)]
    fields = [dialect.among(place, texts)] if texts else []
    fields += [dialect.among(place, numbers)] if numbers else []
    return fields + [dialect.flag(place, value) for value in condition.values if isinstance(value, bool)]


def _any(fields: list[Any], dialect: Dialect) -> Any:
    if not fields:
        return dialect.nothing()  # nothing is among no values
    return fields[0] if len(fields) == 1 else dialect.combined(None, None, fields)


def json_path(path: Path) -> str:
    """A path as Qdrant reads it."""
    return ".".join(_quoted(name) + ("" if item is None else f"[{item}]") for name, item in path)


def _quoted(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else f'"{name}"'
