"""One small filter form for every store.

    {"metadata.subject": "saúde"}                     equals
    {"metadata.subject": ["saúde", "culinária"]}      any of
    {"metadata.year": {"gte": 2000, "lt": 2010}}      range: gt, gte, lt, lte
    {"metadata.subject": {"not": "saúde"}}            not equal, or not any of a list

All conditions must hold. Field names are paths into a hit's payload, with dots. A store translates the conditions
into its engine's own filter, or takes that native filter as it is.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError

RANGE_KEYS = ("gt", "gte", "lt", "lte")
Scalar = str | int | bool


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The field's value (or one of its values, if it holds a list) is among `values`."""

    field: str
    values: tuple[Scalar, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """The field's number lies within the bounds; None means unbounded."""

    field: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


Condition = AnyOf | Range


def parse_filter(filter: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Turn the mapping above into conditions. Raises ConfigError for anything else."""
    if not isinstance(filter, Mapping):
        raise ConfigError(f"a filter is a mapping of field to condition, got {type(filter).__name__}.")
    return tuple(condition for field, wanted in filter.items() for condition in _conditions(field, wanted))


def _conditions(field: object, wanted: object) -> list[Condition]:
    if not isinstance(field, str) or not field:
        raise ConfigError(f"filter field {field!r} is not a field name such as 'metadata.subject'.")
    if not isinstance(wanted, Mapping):
        return [AnyOf(field, _values(field, wanted))]
    unknown = [key for key in wanted if key not in (*RANGE_KEYS, "not")]
    if unknown or not wanted:
        near = difflib.get_close_matches(str(unknown[0]) if unknown else "", (*RANGE_KEYS, "not"), 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ConfigError(f"filter on {field!r} has the condition {dict(wanted)!r}: use gt, gte, lt, lte or not{hint}.")
    bounds = {key: _bound(field, wanted[key]) for key in RANGE_KEYS if key in wanted}
    conditions: list[Condition] = [Range(field, **bounds)] if bounds else []
    if "not" in wanted:
        conditions.append(AnyOf(field, _values(field, wanted["not"]), negated=True))
    return conditions


def _values(field: str, wanted: object) -> tuple[Scalar, ...]:
    values = tuple(wanted) if isinstance(wanted, list | tuple | set | frozenset) else (wanted,)
    for value in values:
        if not isinstance(value, str | int):
            raise ConfigError(f"filter on {field!r} compares with {value!r}: strings, integers and booleans can be compared.")
    return values


def _bound(field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"filter on {field!r} has the bound {value!r}: bounds are finite numbers.")
    return float(value)
