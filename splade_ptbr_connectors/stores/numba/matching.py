"""Filters as tests on a payload, with the meaning that they have in Qdrant's engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...errors import ConfigError
from ...filters import Condition, Range
from ..field_conditions import translate

Test = Callable[[Mapping[str, Any]], bool]
_PART = re.compile(r'"([^"]*)"|([^.\[\]"]+)(?:\[(\d*)\])?')
_EVERY = ""


def test_of(conditions: tuple[Condition, ...]) -> Test:
    """Whether all conditions hold. Raises ConfigError for a field name or a value that no store compares with."""
    return translate(conditions, _Tests())  # type: ignore[no-any-return]


def checked(filter: object) -> tuple[Condition, ...]:
    """The parsed filter of a search; this engine has no filters of its own. Raises ConfigError."""
    if filter is None or isinstance(filter, tuple):
        return filter or ()
    raise ConfigError(f"filter is {type(filter).__name__}: it must be a mapping such as {{'metadata.subject': 'saúde'}}.")


class _Tests:
    def among(self, field: str, values: list[str] | list[int]) -> Test:
        path, kind, wanted = _parsed(field), type(values[0]), frozenset(values)
        return lambda payload: any(type(value) is kind and value in wanted for value in _values(payload, path))

    def flag(self, field: str, value: bool) -> Test:
        path = _parsed(field)
        return lambda payload: any(found is value for found in _values(payload, path))

    def within(self, field: str, bounds: Range) -> Test:
        path = _parsed(field)
        return lambda payload: any(_inside(value, bounds) for value in _values(payload, path))

    def nothing(self) -> Test:
        return lambda payload: False

    def combined(self, must: list[Test] | None, must_not: list[Test] | None, should: list[Test] | None) -> Test:
        def test(payload: Mapping[str, Any]) -> bool:
            if not all(one(payload) for one in must or ()) or any(one(payload) for one in must_not or ()):
                return False
            return should is None or any(one(payload) for one in should)

        return test


def _parsed(field: str) -> list[tuple[str, str | None]]:
    """(name, index): None for no index, "" for every element of a list."""
    return [(match[1] or match[2], match[3]) for match in _PART.finditer(field)]


def _values(payload: Any, path: list[tuple[str, str | None]]) -> Iterator[Any]:
    """What stands at a path; of a list, its elements."""
    if not path:
        yield from payload if isinstance(payload, list) else (payload,)
        return
    (name, index), rest = path[0], path[1:]
    if not isinstance(payload, Mapping) or name not in payload:
        return
    value = payload[name]
    if index is None:
        yield from _values(value, rest)
    elif isinstance(value, list):
        for element in value if index == _EVERY else value[int(index) : int(index) + 1]:
            yield from _values(element, rest)


def _inside(value: Any, bounds: Range) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low = (bounds.gt is None or value > bounds.gt) and (bounds.gte is None or value >= bounds.gte)
    return low and (bounds.lt is None or value < bounds.lt) and (bounds.lte is None or value <= bounds.lte)
