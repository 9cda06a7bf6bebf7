"""The filter form: what it means and what it refuses."""

from __future__ import annotations

import datetime as dt
import enum
import re
from typing import Any

import numpy as np
import pytest

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.filters import MAX_CONDITIONS, And, AnyOf, Exists, Not, Or, Period, Range, leaves, let_all_pass, parse_filter


def nested(operator: str, levels: int) -> dict[str, Any]:
    filter: dict[str, Any] = {"a": 1}
    for _ in range(levels):
        filter = {operator: filter if operator == "$not" else [filter]}
    return filter


DAY = 86_400_000_000  # microseconds


@pytest.mark.parametrize(
    ("filter", "conditions"),
    [
        ({}, ()),
        ({"a": "x"}, (AnyOf("a", ("x",)),)),
        ({"a.b": True}, (AnyOf("a.b", (True,)),)),
        ({"a": ["x", 2]}, (AnyOf("a", ("x", 2)),)),
        ({"a": ("x",)}, (AnyOf("a", ("x",)),)),
        ({"a": []}, (AnyOf("a", ()),)),
        ({"a": {"not": "x"}}, (Not(AnyOf("a", ("x",))),)),
        ({"a": {"not": ["x", "y"]}}, (Not(AnyOf("a", ("x", "y"))),)),
        ({"a": {"gte": 2000, "lt": 2010}}, (Range("a", gte=2000.0, lt=2010.0),)),
        ({"a": {"gt": 1, "not": 3}}, (Range("a", gt=1.0), Not(AnyOf("a", (3,))))),
        ({"a": 1, "b": "x' OR 1=1 --"}, (AnyOf("a", (1,)), AnyOf("b", ("x' OR 1=1 --",)))),
        ({'"a.b"."c"': 1}, (AnyOf('"a.b"."c"', (1,)),)),
        ({"a": {"gt": 2**53 + 1, "lt": 2**63 - 1}}, (Range("a", gt=2**53 + 1, lt=2**63 - 1),)),
        ({"a": {"gt": 2**63 + 1, "lt": 2**63 + 1}}, (Range("a", gt=2.0**63, lt=2.0**63 + 2048),)),
        ({"a": {"gte": 2**63 + 1, "lte": 2**63 + 1}}, (Range("a", gte=2.0**63 + 2048, lte=2.0**63),)),
        ({"a": {"gte": -(2**63) - 1, "lte": -(2**63) - 1}}, (Range("a", gte=-(2.0**63), lte=-(2.0**63) - 2048),)),
        ({"a": 1.5}, (Range("a", gte=1.5, lte=1.5),)),
        ({"a": None}, (Not(Exists("a")),)),
        ({"a": {"not": None}}, (Exists("a"),)),
        ({"a": {"exists": True}}, (Exists("a"),)),
        ({"a": {"exists": False, "gt": 1}}, (Range("a", gt=1), Not(Exists("a")))),
        ({"a": ["x", 2.5, None]}, (Or((AnyOf("a", ("x",)), Range("a", gte=2.5, lte=2.5), Not(Exists("a")))),)),
        ({"a": {"all": ["x", 1]}}, (AnyOf("a", ("x",)), AnyOf("a", (1,)))),
        ({"a": {"all": []}}, ()),
        ({"a": dt.date(1970, 1, 2)}, (Period("a", gte=DAY, lte=DAY),)),
        ({"a": {"gte": "1970-01-02", "lt": dt.datetime(1970, 1, 3)}}, (Period("a", gte=DAY, lt=2 * DAY),)),
        ({"a": {"gt": "1970-01-01T21:00:00-03:00"}}, (Period("a", gt=DAY),)),
        ({"a": "1970-01-02"}, (AnyOf("a", ("1970-01-02",)),)),
        ({"$and": [{"a": 1, "b": 2}, {"c": 3}]}, (AnyOf("a", (1,)), AnyOf("b", (2,)), AnyOf("c", (3,)))),
        ({"$and": []}, ()),
        ({"$or": []}, (Or(()),)),
        ({"$or": [{"a": 1}]}, (AnyOf("a", (1,)),)),
        (
            {"$or": [{"a": 1, "b": 2}, {"$or": [{"c": 3}, {}]}]},
            (Or((AnyOf("c", (3,)), And((AnyOf("a", (1,)), AnyOf("b", (2,)))), And(()))),),
        ),
        ({"$or": [{"a": 1}, {"b": 2}, {"a": ["x", True]}]}, (Or((AnyOf("a", (1, "x", True)), AnyOf("b", (2,)))),)),
        ({"d": 4, "$not": {"a": {"not": 1}}}, (AnyOf("d", (4,)), AnyOf("a", (1,)))),
        ({"$not": {}}, (Not(And(())),)),
        ({'"$or"': 1, "$nor": 2}, (AnyOf('"$or"', (1,)), AnyOf("$nor", (2,)))),
        (nested("$or", 10), (AnyOf("a", (1,)),)),
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
        ({"a": float("nan")}, "can be compared"),
        ({"a": [1.5, float("-inf")]}, "can be compared"),
        ({"a": ["x", ["y"]]}, "can be compared"),
        ({"a": b"x"}, "can be compared"),
        ({"a": {}}, "use gt, gte, lt, lte, not, all or exists"),
        ({"$nor": [{"a": 1}]}, "filters are combined by $and, $or and $not"),
        ({"a": {"gtee": 1}}, "did you mean 'gte'"),
        ({"a": {">=": 1}}, "did you mean 'gte'"),
        ({"metadata": {"orgao": "MS"}}, "a field within it is named by its path, 'metadata.orgao'"),
        ({"a": {"$ne": 1}}, "did you mean 'not'"),
        ({"and": [{"a": 1}]}, "did you mean '$and'"),
        ({"OR": [{"a": 1}]}, "did you mean '$or'"),
        ({"a": {"$in": [1]}}, "use gt, gte, lt, lte, not, all or exists"),
        ({"a": {"gt": "2000"}}, "bounds are finite numbers"),
        ({"a": {"gt": True}}, "bounds are finite numbers"),
        ({"a": {"lt": float("inf")}}, "bounds are finite numbers"),
        ({"a": {"not": [{}]}}, "can be compared"),
        ({"a": {"all": "x"}}, "must be a list"),
        ({"a": {"all": [["x"]]}}, "can be compared"),
        ({"a": {"exists": 1}}, "must be True or False"),
        ({"a": {"$gte": 1}}, "did you mean 'gte'"),
        ({"a": {"gte": 1, "lt": "2024-01-01"}}, "not both"),
        ({"a": {"gte": "2024-13-01"}}, "as a date"),
        ({"a": {"gte": "2024-03-01T12:00Z"}}, "as a date"),
        ({"a": dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=3)))}, "years 1 to 9999"),
        ({"$or": {"a": 1}}, "$or is {'a': 1}: it must be a list of filters"),
        ({"$and": [1]}, "a filter is a mapping"),
        ({"$not": [{"a": 1}]}, "a filter is a mapping"),
        (nested("$not", 11), "nested more than 10 levels"),
        (nested("$not", 100_000), "nested more than 10 levels"),
        (nested("$or", 100_000), "nested more than 10 levels"),
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
    with pytest.raises(ConfigError, match=re.escape(message)):
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
        [condition] = leaves(parse_filter(filter))
        assert isinstance(condition, AnyOf)
        assert [(type(one), one) for one in condition.values] == [(type(plain), plain)]


@pytest.mark.parametrize("bound", [np.float32(0.1), np.float64(0.1), np.int64(2**62 + 1), Level.ONE])
def test_bounds_become_plain_numbers(bound: Any) -> None:
    [condition] = parse_filter({"a": {"gt": bound}})
    assert isinstance(condition, Range)
    assert type(condition.gt) in (int, float)
    assert condition.gt == bound


@pytest.mark.parametrize(
    ("filter", "all_pass"),
    [
        *[({}, True), ({"$or": [{}]}, True), ({"$or": [{"a": 1}, {}]}, True), ({"$not": {"$or": []}}, True)],
        *[({"$and": [{}, {"a": {"all": []}}]}, True), ({"$not": {"a": 1, "$or": []}}, True), ({"a": {"not": []}}, False)],
        *[({"$or": []}, False), ({"$not": {}}, False), ({"a": []}, False), ({"a": 1, "$or": [{}]}, False)],
        *[({"a": {"exists": False}}, False), ({"$not": {"$or": [{"a": 1}, {"b": []}]}}, False)],
    ],
)
def test_what_lets_everything_pass(filter: dict[str, Any], all_pass: bool) -> None:
    assert let_all_pass(parse_filter(filter)) == all_pass


FULL = {f"campo{number}": number for number in range(MAX_CONDITIONS)}


@pytest.mark.parametrize(
    "filter",
    [
        *(FULL, {"$or": [FULL]}, {"$not": FULL}, {"$or": [{}] * MAX_CONDITIONS}),
        *({"a": list(range(5 * MAX_CONDITIONS))}, {"a": {"all": [1] * MAX_CONDITIONS}}),
    ],
)
def test_as_many_conditions_as_are_accepted(filter: dict[str, Any]) -> None:
    assert parse_filter(filter)


@pytest.mark.parametrize(
    "filter",
    [
        *({**FULL, "a": 1}, {"$or": [FULL, {"a": 1}]}, {"$not": {"b": 1, "$and": [{name: value} for name, value in FULL.items()]}}),
        *({"a": {"all": [1] * 10_001}}, {"a": [0.5] * 10_001}, {"$or": [{"a": 1}] * 10_001}),
        *({"$or": [{}] * 10_001}, {"$and": [{"$or": []}] * 10_001}, {"$not": {"$and": [{"a": {"all": []}}] * 10_001}}),
    ],
)
def test_more_conditions_than_an_engine_tests_in_good_time_are_refused(filter: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"more than 10,000 conditions: compare a field with a list of values"):
        parse_filter(filter)
