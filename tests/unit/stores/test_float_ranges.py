"""Ranges that an engine compares as floats: the pieces together let pass exactly what lies within the bounds."""

from __future__ import annotations

import math
import operator
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.filters import Range, parse_filter
from splade_ptbr_connectors.stores.float_ranges import exact_pieces

LARGEST = sys.float_info.max
anchors = st.sampled_from([0, 1, 2**53, 2**54, 1_768_907_445_451_174_113, 2**60, 2**62, 2**63 - 1, 2**63, 2**64, 10**30])
near = st.integers(-2100, 2100) | st.integers(-3, 3)
integers = st.builds(lambda sign, anchor, offset: sign * (anchor + offset), st.sampled_from([1, -1]), anchors, near)
numbers = integers | integers.map(float) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([LARGEST, -LARGEST])
kept = integers.filter(lambda number: -(2**63) <= number < 2**63) | integers.map(float) | st.floats(allow_nan=False, allow_infinity=False)
bounds = st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), numbers, min_size=1)


def holds(bounds: dict[str, float], value: float) -> bool:
    compared = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
    return all(compared[key](value, bound) for key, bound in bounds.items())


def moved(piece: Range | None, steps: int) -> Range | None:
    """The bounds as a reader sees them that is off by some last bits; such numbers have many digits, which small ones here have not."""

    def one(bound: float | None) -> float | None:
        if bound is None or not 2**53 <= abs(bound) <= 2**64:
            return bound
        return math.nextafter(bound, steps * math.inf) if steps else bound

    return None if piece is None else Range(piece.field, *(one(getattr(piece, key)) for key in ("gt", "gte", "lt", "lte")))


def passes(given_bounds: Range, value: float, slack: int, steps: int, *, indexed: bool) -> bool:
    """As Qdrant would: a range compares floats (an index of integers the integers), a list of integers finds integers only."""

    def compared(piece: Range | None) -> bool:
        return piece is not None and piece.holds(value if indexed and isinstance(value, int) else float(value))

    core, windows = exact_pieces(given_bounds, slack)
    found = compared(moved(core, steps))
    for window in windows:
        listed = isinstance(value, int) and value in window.inside
        floats = compared(moved(window.floats, steps)) and not (isinstance(value, int) and value in window.outside)
        found = found or listed or floats
    return found


@given(bounds, kept, st.booleans())
def test_what_passes_lies_within_the_bounds(bounds: dict[str, float], value: float, indexed: bool) -> None:
    [condition] = parse_filter({"n": bounds})
    assert isinstance(condition, Range)
    assert condition.holds(value) == holds(bounds, value)
    assert passes(condition, value, 0, 0, indexed=indexed) == holds(bounds, value)


@given(bounds, kept.filter(lambda value: isinstance(value, int)), st.sampled_from([-1, 0, 1]), st.booleans())
def test_integers_are_exact_also_for_a_reader_that_is_off_by_a_bit(bounds: dict[str, float], value: int, steps: int, indexed: bool) -> None:
    [condition] = parse_filter({"n": bounds})
    assert isinstance(condition, Range)
    assert passes(condition, value, 1, steps, indexed=indexed) == holds(bounds, value)


@given(bounds, st.sampled_from([0, 1]))
def test_lists_are_short(bounds: dict[str, float], slack: int) -> None:
    [condition] = parse_filter({"n": bounds})
    assert isinstance(condition, Range)
    _, windows = exact_pieces(condition, slack)
    assert sum(len(window.inside) + len(window.outside) for window in windows) <= 20_000


@pytest.mark.parametrize("bounds", [{"gt": 5}, {"gte": -1.5, "lt": 2**53 - 1}, {"lt": 1e300}, {"gte": 0.1, "lte": 0.3}])
def test_common_bounds_stay_one_range_as_given(bounds: dict[str, Any]) -> None:
    [condition] = parse_filter({"n": bounds})
    assert isinstance(condition, Range)
    core, windows = exact_pieces(condition)
    assert windows == []
    assert core == condition or "lt" in bounds  # a large bound that is excluded becomes the float before it
