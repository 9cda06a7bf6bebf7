"""Conditions of `filters.py` as a filter of qdrant-client, confined to a tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from qdrant_client import models

from ...errors import ConfigError
from ...filters import AnyOf, Condition, Range
from ..field_conditions import QdrantDialect, translate
from ..payloads import TENANT_FIELD


def to_qdrant(conditions: Iterable[Condition], rename: Callable[[str], str] = str) -> models.Filter:
    """All conditions must hold. Raises ConfigError for a field name that no engine can be asked for."""
    native: models.Filter = translate(conditions, _Client(rename))
    return native


def scoped(filter: tuple[Condition, ...] | Any | None, tenant: str | None, rename: Callable[[str], str] = str) -> models.Filter | None:
    """The client's filter, confined to the tenant: whatever `filter` allows, only this tenant's documents pass.

    Args:
        filter: conditions, a `qdrant_client.models.Filter`, or None.
    """
    native = to_qdrant(filter, rename) if isinstance(filter, tuple) else filter
    if native is not None and not isinstance(native, models.Filter):
        raise ConfigError(f"filter is {type(filter).__name__}: it must be a mapping or a qdrant_client.models.Filter.")
    if tenant is None:
        return native
    mine = to_qdrant((AnyOf(TENANT_FIELD, (tenant,)),))
    return mine if native is None else models.Filter(must=[native, mine])


class _Client(QdrantDialect):
    slack: ClassVar[int] = 1  # the server's JSON reader may be off by the last bit of a float of many digits

    def among(self, place: str, values: list[str] | list[int]) -> models.FieldCondition:
        return models.FieldCondition(key=place, match=models.MatchAny(any=values))

    def flag(self, place: str, value: bool) -> models.FieldCondition:
        return models.FieldCondition(key=place, match=models.MatchValue(value=value))

    def between(self, place: str, bounds: Range) -> models.FieldCondition:
        limits = models.Range(gte=bounds.gte, gt=bounds.gt, lte=bounds.lte, lt=bounds.lt)
        return models.FieldCondition(key=place, range=limits)

    def nothing(self) -> models.HasIdCondition:
        return models.HasIdCondition(has_id=[])

    def combined(self, must: list[Any] | None, must_not: list[Any] | None, should: list[Any] | None) -> models.Filter:
        return models.Filter(must=must, must_not=must_not, should=should)
