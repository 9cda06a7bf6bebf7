"""LlamaIndex's MetadataFilters as conditions of `splade_ptbr_connectors.filters`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from ..errors import ConfigError
from ..filters import Condition, parse_filter

_RANGES = {FilterOperator.GT: "gt", FilterOperator.GTE: "gte", FilterOperator.LT: "lt", FilterOperator.LTE: "lte"}
_ONE_VALUE = (FilterOperator.EQ, FilterOperator.NE, FilterOperator.CONTAINS)
_LISTS = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL)
_NEGATED = (FilterOperator.NE, FilterOperator.NIN)
_MAX_NESTED = 100


def translate_filters(filters: MetadataFilters | Mapping[str, Any] | Any | None, field: Callable[[str], str] = str) -> Any | None:
    """Conditions of `splade_ptbr_connectors.filters`; an engine's own filter object stays as it is.

    Operators ==, !=, >, >=, <, <=, in, nin, contains, any and all, joined by "and", nested up to 100 levels. A field that holds a list is
    taken as its values: == and contains ask whether one of them is this, in and any whether one is among these, all whether each of these
    is one of them. A missing field is never equal, so that != and nin hold.

    Args:
        field: the path into a payload of a filter's key.

    Raises:
        ConfigError: any other operator or condition.
    """
    if isinstance(filters, MetadataFilters):
        return tuple(_all_conditions(filters, field)) or None
    if isinstance(filters, Mapping):
        return parse_filter(filters) or None
    return filters


def _all_conditions(filters: MetadataFilters, field: Callable[[str], str], depth: int = 0) -> list[Condition]:
    if depth > _MAX_NESTED:
        raise ConfigError(f"the filters are nested more than {_MAX_NESTED} levels deep: join their conditions in one.")
    if filters.condition is not FilterCondition.AND:
        raise ConfigError(f"the filter condition {_value(filters.condition)!r} is not supported: conditions are joined by 'and'.")
    found: list[Condition] = []
    for one in filters.filters:
        found.extend(_all_conditions(one, field, depth + 1) if isinstance(one, MetadataFilters) else _conditions(one, field(one.key)))
    return found


def _conditions(one: MetadataFilter, path: str) -> tuple[Condition, ...]:
    operator, value = one.operator, cast("Any", one.value)
    if operator in _RANGES:
        return parse_filter({path: {_RANGES[operator]: value}})
    if operator in (_LISTS if isinstance(value, list) else _ONE_VALUE):
        if operator is FilterOperator.ALL:
            return tuple([condition for each in value for condition in parse_filter({path: each})])
        return parse_filter({path: {"not": value} if operator in _NEGATED else value})
    raise ConfigError(
        f"the filter {one.key!r} {_value(operator)} {value!r} is not supported: use ==, !=, >, >=, <, <= or contains with one value, or "
        "in, nin, any or all with a list."
    )


def _value(member: Any) -> Any:
    return getattr(member, "value", member)
