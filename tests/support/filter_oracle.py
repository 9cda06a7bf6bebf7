"""What a filter means, read from the mapping itself: nothing of `splade_ptbr_connectors.filters` is used."""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Iterator, Mapping
from typing import Any

_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?)?)?")
_COMPARE = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def passes(filter: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
    """Whether a payload fulfils every condition of a filter mapping."""
    return all(_holds(name, wanted, payload) for name, wanted in filter.items())


def _holds(name: str, wanted: Any, payload: Mapping[str, Any]) -> bool:
    if name == "$and":
        return all(passes(each, payload) for each in wanted)
    if name == "$or":
        return any(passes(each, payload) for each in wanted)
    if name == "$not":
        return not passes(wanted, payload)
    found = _values_at(payload, name)
    if not isinstance(wanted, Mapping):
        return _equals(found, wanted)
    bounds = {key: bound for key, bound in wanted.items() if key in _COMPARE}
    if bounds and not any(_within(value, bounds) for value in _elements(found)):
        return False
    if "not" in wanted and _equals(found, wanted["not"]):
        return False
    if "all" in wanted and not all(_equals(found, each) for each in wanted["all"]):
        return False
    return "exists" not in wanted or _exist(found) == wanted["exists"]


def _equals(found: list[Any], wanted: Any) -> bool:
    candidates = wanted if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
    return any(_is(found, each) for each in candidates)


def _is(found: list[Any], wanted: Any) -> bool:
    if wanted is None:
        return not _exist(found)
    if isinstance(wanted, datetime.date):
        return any(_within(value, {"gte": wanted, "lte": wanted}) for value in _elements(found))
    if isinstance(wanted, float):
        return any(isinstance(value, int | float) and not isinstance(value, bool) and value == wanted for value in _elements(found))
    return any(type(value) is type(wanted) and value == wanted for value in _elements(found))


def _exist(found: list[Any]) -> bool:
    return any(value is not None and value != [] for value in found)


def _elements(found: list[Any]) -> Iterator[Any]:
    for value in found:
        yield from value if isinstance(value, list) else [value]


def _within(value: Any, bounds: Mapping[str, Any]) -> bool:
    dates = any(isinstance(bound, str | datetime.date) for bound in bounds.values())
    if dates:
        value, bounds = _moment(value), {key: _moment(bound) for key, bound in bounds.items()}
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | datetime.datetime):
        return False
    return all(_COMPARE[key](value, bound) for key, bound in bounds.items())


def _moment(value: Any) -> datetime.datetime | None:
    """A date of the usual forms, by Python's own reader."""
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value) if _DATE.fullmatch(value) else None
        except ValueError:
            return None
    if not isinstance(value, datetime.date):
        return None
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    return value if value.tzinfo else value.replace(tzinfo=datetime.UTC)


def _values_at(payload: Mapping[str, Any], field: str) -> list[Any]:
    """What lies at every path that the field may mean, a list as it is."""
    wanted = ".".join(_whole(quoted) if quoted or not name else name for quoted, name in re.findall(r'"([^"]*)"|([^."]+)', field))
    return [value for path, value in _everything(payload) if path == wanted]


def _everything(payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value with every path to it: a name with dots is one name, and reads like several, each of which holds the next."""
    for name, value in payload.items():
        for written in {name, _whole(name)}:
            yield written, value
            if isinstance(value, Mapping):
                yield from ((f"{written}.{path}", inner) for path, inner in _everything(value))
        parts = name.split(".")
        if all(parts):
            yield from ((".".join(parts[:end]), {}) for end in range(1, len(parts)))


def _whole(name: str) -> str:
    """A name whose dots and brackets belong to it."""
    return name.replace(".", "\0").replace("[", "\1")
