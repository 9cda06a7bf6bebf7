"""Names with dots: what a path finds is the same by a tree of second forms, by tests in Python and by terms."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import RecordError
from splade_ptbr_connectors.filters import AnyOf, field_path, parse_filter, readings
from splade_ptbr_connectors.stores.dotted_names import gathered, spread
from splade_ptbr_connectors.stores.opensearch.filters import restrict_to_tenant
from splade_ptbr_connectors.stores.opensearch.wire import facets
from splade_ptbr_connectors.stores.payloads import from_stored, to_stored
from splade_ptbr_connectors.stores.predicates import test_of as matching

names = st.sampled_from(["a", "b", "a.b", "b.a", "a.a.b", "a.b.a", "a.", ""])  # few, so that they meet
values = st.recursive(
    st.integers(0, 2) | st.none() | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(names, inner, max_size=3) | st.lists(st.dictionaries(names, inner, max_size=2), max_size=2),
    max_leaves=6,
)
payloads = st.dictionaries(names, values, min_size=1, max_size=3)
PARTS = ["a", "b", '"a"', '"a.b"', '"b.a"', '"a."', '""']
FIELDS = [".".join(parts) for length in (1, 2, 3) for parts in itertools.product(PARTS, repeat=length)]


def spread_or_skip(payload: dict[str, Any]) -> tuple[Any, list[Any]]:
    try:
        return spread(payload, "d")
    except RecordError:  # two values under one path
        assume(False)
        raise


def values_at(tree: Any, field: str) -> list[Any]:
    """As an engine reads a path: one name after the other."""
    for part in field_path(field):
        if not isinstance(tree, dict) or part.name not in tree:
            return []
        tree = tree[part.name]
    return tree if isinstance(tree, list) else [tree]


@given(payloads)
def test_what_is_stored_comes_back_and_is_left_alone(payload: dict[str, Any]) -> None:
    before = copy.deepcopy(payload)
    tree, added = spread_or_skip(payload)
    assert gathered(tree, added) == payload == before
    stored = to_stored("d", payload, "h", "A")
    kept = copy.deepcopy(stored)
    assert from_stored(dict(stored)) == ("d", payload, "h")
    assert stored == kept


CONDITIONS = {(field, wanted): parse_filter({field: wanted}) for field in FIELDS for wanted in (0, 1)}
TESTS = {asked: matching(conditions) for asked, conditions in CONDITIONS.items()}
TERMS = {asked: restrict_to_tenant(conditions, None)["filter"][0]["terms"]["facets"][0] for asked, conditions in CONDITIONS.items()}


@given(payloads)
@settings(deadline=None)
def test_every_engine_finds_the_same(payload: dict[str, Any]) -> None:
    tree, _ = spread_or_skip(payload)
    in_tree = {(field, wanted) for field, wanted in CONDITIONS if wanted in values_at(tree, field)}
    assert {asked for asked, test in TESTS.items() if test(payload)} == in_tree
    terms = set(facets(payload))
    assert {asked for asked, term in TERMS.items() if term in terms} == in_tree


@given(payloads)
def test_whatever_is_there_is_found_by_its_names_joined_with_dots(payload: dict[str, Any]) -> None:
    spread_or_skip(payload)
    for path, value in leaves(payload):
        if all(path.split(".")) and path:
            assert matching((AnyOf(path, (value,)),))(payload), path


def leaves(payload: dict[str, Any], prefix: str = "") -> list[tuple[str, int]]:
    found = []
    for name, value in payload.items():
        if isinstance(value, dict):
            found += leaves(value, f"{prefix}{name}.")
        elif isinstance(value, int):
            found.append((prefix + name, value))
    return found


@pytest.mark.parametrize(
    ("payload", "tree", "added"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 1}}, []),
        ({"a.b": 1}, {"a.b": 1, "a": {"b": 1}}, [("a",)]),
        ({"a.b": 1, "a": {"c": 2}}, {"a.b": 1, "a": {"c": 2, "b": 1}}, [("a", "b")]),
        ({"a.b": 1, "a.c": 2}, {"a.b": 1, "a.c": 2, "a": {"b": 1, "c": 2}}, [("a",), ("a", "c")]),
        ({"a.b": {"c": 1}, "a.b.d": 2}, {"a.b": {"c": 1}, "a.b.d": 2, "a": {"b": {"c": 1, "d": 2}}}, [("a",), ("a", "b", "d")]),
        ({"a.b": {"c": 1}, "a": {"b": {"d": 2}}}, {"a.b": {"c": 1}, "a": {"b": {"d": 2, "c": 1}}}, [("a", "b", "c")]),
        ({"x": [{"a.b": 1}, 3]}, {"x": [{"a.b": 1, "a": {"b": 1}}, 3]}, [("x", 0, "a")]),
        ({"a.": 1, ".": 2, "": 3}, {"a.": 1, ".": 2, "": 3}, []),
    ],
)
def test_second_forms(payload: dict[str, Any], tree: dict[str, Any], added: list[Any]) -> None:
    assert spread(payload, "d") == (tree, added)


def test_what_somebody_else_has_changed_is_read_as_it_is() -> None:
    stored = to_stored("d", {"a.b": 1, "c": [{"x.y": 2}]}, None)
    del stored["a"]
    stored["c"] = []
    assert from_stored(stored) == ("d", {"a.b": 1, "c": []}, None)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("a.b", [["a", "b"]]),
        ("a[0]", [["a:0"], ["a[0]"]]),
        ("a[].b", [["a:", "b"], ["a[]", "b"]]),
        ('"a[0]".b', [["a[0]", "b"]]),
        ("a [R$]", [["a [R$]"]]),
        ("[0]", [["[0]"]]),
    ],
)
def test_readings_of_a_path(field: str, expected: list[list[str]]) -> None:
    found = [[name if item is None else f"{name}:{item}" for name, item in path] for path in readings(field_path(field))]
    assert found == expected
