"""Conditions, as engines translate them: four kinds on one field, and three that combine others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from .dates import moment
from .fields import Path, field_path, readings

Scalar = str | int | bool
N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class Leaf:
    """On one field.

    Attributes:
        field: a path, see fields.py.
        within: the field may also lie within the field of this name, where frameworks show both alike: see shown_within().
    """

    field: str
    within: str | None = dataclasses.field(default=None, kw_only=True)

    @property
    def paths(self) -> list[Path]:
        """Where the field may lie. Raises ConfigError for a name that no engine can be asked for."""
        names = (self.field,) if self.within is None else (self.field, f"{self.within}.{self.field}")
        return [path for name in names for path in readings(field_path(name))]


@dataclass(frozen=True, slots=True)
class AnyOf(Leaf):
    """The field's value (or one of its values, if it holds a list) is among `values`: plain strings, booleans, 64-bit integers."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Bounded(Leaf, Generic[N]):
    """The field lies within the bounds; None means unbounded."""

    gt: N | None = None
    gte: N | None = None
    lt: N | None = None
    lte: N | None = None

    def _include(self, value: float) -> bool:
        low = (self.gt is None or value > self.gt) and (self.gte is None or value >= self.gte)
        return low and (self.lt is None or value < self.lt) and (self.lte is None or value <= self.lte)


@dataclass(frozen=True, slots=True)
class Range(Bounded[float]):
    """The field's number lies within the bounds, which are 64-bit integers or finite floats."""

    def holds(self, value: object) -> bool:
        """Whether a value is a number within the bounds, compared exactly: 2**53 + 1 is larger than 2**53 and 2.0**53."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self._include(value)


@dataclass(frozen=True, slots=True)
class Period(Bounded[int]):
    """The field's date or date-time lies within the bounds, in microseconds since 1970 in UTC."""

    def holds(self, value: object) -> bool:
        """Whether a value is a text that is a date within the bounds."""
        found = moment(value) if isinstance(value, str) else None
        return found is not None and self._include(found)


@dataclass(frozen=True, slots=True)
class Exists(Leaf):
    """The field is there, and neither null nor an empty list."""


@dataclass(frozen=True, slots=True)
class And:
    """All hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    part: Condition


Condition = AnyOf | Range | Period | Exists | And | Or | Not


def leaves(conditions: Iterable[Condition]) -> Iterator[AnyOf | Range | Period | Exists]:
    """The conditions on single fields, at any depth."""
    for condition in conditions:
        if isinstance(condition, Not):
            yield from leaves((condition.part,))
        elif isinstance(condition, And | Or):
            yield from leaves(condition.parts)
        else:
            yield condition


def let_all_pass(conditions: tuple[Condition, ...]) -> bool:
    """Whether they hold whatever a payload is, without naming a field: {"$or": [{}]}."""
    return _always(And(conditions)) is True


def _always(condition: Condition) -> bool | None:
    """What it is of every payload, None: it depends."""
    if isinstance(condition, Not):
        inner = _always(condition.part)
        return None if inner is None else not inner
    if isinstance(condition, And | Or):
        parts, deciding = {_always(part) for part in condition.parts}, isinstance(condition, Or)
        return deciding if deciding in parts else None if None in parts else not deciding
    return None


def shown_within(conditions: tuple[Condition, ...], within: str) -> tuple[Condition, ...]:
    """The same, each field sought also within the field `within`, but for those that are named by it."""
    return tuple([_shown_within(condition, within) for condition in conditions])


def _shown_within(condition: Condition, within: str) -> Condition:
    if isinstance(condition, Not):
        return Not(_shown_within(condition.part, within))
    if isinstance(condition, And | Or):
        return type(condition)(shown_within(condition.parts, within))
    first = field_path(condition.field)[0].name
    return condition if first == within else dataclasses.replace(condition, within=within)
