"""Filters of `filters.py`, or OpenSearch's own, as clauses of a bool query; the tenant is one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ...filters import And, AnyOf, Condition, Exists, Not, Or, Path, Period, Range
from ..base import EngineFilter, ParsedFilter
from .wire import EXISTING, FACETS, TENANT, escaped, moment_key, number_key, term_start, term_value

MAX_VALUES = 65_536  # index.max_terms_count
MAX_NATIVE_DEPTH = 200  # levels of JSON, far beyond the 20 of queries that a server takes; our own code recurses
OF_BOOL = ("filter", "must", "must_not", "should")
LEAVES = ("term", "terms", "range", "match_none", "match_all")

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
        if isinstance(condition, Not):
            must_not.append(_clause(condition.part))
        else:
            must.append(_clause(condition))
    if isinstance(filter, EngineFilter):
        must.append(_native(filter.filter))
    if tenant is not None:
        must.append({"term": {TENANT: tenant}})
    return {name: clauses for name, clauses in (("filter", must), ("must_not", must_not)) if clauses}


def clause_count(clauses: Mapping[str, Any]) -> int:
    """As many as the server counts in them; of a native filter of other kinds at least as many."""
    return sum(_clauses_in(clause) for some in clauses.values() for clause in some)


def _clauses_in(query: Mapping[str, Any]) -> int:
    [(kind, body)] = query.items()
    if kind == "bool" and all(isinstance(some, list) for name, some in body.items() if name in OF_BOOL):
        inner = {name: sum(map(_clauses_in, body.get(name, ()))) for name in OF_BOOL}
        return sum(inner.values()) + (inner["must_not"] == sum(inner.values()))  # the server puts a match_all beside negations alone
    return 1 if kind in LEAVES else _mappings_in(query)


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
    accepted = "a mapping such as {'metadata.year': 2024}, a NativeFilter, or a query of opensearch-py's DSL"
    raise ConfigError(f"filter is {type(filter).__name__}: it must be {accepted}.")


def _clause(condition: Condition) -> dict[str, Any]:
    if isinstance(condition, Not):
        return {"bool": {"must_not": [_clause(condition.part)]}}
    if isinstance(condition, And):
        return {"bool": {"filter": list(map(_clause, condition.parts))}} if condition.parts else {"match_all": {}}
    if isinstance(condition, Or):
        return _any(list(map(_clause, condition.parts)))
    return _any([_leaf(term_start(_path(path, condition.field)), condition) for path in condition.paths])


def _any(clauses: list[dict[str, Any]]) -> dict[str, Any]:
    if not clauses:
        return {"match_none": {}}
    return clauses[0] if len(clauses) == 1 else {"bool": {"should": clauses, "minimum_should_match": 1}}


def _leaf(start: str, condition: AnyOf | Range | Period | Exists) -> dict[str, Any]:
    if isinstance(condition, AnyOf):
        return _terms(start, condition)
    if isinstance(condition, Range):
        return _range(f"{start}n:", condition, number_key)
    if isinstance(condition, Period):
        return _range(f"{start}d:", condition, moment_key)
    return {"term": {FACETS: start + EXISTING}}


def _terms(start: str, condition: AnyOf) -> dict[str, Any]:
    terms = [start + term_value(value) for value in condition.values]
    if len(terms) > MAX_VALUES:
        raise ConfigError(f"filter on {condition.field!r} compares with {len(terms):,} values: at most {MAX_VALUES:,} are accepted.")
    return {"terms": {FACETS: terms}} if terms else {"match_none": {}}


def _range(start: str, bounds: Range | Period, key: Callable[[Any], str]) -> dict[str, Any]:
    """A range of terms: a key is followed by ASCII letters at most, so that a tilde ends up behind every term of its value."""
    lower = [key(bound) + behind for bound, behind in ((bounds.gte, ""), (bounds.gt, "~")) if bound is not None]
    upper = [key(bound) + behind for bound, behind in ((bounds.lt, ""), (bounds.lte, "~")) if bound is not None]
    return {"range": {FACETS: {"gte": start + max(lower, default=""), "lt": start + min(upper, default="~")}}}


def _path(path: Path, field: str) -> str:
    for part in path:
        if part.item is not None:
            raise ConfigError(
                f"filter field {field!r} names a place in a list, which OpenSearch keeps none of: ask for the whole list by its name, or "
                f"put a name with brackets in double quotes, such as '\"{part.name}[{part.item}]\"'."
            )
    return ".".join([escaped(part.name) for part in path])
