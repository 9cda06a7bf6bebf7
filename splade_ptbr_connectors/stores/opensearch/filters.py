"""Filters of `filters.py`, or OpenSearch's own, as clauses of a bool query; the tenant is one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ...filters import AnyOf, Range, field_path
from ..base import EngineFilter, ParsedFilter
from .wire import FACETS, TENANT, escaped, number_key, term_start, term_value

MAX_VALUES = 65_536  # index.max_terms_count
MAX_NATIVE_DEPTH = 200  # levels of JSON, far beyond the 20 of queries that a server takes; our own code recurses

Clauses = Mapping[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class NativeFilter:
    """OpenSearch's own query, such as NativeFilter({"exists": {"field": "hash"}}); the tenant is ANDed to it."""

    query: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.query, Mapping) or len(self.query) != 1:
            raise ConfigError("a NativeFilter holds one OpenSearch query, such as {'term': {'tenant': 'a'}}.")


def restrict_to_tenant(filter: ParsedFilter, tenant: str | None) -> Clauses:
    """The clauses of a bool query that let pass what the filter lets pass, of this tenant only.

    Args:
        filter: conditions, a NativeFilter, or an object with to_dict() such as those of opensearch-py's DSL.

    Raises:
        ConfigError: none of these, or a field or value that nothing can be compared with.
    """
    must: list[dict[str, Any]] = []
    must_not: list[dict[str, Any]] = []
    for condition in () if isinstance(filter, EngineFilter) else filter:
        if isinstance(condition, AnyOf) and condition.negated:
            must_not += [_any_of(condition)] if condition.values else []
        else:
            must.append(_range(condition) if isinstance(condition, Range) else _any_of(condition))
    if isinstance(filter, EngineFilter):
        must.append(_native(filter.filter))
    if tenant is not None:
        must.append({"term": {TENANT: tenant}})
    return {name: clauses for name, clauses in (("filter", must), ("must_not", must_not)) if clauses}


def clause_count(clauses: Mapping[str, Any]) -> int:
    """At least as many as the clauses that the server counts in them."""
    return sum(map(_mappings_in, clauses.values()))


def _mappings_in(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + sum(map(_mappings_in, value.values()))
    return sum(map(_mappings_in, value)) if isinstance(value, list | tuple) else 0


def _native(filter: object) -> dict[str, Any]:
    query = filter.query if isinstance(filter, NativeFilter) else _from_dsl(filter)
    if _deeper_than(query, MAX_NATIVE_DEPTH):
        raise ConfigError(f"the native filter is nested more than {MAX_NATIVE_DEPTH} levels deep: no server takes so many.")
    return dict(query)


def _deeper_than(query: Any, levels: int) -> bool:
    level = [query]
    for _ in range(levels):
        inner = [value.values() if isinstance(value, Mapping) else value for value in level if isinstance(value, Mapping | list | tuple)]
        level = [value for values in inner for value in values]
    return bool(level)


def _from_dsl(filter: object) -> Mapping[str, Any]:
    to_dict = getattr(filter, "to_dict", None)
    if callable(to_dict) and isinstance(query := to_dict(), Mapping) and len(query) == 1:
        return query
    raise ConfigError(f"filter is {type(filter).__name__}: it must be a mapping, a NativeFilter, or a query of opensearch-py's DSL.")


def _any_of(condition: AnyOf) -> dict[str, Any]:
    start = term_start(_path(condition.field))
    terms = [start + term_value(value) for value in condition.values]
    if len(terms) > MAX_VALUES:
        raise ConfigError(f"filter on {condition.field!r} compares with {len(terms):,} values: at most {MAX_VALUES:,} are accepted.")
    return {"terms": {FACETS: terms}} if terms else {"match_none": {}}


def _range(condition: Range) -> dict[str, Any]:
    start = f"{term_start(_path(condition.field))}n:"
    bounds = {"gte": start, "lt": f"{start}~"}  # every key lies between them: hex digits and letters sort before the tilde
    lower = [(_key(bound, above), above) for bound, above in ((condition.gte, False), (condition.gt, True)) if bound is not None]
    upper = [(_key(bound, above), above) for bound, above in ((condition.lt, False), (condition.lte, True)) if bound is not None]
    if lower:
        bounds["gte"] = start + max(key for key, _ in lower)
    if upper:
        bounds["lt"] = start + min(key for key, _ in upper)
    return {"range": {FACETS: bounds}}


def _key(bound: float, above: bool) -> str:
    """Before every term of this number, or behind all of them."""
    return number_key(bound) + ("~" if above else "")


def _path(field: str) -> str:
    parts = field_path(field)
    for part in parts:
        if part.item is not None:
            raise ConfigError(
                f"filter field {field!r} names a place in a list, which OpenSearch keeps none of: ask for the whole list by its name, or "
                f"put a name with brackets in double quotes, such as '\"{part.name}[{part.item}]\"'."
            )
    return ".".join([escaped(part.name) for part in parts])
