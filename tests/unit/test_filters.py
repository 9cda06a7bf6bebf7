"""The filter form: what it means and what it refuses."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
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
        ({'"a.b"."c"': 1}, (AnyOf('"a.b"."c"', (1,)),)),
        ({"a": {"gt": 2**53 + 1, "lt": 2**63 - 1}}, (Range("a", gt=2**53 + 1, lt=2**63 - 1),)),
        ({"a": {"gt": 2**63 + 1, "lt": 2**63 + 1}}, (Range("a", gt=2.0**63, lt=2.0**63 + 2048),)),
        ({"a": {"gte": 2**63 + 1, "lte": 2**63 + 1}}, (Range("a", gte=2.0**63 + 2048, lte=2.0**63),)),
        ({"a": {"gte": -(2**63) - 1, "lte": -(2**63) - 1}}, (Range("a", gte=-(2.0**63), lte=-(2.0**63) - 2048),)),
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
        ({"a": 2**63}, "the integer 9223372036854775808: a payload holds integers from -9223372036854775808 to 9223372036854775807"),
        ({"a": -(10**400)}, "the integer of 1,329 bits"),
        ({"a": {"gt": 10**400}}, "the bound of 1,329 bits: bounds are finite numbers of at most 1.8e308"),
        ({"a..b": 1}, "no empty parts"),
        ({"a.": 1}, "ends with an empty part"),
        ({'a"b': 1}, "no double quotes"),
        ({"a\\b": 1}, "backslashes"),
        ({".".join("a" * 22): 1}, "more than 21 parts"),
        ({"\ud800": 1}, "is not valid UTF-8"),
        ({"a": "\ud800"}, "is not valid UTF-8"),
    ],
)
def test_refusals(filter: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("$", r"\$")):
        parse_filter(filter)


class Subject(enum.StrEnum):
    HEALTH = "saúde"


class Mixed(str, enum.Enum):  # noqa: UP042 (the older way, printed otherwise)
    HEALTH = "saúde"


class Level(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        *((Subject.HEALTH, "saúde"), (Mixed.HEALTH, "saúde"), (np.str_("saúde"), "saúde"), (Level.ONE, 1)),
        *((np.int8(1), 1), (np.uint64(2**63 - 1), 2**63 - 1), (np.True_, True), (np.False_, False)),
    ],
)
def test_members_and_numpy_scalars_become_plain_values(value: Any, plain: Any) -> None:
    for filter in ({"a": value}, {"a": [value]}, {"a": {"not": value}}):
        [condition] = parse_filter(filter)
        assert isinstance(condition, AnyOf)
        assert [(type(one), one) for one in condition.values] == [(type(plain), plain)]


@pytest.mark.parametrize("bound", [np.float32(0.1), np.float64(0.1), np.int64(2**62 + 1), Level.ONE])
def test_bounds_become_plain_numbers(bound: Any) -> None:
    [condition] = parse_filter({"a": {"gt": bound}})
    assert isinstance(condition, Range)
    assert type(condition.gt) in (int, float)
    assert condition.gt == bound
