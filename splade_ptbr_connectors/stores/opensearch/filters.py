"""Filters: a document's payload as typed terms of one keyword field, and conditions as queries on these terms.

One field for all paths: no mapping grows with the data, no two documents can disagree about a field's type, and every
comparison is exact. A term is PATH=s:TEXT, PATH=h:HASH (of a long text), PATH=b:true or PATH=n:KEY, where the order of the
keys is that of the numbers, so that a range of numbers is a range of terms.
"""

from __future__ import annotations

import functools
import hashlib
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ...filters import AnyOf, Condition, Range, Scalar, field_path
from ..dotted_names import spread

FIELD = "facets"
TENANT = "tenant"
MAX_TEXT_BYTES = 128  # a longer text or path is its hash: Lucene takes terms of up to 32 KB, the dictionary of terms is in memory
MAX_VALUES = 65_536  # index.max_terms_count
MAX_NATIVE_DEPTH = 200  # levels of JSON, far beyond the 20 of queries that a server takes; our own code recurses
_ESCAPES = str.maketrans({"\\": "\\\\", ".": "\\.", "=": "\\="})


@dataclass(frozen=True)
class NativeFilter:
    """OpenSearch's own query, such as NativeFilter({"exists": {"field": "hash"}}); the tenant is ANDed to it."""

    query: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.query, Mapping) or len(self.query) != 1:
            raise ConfigError("a NativeFilter holds one OpenSearch query, such as {'term': {'tenant': 'a'}}.")


def facets(payload: Mapping[str, Any]) -> list[str]:
    """The terms of a payload: one for every text, number and boolean in it; those of a list all under the list's path.

    What stands under a name with dots has a term for that name, and one for the path that the name reads like.
    """
    return list(_terms(spread(payload, "")[0], ""))


def _terms(payload: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in payload.items():
        path = prefix + _escaped(name)
        if isinstance(value, Mapping):
            yield from _terms(value, f"{path}.")
        elif isinstance(value, list | tuple):
            start = _start(path)
            yield from (start + _value(item) for item in value if isinstance(item, str | int | float))
        elif value is not None:
            yield _start(path) + _value(value)


@functools.lru_cache(maxsize=4096)
def _escaped(name: str) -> str:
    return name.translate(_ESCAPES)


def _start(path: str) -> str:
    if len(path) > MAX_TEXT_BYTES // 4 and len(path.encode()) > MAX_TEXT_BYTES:
        return f"={_hash(path)}="  # no path begins with an equals sign that is not escaped
    return f"{path}="


def _value(value: Scalar | float) -> str:
    if isinstance(value, str):
        short = len(value) <= MAX_TEXT_BYTES and (value.isascii() or len(value.encode()) <= MAX_TEXT_BYTES)
        return f"s:{value}" if short else f"h:{_hash(value)}"
    if isinstance(value, bool):
        return "b:true" if value else "b:false"
    return f"n:{_number_key(value)}{'i' if isinstance(value, int) else 'f'}"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@functools.lru_cache(maxsize=4096, typed=True)
def _number_key(value: float) -> str:
    """19 hex digits, ordered as the numbers are: those of the float64 at or below it, and how far an integer lies above that."""
    below = float(value)
    if isinstance(value, int) and int(below) > value:
        below = math.nextafter(below, -math.inf)
    rest = value - int(below) if isinstance(value, int) else 0
    bits: int = struct.unpack(">Q", struct.pack(">d", below + 0.0))[0]  # adding 0.0 turns -0.0 into 0.0
    return f"{bits ^ (2**64 - 1 if bits >> 63 else 2**63):016x}{rest:03x}"


# -- conditions as queries -------------------------------------------------------------------------------------------


def to_query(filter: tuple[Condition, ...] | Any | None, tenant: str | None) -> dict[str, list[dict[str, Any]]]:
    """The clauses of a bool query that let pass what the filter lets pass, of this tenant only.

    Args:
        filter: parsed conditions, a NativeFilter, or an object with to_dict() such as those of opensearch-py's DSL.

    Raises:
        ConfigError: none of these, or a field or value that nothing can be compared with.
    """
    must: list[dict[str, Any]] = []
    must_not: list[dict[str, Any]] = []
    for condition in filter if isinstance(filter, tuple) else ():
        if isinstance(condition, AnyOf) and condition.negated:
            must_not += [_any_of(condition)] if condition.values else []
        else:
            must.append(_range(condition) if isinstance(condition, Range) else _any_of(condition))
    if filter is not None and not isinstance(filter, tuple):
        must.append(_native(filter))
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


def _native(filter: Any) -> dict[str, Any]:
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


def _from_dsl(filter: Any) -> Mapping[str, Any]:
    to_dict = getattr(filter, "to_dict", None)
    if callable(to_dict) and isinstance(query := to_dict(), Mapping) and len(query) == 1:
        return query
    raise ConfigError(f"filter is {type(filter).__name__}: it must be a mapping, a NativeFilter, or a query of opensearch-py's DSL.")


def _any_of(condition: AnyOf) -> dict[str, Any]:
    start = _start(_path(condition.field))
    terms = [start + _value(value) for value in condition.values]
    if len(terms) > MAX_VALUES:
        raise ConfigError(f"filter on {condition.field!r} compares with {len(terms):,} values: at most {MAX_VALUES:,} are accepted.")
    return {"terms": {FIELD: terms}} if terms else {"match_none": {}}


def _range(condition: Range) -> dict[str, Any]:
    start = f"{_start(_path(condition.field))}n:"
    bounds = {"gte": start, "lt": f"{start}~"}  # every key lies between them: hex digits and letters sort before the tilde
    lower = [(_key(bound, above), above) for bound, above in ((condition.gte, False), (condition.gt, True)) if bound is not None]
    upper = [(_key(bound, above), above) for bound, above in ((condition.lt, False), (condition.lte, True)) if bound is not None]
    if lower:
        bounds["gte"] = start + max(key for key, _ in lower)
    if upper:
        bounds["lt"] = start + min(key for key, _ in upper)
    return {"range": {FIELD: bounds}}


def _key(bound: float, above: bool) -> str:
    """Before every term of this number, or behind all of them."""
    return _number_key(bound) + ("~" if above else "")


def _path(field: str) -> str:
    parts = field_path(field)
    for part in parts:
        if part.item is not None:
            raise ConfigError(
                f"filter field {field!r} names a place in a list, which OpenSearch keeps none of: ask for the whole list by its name, or "
                f"put a name with brackets in double quotes, such as '\"{part.name}[{part.item}]\"'."
            )
    return ".".join([_escaped(part.name) for part in parts])
