"""Conditions of `filters.py` as a filter of qdrant-edge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import qdrant_edge as edge

from ...filters import Condition, Period, Range
from ..field_conditions import QdrantDialect, translate


def to_edge(conditions: Iterable[Condition]) -> Any:
    """All conditions must hold. Raises ConfigError for a field name that no engine can be asked for."""
    return translate(conditions, _Edge())


class _Edge(QdrantDialect):
    def among(self, place: str, values: list[str] | list[int]) -> Any:
        return edge.FieldCondition(place, match=edge.MatchAny(values))

    def flag(self, place: str, value: bool) -> Any:
        # Edge 0.9 reads Python's True as the integer 1, which no stored boolean equals; numpy's it reads as a boolean.
        as_edge: Any = np.bool_(value)
        return edge.FieldCondition(place, match=edge.MatchValue(as_edge))

    def between(self, place: str, bounds: Range) -> Any:
        return edge.FieldCondition(place, range=edge.RangeFloat(gte=bounds.gte, gt=bounds.gt, lte=bounds.lte, lt=bounds.lt))

    def during(self, place: str, period: Period) -> Any:
        texts = {key: None if moment is None else moment.isoformat() for key, moment in self.date_times(period).items()}
        return edge.FieldCondition(place, range=edge.RangeDateTime(**texts))

    def empty(self, place: str) -> Any:
        return edge.IsEmptyCondition(place)

    def nothing(self) -> Any:
        return edge.HasIdCondition(set())

    def combined(self, must: list[Any] | None, must_not: list[Any] | None, should: list[Any] | None) -> Any:
        return edge.Filter(must=must, must_not=must_not, should=should)
