"""Conditions of `filters.py` as a filter of qdrant-edge."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import qdrant_edge as edge

from ...errors import ConfigError
from ...filters import AnyOf, Condition, Range

_PLAIN_PART = re.compile(r"[A-Za-z0-9_-]+(\[\d*\])?")


def to_edge(conditions: Iterable[Condition]) -> Any:
    """All conditions must hold. Raises ConfigError for a field name or value that Edge cannot compare with."""
    must: list[Any] = []
    must_not: list[Any] = []
    for condition in conditions:
        if isinstance(condition, Range):
            bounds = edge.RangeFloat(gte=condition.gte, gt=condition.gt, lte=condition.lte, lt=condition.lt)
            must.append(edge.FieldCondition(_path(condition.field), range=bounds))
        else:
            (must_not if condition.negated else must).append(_any_of(condition))
    return edge.Filter(must=must or None, must_not=must_not or None)


def _any_of(condition: AnyOf) -> Any:
    path = _path(condition.field)
    fields: list[Any] = [edge.FieldCondition(path, match=match) for match in _matches(condition)]
    if not fields:
        return edge.HasIdCondition(set())  # nothing is among no values
    return fields[0] if len(fields) == 1 else edge.Filter(should=fields)


def _matches(condition: AnyOf) -> list[Any]:
    texts = [value for value in condition.values if isinstance(value, str)]
    numbers = [value for value in condition.values if isinstance(value, int) and not isinstance(value, bool)]
    # Edge 0.9 reads Python's True as the integer 1, which no stored boolean equals; numpy's it reads as a boolean.
    flags: list[Any] = [np.bool_(value) for value in condition.values if isinstance(value, bool)]
    try:
        matches: list[Any] = [edge.MatchAny(texts)] if texts else []
        matches += [edge.MatchAny(numbers)] if numbers else []
    except TypeError as error:
        raise ConfigError(f"filter on {condition.field!r} compares with a value that is no UTF-8 text or 64-bit integer.") from error
    return [*matches, *map(edge.MatchValue, flags)]


def _path(field: str) -> str:
    parts = field.split(".")
    if not all(parts) or '"' in field:
        raise ConfigError(f"filter field {field!r} is not a path such as 'metadata.subject' (no empty parts, no quotes).")
    return ".".join(part if _PLAIN_PART.fullmatch(part) else f'"{part}"' for part in parts)
