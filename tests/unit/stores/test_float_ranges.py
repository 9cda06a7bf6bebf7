"""Ranges that an engine compares as floats: the pieces together let pass exactly what lies within the bounds."""

from __future__ import annotations

import math
import operator
import sys
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.filters import Range, parse_filter
from splade_ptbr_connectors.stores.float_ranges import exact_pieces

LARGEST = sys.float_info.max
ANCHORS = [0, 1, 2**53, 2**54, 1_768_907_445_451_174_113, 2**60, 2**62, 2**63 - 1, 2**63, 2**64, 10**30, LARGEST]
KEYS = st.sampled_from(["gt", "gte", "lt", "lte"])


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, float], float]:
    """Bounds, and a number that a payload may hold: all within some steps of a float of one another, half of such a step included."""
    anchor = int(draw(st.sampled_from([1, -1]))) * draw(st.sampled_from(ANCHORS))
    step = max(1, int(math.ulp(anchor)))

    def near() -> float:
        number = int(anchor) + draw(st.integers(-14, 14)) * step // 2 + draw(st.integers(-2, 2))
        return float(number) if draw(st.booleans()) and abs(number) < LARGEST else number

    anywhere = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0, LARGEST, -LARGEST])
    keys = draw(st.lists(KEYS, min_size=1, max_size=3, unique=True))
    bounds = {key: near() if draw(st.integers(0, 4)) else draw(anywhere) for key in keys}
    value = near()
    assume(all(abs(bound) <= LARGEST for bound in bounds.values()))
    assume(abs(value) <= LARGEST)
    return bounds, value if isinstance(value, float) or -(2**63) <= value < 2**63 else float(value)


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


@given(cases(), st.booleans())
@example(({"gt": 2**60, "lt": 2**60 + 256}, 2**60 + 7), False)  # two floats that are neighbours, and integers between them
@settings(max_examples=500)
def test_what_passes_lies_within_the_bounds(case: tuple[dict[str, float], float], indexed: bool) -> None:
    bounds, value = case
    [condition] = parse_filter({"n": bounds})
    assert isinstance(condition, Range)
    assert condition.holds(value) == holds(bounds, value)
    assert passes(condition, value, 0, 0, indexed=indexed) == holds(bounds, value)


@given(cases().filter(lambda case: isinstance(case[1], int)), st.sampled_from([-1, 0, 1]), st.booleans())
@settings(max_examples=500)
def test_integers_are_exact_also_for_a_reader_that_is_off_by_a_bit(case: tuple[dict[str, float], int], steps: int, indexed: bool) -> None:
    bounds, value = case
    [condition] = parse_filter({"n": bounds})
    assert isinstance(condition, Range)
    assert passes(condition, value, 1, steps, indexed=indexed) == holds(bounds, value)


@given(cases(), st.sampled_from([0, 1]))
def test_lists_are_short(case: tuple[dict[str, float], float], slack: int) -> None:
    [condition] = parse_filter({"n": case[0]})
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
