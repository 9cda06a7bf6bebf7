"""Filters as tests on a payload, with the meaning that they have in Qdrant's engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import ConfigError
from ..filters import And, AnyOf, Condition, Exists, Not, Or, Path
from .dotted_names import spread
from .entries import EngineFilter, ParsedFilter

Test = Callable[[Mapping[str, Any]], bool]


def test_of(conditions: tuple[Condition, ...]) -> Test:
    """Whether all conditions hold. Raises ConfigError for a field name that no engine can be asked for."""
    test = _test(And(conditions))
    return lambda payload: test(spread(payload, "")[0])


def checked(filter: ParsedFilter) -> tuple[Condition, ...]:
    """The conditions of a filter, for an engine that has no filters of its own. Raises ConfigError."""
    if not isinstance(filter, EngineFilter):
        return filter
    raise ConfigError(f"filter is {type(filter.filter).__name__}: it must be a mapping such as {{'metadata.subject': 'saúde'}}.")


def _test(condition: Condition) -> Test:
    if isinstance(condition, Not):
        negated = _test(condition.part)
        return lambda tree: not negated(tree)
    if isinstance(condition, And | Or):
        tests, decided = [_test(part) for part in condition.parts], all if isinstance(condition, And) else any
        return lambda tree: decided(test(tree) for test in tests)
    paths = condition.paths
    if isinstance(condition, Exists):
        return lambda tree: any(value is not None and value != [] for path in paths for value in _found(tree, path))
    holds = _among(condition) if isinstance(condition, AnyOf) else condition.holds
    return lambda tree: any(holds(value) for path in paths for value in _values(tree, path))


def _among(condition: AnyOf) -> Callable[[Any], bool]:
    wanted = frozenset([(type(value), value) for value in condition.values])  # 1, 1.0 and True are equal, but not the same value
    return lambda value: isinstance(value, str | int) and (type(value), value) in wanted


def _values(tree: Any, path: Path) -> Iterator[Any]:
    """What stands at a path; of a list, its elements."""
    for value in _found(tree, path):
        yield from value if isinstance(value, list) else (value,)


def _found(tree: Any, path: Path) -> Iterator[Any]:
    """What stands at a path, as it is."""
    if not path:
        yield tree
        return
    (name, item), following = path[0], path[1:]
    if not isinstance(tree, Mapping) or name not in tree:
        return
    value = tree[name]
    if item is None:
        yield from _found(value, following)
    elif isinstance(value, list):
        for element in value[int(item) : int(item) + 1] if item else value:
            yield from _found(element, following)
