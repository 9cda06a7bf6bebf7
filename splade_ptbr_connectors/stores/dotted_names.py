"""Names with dots: stored so that a path finds them, {"a.b": 1} also as {"a": {"b": 1}}, and taken apart again when read.

An engine's own path "a.b" means the second form only, so that without it a filter on a name with a dot would find nothing
and `not` would find everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import RecordError
from ..json_values import MAX_DEPTH

MAX_DOTTED = 3  # each of them within another stores all that it holds twice
_SCALARS = frozenset((str, int, float, bool, type(None)))
Place = tuple[str | int, ...]  # names, and places in lists


def spread(payload: Mapping[str, Any], doc_id: str) -> tuple[Mapping[str, Any], list[Place]]:
    """The payload with the second forms beside what it holds, and where these are; without such names, the payload itself.

    Raises:
        RecordError: two fields under one path, such as {"a.b": 1, "a": 2}, more levels than a payload may have, or names
            with dots within one another more than 3 times.
    """
    added: list[Place] = []
    return (_spread(payload, (), added, doc_id), added) if _has_dots(payload) else (payload, added)


def gathered(stored: dict[str, Any], added: Sequence[Sequence[str | int]]) -> dict[str, Any]:
    """What spread() was given."""
    for place in added:
        stored = _without(stored, place)
    return stored


def _has_dots(value: Any) -> bool:
    """Whether spread() would give anything but the payload itself."""
    # once or twice per document loaded, nearly always False: types are asked for by identity
    kind = type(value)
    if kind is dict or (kind is not list and isinstance(value, Mapping)):
        if "." in "".join(value):
            return True
        value = value.values()
    elif not isinstance(value, list | tuple):
        return False
    for item in value:
        if type(item) not in _SCALARS and _has_dots(item):
            return True
    return False


def _spread(value: Any, place: Place, added: list[Place], doc_id: str) -> Any:
    if isinstance(value, list | tuple):
        return [_spread(item, (*place, n), added, doc_id) for n, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    if sum("." in name for name in place if isinstance(name, str)) > MAX_DOTTED:
        raise RecordError(
            f"the payload of {doc_id!r} has names with dots within one another more than {MAX_DOTTED} times: rename the inner ones."
        )
    tree = {name: _spread(item, (*place, name), added, doc_id) for name, item in value.items()}
    for name in value:
        parts = name.split(".")
        if len(parts) > 1 and all(parts):
            _graft(tree, parts, tree[name], place, added, doc_id)
    return tree


def _graft(tree: dict[str, Any], parts: list[str], value: Any, place: Place, added: list[Place], doc_id: str) -> None:
    """Put a copy of the value where the parts lead, and write down the topmost name that is new there."""
    name, rest = parts[0], parts[1:]
    here = (*place, name)
    if name not in tree:
        tree[name] = _nested(rest, value, len(here), doc_id)
        added.append(here)
    elif rest and isinstance(tree[name], dict):
        _graft(tree[name], rest, value, here, added, doc_id)
    elif not rest and isinstance(tree[name], dict) and isinstance(value, dict):
        for inner in value:
            _graft(tree[name], [inner], value[inner], here, added, doc_id)
    else:
        path = ".".join(map(str, here))
        raise RecordError(f"the payload of {doc_id!r} has two values under the path {path[:60]!r}, one by a name with dots: rename one.")


def _nested(parts: list[str], value: Any, depth: int, doc_id: str) -> Any:
    if depth > MAX_DEPTH and (parts or isinstance(value, dict | list)):
        raise RecordError(f"the payload of {doc_id!r} is nested more than {MAX_DEPTH} levels deep, a name with dots counted as a path.")
    if parts:
        return {parts[0]: _nested(parts[1:], value, depth + 1, doc_id)}
    if isinstance(value, dict):
        return {name: _nested([], item, depth + 1, doc_id) for name, item in value.items()}
    return [_nested([], item, depth + 1, doc_id) for item in value] if isinstance(value, list) else value


def _without(tree: Any, place: Sequence[str | int]) -> Any:
    """A copy without what stands at a place; somebody else may have removed it already."""
    name = place[0]
    there = name in tree if isinstance(tree, dict) else isinstance(tree, list) and isinstance(name, int) and name < len(tree)
    if not there:
        return tree
    kept = tree.copy()
    if len(place) == 1:
        del kept[name]
    else:
        kept[name] = _without(kept[name], place[1:])
    return kept
