"""The mapping that callers write, checked and made into conditions: parse_filter()."""

from __future__ import annotations

import difflib
import math
import reprlib
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from ..errors import ConfigError
from ..json_values import LARGEST_INTEGER, SMALLEST_INTEGER, plain
from ..strict import integer_text
from ..text import is_utf8
from .conditions import And, AnyOf, Condition, Exists, Not, Or, Period, Range, Scalar, leaves
from .dates import EARLIEST, LATEST, moment, moment_of
from .fields import field_path

MAX_CONDITIONS = 10_000  # what an embedded store tests its documents by in some seconds; OpenSearch takes a tenth
MAX_NESTED = 10  # OpenSearch takes 20 queries within one another, of which a condition needs up to three
BOUNDS = ("gt", "gte", "lt", "lte")
KEYS = (*BOUNDS, "not", "all", "exists")
COMBINING = ("$and", "$or", "$not")
MEANT = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "ne": "not", "neq": "not", "!=": "not", "nin": "not"}  # as others call them


def parse_filter(filter: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Conditions that must all hold, out of the mapping; () lets everything pass. Raises ConfigError for anything else."""
    return tuple(_all_conditions(filter, 0, _Room()))


class _Room:
    """How many conditions a filter may still have."""

    def __init__(self) -> None:
        self._left = MAX_CONDITIONS

    def take(self, conditions: Iterable[Condition]) -> None:
        """Raises ConfigError: there are more. What combines nothing counts as one, lest a filter be endless without any condition."""
        self._left -= max(1, sum(1 for _ in leaves(conditions)))
        if self._left < 0:
            raise ConfigError(
                f"the filter has more than {MAX_CONDITIONS:,} conditions: compare a field with a list of values, such as "
                "{'year': [2000, 2010]}, which is one condition, in place of each by itself, or search in several steps."
            )


def _all_conditions(filter: object, depth: int, room: _Room) -> list[Condition]:
    if not isinstance(filter, Mapping):
        raise ConfigError(f"a filter is a mapping of field to condition, got {type(filter).__name__}.")
    if depth > MAX_NESTED:
        raise ConfigError(f"the filter has $and, $or and $not nested more than {MAX_NESTED} levels deep: join them in fewer.")
    found: list[Condition] = []
    for name, wanted in filter.items():
        if name in COMBINING:
            found += _combined(name, wanted, depth + 1, room)
        else:
            conditions = _on_field(name, wanted)
            room.take(conditions)
            found += conditions
    if not filter:
        room.take(())
    return found


def _combined(name: str, wanted: object, depth: int, room: _Room) -> list[Condition]:
    if name == "$not":
        return [_negated(_all_of(_all_conditions(wanted, depth, room)))]
    if not isinstance(wanted, list | tuple):
        raise ConfigError(f"{name} is {_shown(wanted)}: it must be a list of filters, such as [{{'year': 2000}}, {{'year': 2010}}].")
    if not wanted:
        room.take(())
    parts = [_all_conditions(each, depth, room) for each in wanted]
    return [condition for part in parts for condition in part] if name == "$and" else [_any_of(map(_all_of, parts))]


def _all_of(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else And(tuple(conditions))


def _any_of(conditions: Iterable[Condition]) -> Condition:
    """Alternatives within alternatives are alternatives, and values of one field are one list: engines take these more easily."""
    parts = [part for condition in conditions for part in (condition.parts if isinstance(condition, Or) else (condition,))]
    values: dict[str, list[Scalar]] = {}
    for part in parts:
        if isinstance(part, AnyOf):
            values.setdefault(part.field, []).extend(part.values)
    parts = [AnyOf(field, tuple(found)) for field, found in values.items()] + [part for part in parts if not isinstance(part, AnyOf)]
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _negated(condition: Condition) -> Condition:
    return condition.part if isinstance(condition, Not) else Not(condition)


# -- conditions on a field ---------------------------------------------------------------------------------------------


def _on_field(field: object, wanted: object) -> list[Condition]:
    if not isinstance(field, str) or not field:
        raise ConfigError(f"filter field {_shown(field)} is not a field name such as 'metadata.subject'.")
    field = str.__str__(field)
    field_path(field)
    if not isinstance(wanted, Mapping):
        return [_equals(field, wanted)]
    unknown = [key for key in wanted if key not in KEYS]
    if unknown or not wanted:
        near = _meant_key(str(unknown[0])) if unknown else []
        accepted = f"use {', '.join(KEYS[:-1])} or {KEYS[-1]}{_did_you_mean(near)}; equal to a value is the value alone, or a list of some"
        if unknown and not near:
            accepted += f"; a field within it is named by its path, {f'{field}.{unknown[0]}'!r:.80}"
        raise ConfigError(f"filter on {field!r} has the condition {_shown(wanted)}: {accepted}.")
    conditions = _ranges(field, {key: wanted[key] for key in BOUNDS if key in wanted})
    if "not" in wanted:
        conditions.append(_negated(_equals(field, wanted["not"])))
    if "all" in wanted:
        conditions += _each(field, wanted["all"])
    if "exists" in wanted:
        conditions.append(_exists(field, plain(wanted["exists"])))
    return conditions


def _meant_key(unknown: str) -> list[str]:
    """The key that is meant by another one, if it is close to one or called so elsewhere."""
    name = unknown[:40].lstrip("$").lower()
    return [MEANT[name]] if name in MEANT else difflib.get_close_matches(name, KEYS, 1)


def _each(field: str, wanted: object) -> list[Condition]:
    if not isinstance(wanted, list | tuple | set | frozenset):
        raise ConfigError(f"filter on {field!r} has all: {_shown(wanted)}: it must be a list of values.")
    return [_equal(field, plain(value)) for value in wanted]


def _exists(field: str, wanted: object) -> Condition:
    if not isinstance(wanted, bool):
        raise ConfigError(f"filter on {field!r} has exists: {_shown(wanted)}: it must be True or False.")
    return Exists(field) if wanted else Not(Exists(field))


def _equals(field: str, wanted: object) -> Condition:
    """Equal to the value, or to one of a list."""
    values = [plain(value) for value in (wanted if isinstance(wanted, list | tuple | set | frozenset) else (wanted,))]
    scalars = tuple([_scalar(field, value) for value in values if isinstance(value, str | int)])
    others = [_equal(field, value) for value in values if not isinstance(value, str | int)]
    return _any_of([*([AnyOf(field, scalars)] if scalars or not others else []), *others])


def _equal(field: str, value: object) -> Condition:
    if value is None:
        return Not(Exists(field))
    if isinstance(value, str | int):
        return AnyOf(field, (_scalar(field, value),))
    if isinstance(value, date):
        found = _moment(field, value)
        return Period(field, gte=found, lte=found)
    if isinstance(value, float) and math.isfinite(value):
        return Range(field, gte=value, lte=value)
    combines = field.startswith("$") or f"${field.lower()}" in COMBINING
    near = difflib.get_close_matches(f"${field[:40].lower().lstrip('$')}", COMBINING, 1)
    hint = f"; filters are combined by $and, $or and $not{_did_you_mean(near)}" if combines else ""
    raise ConfigError(
        f"filter on {field!r} compares with {_shown(value)}: strings, finite numbers, booleans, dates, date-times and None can be "
        f"compared{hint}."
    )


def _scalar(field: str, value: Scalar) -> Scalar:
    if isinstance(value, int) and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        accepted = f"{SMALLEST_INTEGER} to {LARGEST_INTEGER}"
        raise ConfigError(f"filter on {field!r} compares with the integer {integer_text(value)}: a payload holds integers from {accepted}.")
    if isinstance(value, str) and not is_utf8(value):
        raise ConfigError(f"filter on {field!r} compares with a text that is not valid UTF-8.")
    return value


# -- bounds ------------------------------------------------------------------------------------------------------------


def _ranges(field: str, bounds: Mapping[str, Any]) -> list[Condition]:
    """The one range of these bounds; none without bounds."""
    given = {key: plain(value) for key, value in bounds.items()}
    dates = [isinstance(value, str | date) for value in given.values()]
    if any(dates):
        if not all(dates):
            raise ConfigError(f"filter on {field!r} has the bounds {_shown(given)}: give numbers, or dates and date-times, not both.")
        moments: dict[str, Any] = {key: _moment(field, value) for key, value in given.items()}
        return [Period(field, **moments)]
    numbers: dict[str, Any] = {key: _number(field, key, value) for key, value in given.items()}
    return [Range(field, **numbers)] if given else []


def _moment(field: str, value: str | date) -> int:
    found = moment(value) if isinstance(value, str) else moment_of(value)
    if found is None or not EARLIEST <= found <= LATEST:
        raise ConfigError(
            f"filter on {field!r} compares with {_shown(value)} as a date: bounds are finite numbers, or dates in the years 1 to 9999 such "
            "as '2024-03-01' and '2024-03-01T14:30:00-03:00'."
        )
    return found


def _number(field: str, key: str, number: object) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ConfigError(f"filter on {field!r} has the bound {_shown(number)}: bounds are finite numbers, dates or date-times.")
    try:
        nearest = float(number)
    except OverflowError:
        nearest = math.inf
    if not math.isfinite(nearest):
        shown = integer_text(number) if isinstance(number, int) else str(number)
        raise ConfigError(f"filter on {field!r} has the bound {shown}: bounds are finite numbers of at most 1.8e308.")
    if isinstance(number, float) or SMALLEST_INTEGER <= number <= LARGEST_INTEGER:
        return number
    # beyond 64 bits a payload has floats only: the next one compares with all of them as the integer does
    outward = {"gte": math.inf, "lt": math.inf, "gt": -math.inf, "lte": -math.inf}[key]
    return math.nextafter(nearest, outward) if (nearest < number if outward > 0 else nearest > number) else nearest


def _did_you_mean(near: list[str]) -> str:
    return f" (did you mean {near[0]!r}?)" if near else ""


def _shown(value: object) -> str:
    """For a message: one line, short, and safe for what is nested too deep for repr()."""
    return " ".join(reprlib.repr(value).split())
