"""The filter form: what it means and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.filters import AnyOf, Range, parse_filter


@pytest.mark.parametrize(
    ("filter", "conditions"),
    [
        ({}, ()),
        ({"a": "x"}, (AnyOf("a", ("x",)),)),
        ({"a.b": True}, (AnyOf("a.b", (True,)),)),
        ({"a": ["x", 2]}, (AnyOf("a", ("x", 2)),)),
        ({"a": ("x",)}, (AnyOf("a", ("x",)),)),
        ({"a": []}, (AnyOf("a", ()),)),
        ({"a": {"not": "x"}}, (AnyOf("a", ("x",), negated=True),)),
        ({"a": {"not": ["x", "y"]}}, (AnyOf("a", ("x", "y"), negated=True),)),
        ({"a": {"gte": 2000, "lt": 2010}}, (Range("a", gte=2000.0, lt=2010.0),)),
        ({"a": {"gt": 1, "not": 3}}, (Range("a", gt=1.0), AnyOf("a", (3,), negated=True))),
        ({"a": 1, "b": "x' OR 1=1 --"}, (AnyOf("a", (1,)), AnyOf("b", ("x' OR 1=1 --",)))),
    ],
)
def test_meaning(filter: dict[str, Any], conditions: tuple[Any, ...]) -> None:
    assert parse_filter(filter) == conditions


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ("a = 1", "a filter is a mapping"),
        (None, "a filter is a mapping"),
        ({"": 1}, "is not a field name"),
        ({3: 1}, "is not a field name"),
        ({"a": None}, "can be compared"),
        ({"a": 1.5}, "can be compared"),
        ({"a": ["x", None]}, "can be compared"),
        ({"a": {}}, "use gt, gte, lt, lte or not"),
        ({"a": {"gtee": 1}}, "did you mean 'gte'"),
        ({"a": {"$in": [1]}}, "use gt, gte, lt, lte or not"),
        ({"a": {"gt": "2000"}}, "bounds are finite numbers"),
        ({"a": {"gt": True}}, "bounds are finite numbers"),
        ({"a": {"lt": float("inf")}}, "bounds are finite numbers"),
        ({"a": {"not": None}}, "can be compared"),
    ],
)
def test_refusals(filter: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("$", r"\$")):
        parse_filter(filter)
