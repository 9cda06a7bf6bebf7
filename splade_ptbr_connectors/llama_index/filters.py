"""LlamaIndex's MetadataFilters as conditions of `splade_ptbr_connectors.filters`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from ..errors import ConfigError
from ..filters import MAX_NESTED
from ..retrieval import visible_filter

_RANGES = {FilterOperator.GT: "gt", FilterOperator.GTE: "gte", FilterOperator.LT: "lt", FilterOperator.LTE: "lte"}
_ONE_VALUE = (FilterOperator.EQ, FilterOperator.NE, FilterOperator.CONTAINS)
_LISTS = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL)
_NEGATED = (FilterOperator.NE, FilterOperator.NIN)


def translate_filters(filters: MetadataFilters | Mapping[str, Any] | Any | None) -> Any | None:
    """Conditions of `splade_ptbr_connectors.filters`; an engine's own filter object stays as it is.

    Keys are names of a node's metadata, with or without "metadata." before them. Operators ==, !=, >, >=, <, <=, in, nin, contains, any,
    all and is_empty, joined by "and", "or" or "not" (none of them holds), nested up to 10 levels. A field that holds a list is taken as
    its values: == and contains ask whether one of them is this, in and any whether one is among these, all whether each of these is one
    of them. A missing field is never equal, so that != and nin hold; it is empty, as null and [] are.

    Raises:
        ConfigError: one filter without its MetadataFilters, or any other operator: text_match and text_match_insensitive search within
            texts, which no sparse index does.
    """
    if isinstance(filters, MetadataFilter):
        raise ConfigError(f"filters is one MetadataFilter, on {filters.key!r}: put it into a list, MetadataFilters(filters=[...]).")
    if isinstance(filters, list):
        raise ConfigError(f"filters is the list {filters!r:.80}: put it into MetadataFilters(filters=[...]).")
    return visible_filter(_combined(filters, 0) if isinstance(filters, MetadataFilters) else filters)


def _combined(filters: MetadataFilters, depth: int) -> dict[str, Any]:
    if depth > MAX_NESTED:
        raise ConfigError(f"the filters are nested more than {MAX_NESTED} levels deep: join their conditions in fewer.")
    parts = [_combined(one, depth + 1) if isinstance(one, MetadataFilters) else _condition(one) for one in filters.filters]
    if filters.condition is FilterCondition.OR:
        return {"$or": parts} if parts else {}
    if filters.condition is FilterCondition.NOT:
        return {"$not": {"$or": parts}} if parts else {}
    if filters.condition is FilterCondition.AND:
        return {"$and": parts}
    raise ConfigError(f"the filter condition {filters.condition!r} is not supported: conditions are joined by 'and', 'or' or 'not'.")


def _condition(one: MetadataFilter) -> dict[str, Any]:
    operator, value = one.operator, cast("Any", one.value)
    if operator in _RANGES:
        return {one.key: {_RANGES[operator]: value}}
    if operator is FilterOperator.IS_EMPTY:
        return {one.key: None}
    if operator in (_LISTS if isinstance(value, list) else _ONE_VALUE):
        if operator is FilterOperator.ALL:
            return {one.key: {"all": value}}
        return {one.key: {"not": value} if operator in _NEGATED else value}
    raise ConfigError(
        f"the filter {one.key!r} {getattr(operator, 'value', operator)} {value!r} is not supported: use ==, !=, >, >=, <, <= or contains "
        "with one value, in, nin, any or all with a list, or is_empty; a search within texts is what the query is for."
    )
