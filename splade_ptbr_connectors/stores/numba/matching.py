"""Filters as tests on a payload, with the meaning that they have in Qdrant's engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ...errors import ConfigError
from ...filters import Condition, Path, Range
from ..base import EngineFilter, ParsedFilter
from ..field_conditions import translate

Test = Callable[[Mapping[str, Any]], bool]
_EVERY = ""


def test_of(conditions: tuple[Condition, ...]) -> Test:
    """Whether all conditions hold. Raises ConfigError for a field name that no engine can be asked for."""
    return translate(conditions, _Tests())  # type: ignore[no-any-return]


def checked(filter: ParsedFilter) -> tuple[Condition, ...]:
    """The conditions of a filter; this engine has no filters of its own. Raises ConfigError."""
    if not isinstance(filter, EngineFilter):
        return filter
    raise ConfigError(f"filter is {type(filter.filter).__name__}: it must be a mapping such as {{'metadata.subject': 'saúde'}}.")


class _Step(NamedTuple):
    """Down one name, `item` of the list found there (None: none, "": every place), and what may follow; () ends the path."""

    name: str
    item: str | None
    following: tuple[_Step, ...]


class _Tests:
    def place(self, path: Path) -> tuple[_Step, ...]:
        """The names that may stand first: of a.b.c these are a, a.b and a.b.c."""
        steps: dict[int, tuple[_Step, ...]] = {len(path): ()}
        for start in reversed(range(len(path))):
            steps[start] = tuple(
                _Step(".".join(part.name for part in path[start:end]), path[end - 1].item, steps[end])
                for end in range(start + 1, len(path) + 1)
                if end == start + 1 or _joinable(path[start:end])
            )
        return steps[0]

    def among(self, place: tuple[_Step, ...], values: list[str] | list[int]) -> Test:
        kind, wanted = type(values[0]), frozenset(values)
        return lambda payload: any(type(value) is kind and value in wanted for value in _values(payload, place))

    def flag(self, place: tuple[_Step, ...], value: bool) -> Test:
        return lambda payload: any(found is value for found in _values(payload, place))

    def within(self, place: tuple[_Step, ...], bounds: Range) -> Test:
        return lambda payload: any(bounds.holds(value) for value in _values(payload, place))

    def nothing(self) -> Test:
        return lambda payload: False

    def combined(self, must: list[Test] | None, must_not: list[Test] | None, should: list[Test] | None) -> Test:
        def test(payload: Mapping[str, Any]) -> bool:
            if not all(one(payload) for one in must or ()) or any(one(payload) for one in must_not or ()):
                return False
            return should is None or any(one(payload) for one in should)

        return test


def _joinable(path: Path) -> bool:
    """Whether these parts may be one name with dots: no place in a list between them, and none that came in quotes for its dots."""
    return all(part.item is None for part in path[:-1]) and not any("." in part.name or not part.name for part in path)


def _values(payload: Any, place: tuple[_Step, ...]) -> Iterator[Any]:
    """What stands at a path; of a list, its elements."""
    if not place:
        yield from payload if isinstance(payload, list) else (payload,)
        return
    for name, item, following in place if isinstance(payload, Mapping) else ():
        if name not in payload:
            continue
        value = payload[name]
        if item is None:
            yield from _values(value, following)
        elif isinstance(value, list):
            for element in value if item == _EVERY else value[int(item) : int(item) + 1]:
                yield from _values(element, following)
