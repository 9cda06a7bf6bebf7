"""What a filter means and what a payload may hold: checks for a store of any engine, empty when they begin.

The embedded stores and Qdrant run them in tests/unit/stores/test_congruence.py, the servers in tests/servers_qdrant and tests/servers.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.vectors import SparseVector

VECTOR = SparseVector([5], [1.0])
NANOSECONDS = 1_768_907_445_451_174_113  # a moment of 2026: 256 such integers are one float64
LARGE: list[float] = [  # the floats have few digits: of many, the engine's JSON reader may get the last bit wrong
    *(0, 7, 0.5, -1.5, 2**53 - 1, 2**53, 2**53 + 1, 2**53 + 3, 2.0**53, -(2**53) - 1, -(2**53)),
    *(NANOSECONDS - 1, NANOSECONDS, NANOSECONDS + 1, NANOSECONDS + 512, 1.768907445451174e18),
    *(2**60 - 64, 2**60, 2**60 + 1, 2.0**60, -(2**60) - 1, 2**63 - 1, -(2**63), -(2.0**63), 1e300, -1e300),
]
BOUNDS = [2**53, NANOSECONDS + 1, 2**64 + 1]  # every size of every kind: tests/unit/stores/test_float_ranges.py
PAIRS = [(NANOSECONDS, NANOSECONDS), (-(2**53), 2**60), (2**60, 7)]


class Court(enum.StrEnum):
    """Equal to its value, and printed as it."""

    STF = "stf"


class OldCourt(str, enum.Enum):  # noqa: UP042 (the older way, printed otherwise)
    """Equal to its value, and printed as "OldCourt.STF"."""

    STF = "stf"


class Instance(enum.IntEnum):
    """Equal to its value."""

    SECOND = 2


def found(store: Store, filter: Mapping[str, Any]) -> list[str]:
    """The documents that pass, by a search; count() agrees."""
    hits = sorted(hit.doc_id for hit in store.search(VECTOR, 10_000, filter=filter))
    assert store.count(filter=filter) == len(hits)
    return hits


def load(store: Store, payloads: Mapping[str, Mapping[str, Any]]) -> None:
    """Each payload with the same vector."""
    store.upsert_vectors([(doc_id, VECTOR, payload) for doc_id, payload in payloads.items()])
    assert {entry.doc_id: entry.payload for entry in store.scan()} == payloads


def ranges_compare_exactly(store: Store) -> None:
    """Integers and floats of every size, without a rounded one among them."""
    numbers = {f"d{n:02}": value for n, value in enumerate(LARGE)}
    load(store, {doc_id: {"n": value} for doc_id, value in numbers.items()})
    compare: dict[str, Callable[[float, float], bool]] = {
        "gt": lambda value, bound: value > bound,
        "gte": lambda value, bound: value >= bound,
        "lt": lambda value, bound: value < bound,
        "lte": lambda value, bound: value <= bound,
    }
    for key, bound in itertools.product(compare, BOUNDS):
        expected = [doc_id for doc_id, value in numbers.items() if compare[key](value, bound)]
        assert found(store, {"n": {key: bound}}) == expected, (key, bound)
    for low, high in PAIRS:
        expected = [doc_id for doc_id, value in numbers.items() if low <= value <= high]
        assert found(store, {"n": {"gte": low, "lte": high}}) == expected, (low, high)


def a_range_deletes_what_lies_within(store: Store) -> None:
    """The neighbour that is the same float stays."""
    load(store, {"before": {"ns": NANOSECONDS}, "from": {"ns": NANOSECONDS + 1}, "list": {"ns": [1, NANOSECONDS + 2]}})
    assert store.delete_where({"ns": {"gt": NANOSECONDS + 2}}) == 0
    assert store.delete_where({"ns": {"gte": NANOSECONDS + 1}}) == 2
    assert [entry.doc_id for entry in store.scan()] == ["before"]


DOTTED: dict[str, dict[str, Any]] = {
    "name": {"tb_9.6": "keep", "other": {"x": 1}},
    "path": {"tb_9": {"6": "keep"}},
    "other": {"tb_9.6": "drop"},
    "inside": {"metadata": {"v.1": 1, "open": True}, "metadata.year": 2003, "metadata.deep.tags": ["x", "y"]},
    "nested": {"metadata.v": {"1.x": {"y": 2}}},
    "listed": {"parts": [{"n.1": 5}, {"n.1": 6}]},
    "blank": {"a.": 1, ".b": 2, "..": 3, ".": 4},
    "none": {},
}
BY_DOT: list[tuple[dict[str, Any], list[str]]] = [
    ({"tb_9.6": "keep"}, ["name", "path"]),
    ({'"tb_9.6"': "keep"}, ["name"]),
    ({"tb_9.6": ["keep", "drop"]}, ["name", "other", "path"]),
    ({"metadata.v.1": 1}, ["inside"]),
    ({'metadata."v.1"': 1}, ["inside"]),
    ({'"metadata.v.1"': 1}, []),
    ({"metadata.year": {"gt": 2000}, "metadata.open": True}, ["inside"]),
    ({"metadata.deep.tags": "y"}, ["inside"]),
    ({"metadata.v.1.x.y": 2}, ["nested"]),
    ({'"metadata.v"."1.x".y': {"gte": 2}}, ["nested"]),
    ({'metadata."v.1".x.y': 2}, []),
    ({'"a."': 1, '".b"': 2, '".."': 3, '"."': 4}, ["blank"]),
]


def names_with_dots_are_found(store: Store) -> None:
    """By the path that they read like, and in quotes as they are."""
    load(store, DOTTED)
    for filter, expected in BY_DOT:
        assert found(store, filter) == expected, filter
        if len(filter) == 1:
            [(field, wanted)] = filter.items()
            others = sorted(DOTTED.keys() - set(expected))
            assert isinstance(wanted, Mapping) or found(store, {field: {"not": wanted}}) == others, filter
    assert store.delete_where({"tb_9.6": {"not": "keep"}}) == len(DOTTED) - 2
    assert {entry.doc_id: entry.payload for entry in store.scan()} == {"name": DOTTED["name"], "path": DOTTED["path"]}


ODD_NAMES = ["", " ", "a b", "x[0]", "x[]", "[", "]", "a]b", "ação", "😀", "'", "$", "*", "=", "a=s:b", "\n", "0", "-", "n" * 200]
ODD_NAMES += ["a..b", "é.ú"]


def odd_names_are_found_in_quotes(store: Store) -> None:
    """At the top and within another."""
    load(store, {f"d{n:02}": {name: "v", "in": {name: "w"}} for n, name in enumerate(ODD_NAMES)})
    for n, name in enumerate(ODD_NAMES):
        quoted = f'"{name}"'
        assert found(store, {quoted: "v"}) == found(store, {f"in.{quoted}": "w"}) == [f"d{n:02}"], name
    assert store.delete_where({'"x[0]"': {"not": "v"}}) == len(ODD_NAMES) - 1


def members_and_numpy_scalars_are_plain_values(store: Store) -> None:
    """In a filter and in a payload."""
    store.upsert_vectors([("a", VECTOR, {"court": OldCourt.STF, Court.STF: Court.STF, "n": Instance.SECOND}), ("b", VECTOR, {"n": 3})])
    assert store.get(["a"])["a"].payload == {"court": "stf", "stf": "stf", "n": 2}
    same: list[dict[Any, Any]] = [
        {"court": Court.STF},
        {"court": [OldCourt.STF, "x"]},
        {"court": np.str_("stf")},
        {Court.STF: OldCourt.STF},
        {"n": Instance.SECOND},
        {"n": [np.int64(2), np.int64(9)]},
        {"n": {"not": np.uint8(3)}},
        {"n": {"lt": np.float32(2.5)}},
        {"n": {"lte": Instance.SECOND}},
    ]
    assert [found(store, filter) for filter in same] == [["a"]] * len(same)
    store.upsert_vectors([("a", VECTOR, {"n": 1, "open": True})])
    assert (found(store, {"open": np.True_}), found(store, {"n": np.True_}), found(store, {"n": np.int8(1)})) == (["a"], [], ["a"])


DEEP: Any = 1
DEEP_NOT: Any = {"a": 1}
for _ in range(100_000):
    DEEP, DEEP_NOT = {"not": DEEP}, {"$not": DEEP_NOT}
REFUSED: list[dict[Any, Any]] = [
    *({"_id": "a"}, {"_id": {"not": "a"}}, {'"_id"': "a"}, {"_id.x": 1}, {"_hash": "h"}, {"_tenant": {"not": "A"}}, {"_dotted": 1}),
    *({"a": 2**63}, {"a": [1, -(2**63) - 1]}, {"a": {"not": 10**5000}}, {"a": {"gte": 10**400}}, {"a": {"lt": float("nan")}}),
    *({"a": np.timedelta64(1, "s")}, {"a": np.datetime64("2020-01-01")}, {"a": math.nan}, {"a": -math.inf}, {"a": "\ud800"}),
    *({"a": {"gte": "1"}}, {"a": {"lt": "2024-02-30"}}, {"a": {"gt": 1, "lt": "2024-01-01"}}, {"a": {"exists": 1}}, {"a": {"all": "x"}}),
    *({"$not": DEEP_NOT}, {"$or": [DEEP_NOT]}, {"$and": {}}, {"$or": [{"_id": "a"}]}, {"$not": {"_tenant": "A"}}),
    *({"a": DEEP}, {"a": {"not": DEEP}}, {"a": {"gt": DEEP}}, {".".join("a" * 100_000): 1}, DEEP),
    *({"": 1}, {"a..b": 1}, {".": 1}, {"a.": 1}, {'a"b': 1}, {'"a': 1}, {"a\\b": 1}, {"\ud800": 1}, {".".join(["x[0]"] * 5): 1}),
]


def what_no_engine_can_be_asked_is_refused(store: Store) -> None:
    """With one line that says why, and nothing happens."""
    load(store, {"a": {"a": 1}})
    for filter in REFUSED:
        uses: list[Callable[[Any], Any]] = [lambda filter: store.search(VECTOR, filter=filter), store.delete_where]
        for use in (*uses, lambda filter: store.count(filter=filter)):
            with pytest.raises(errors.ConfigError) as caught:
                use(filter)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 400
    assert store.count() == 1


def every_integer_of_64_bits_is_kept_and_no_larger_one(store: Store) -> None:
    """The range that every engine and protocol carries; the message names field, value and range."""
    bounds = {"least": {"n": -(2**63)}, "most": {"n": [2**63 - 1]}}
    load(store, bounds)
    assert (found(store, {"n": -(2**63)}), found(store, {"n": 2**63 - 1})) == (["least"], ["most"])
    for number in (2**63, 2**64 - 1, -(2**63) - 1, 10**5000):
        for payload in ({"n": number}, {"metadata": {"n": [1, number]}}):
            accepted = f"{-(2**63)} to {2**63 - 1} can be stored"
            with pytest.raises(errors.RecordError, match=f"holds the integer .* in the field 'n': {accepted}"):
                store.load([("good", VECTOR), ("large", VECTOR, payload)])
    assert {entry.doc_id: entry.payload for entry in store.scan()} == bounds


AMBIGUOUS: list[dict[str, Any]] = [
    {"a.b": 1, "a": 2},
    {"a.b": 1, "a": None},
    {"a.b": 1, "a": {"b": 1}},
    {"a.b": {"c": 1}, "a.b.c": 2},
    {"x": {"a.b": 1, "a": [1]}},
    {".".join("a" * 30): 1},
    {"a.1": {"b.1": {"c.1": {"d.1": {}}}}},
    {"_id.x": 1},
]


def names_that_a_filter_cannot_tell_apart_are_refused(store: Store) -> None:
    """When they are written, the rest of the batch with them."""
    for payload in AMBIGUOUS:
        with pytest.raises(errors.RecordError, match=r"rename|nested more than 20 levels"):
            store.load([("good", VECTOR), ("x", VECTOR, payload)])
    assert store.count() == 0


CHECKS: Sequence[Callable[[Store], None]] = (
    ranges_compare_exactly,
    a_range_deletes_what_lies_within,
    names_with_dots_are_found,
    odd_names_are_found_in_quotes,
    members_and_numpy_scalars_are_plain_values,
    what_no_engine_can_be_asked_is_refused,
    every_integer_of_64_bits_is_kept_and_no_larger_one,
    names_that_a_filter_cannot_tell_apart_are_refused,
)
