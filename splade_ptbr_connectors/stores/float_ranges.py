"""Exact ranges on an engine that compares floats: between 2**53 and 2**63 many integers are the same float."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from ..filters import Range
from ..json_values import LARGEST_INTEGER, SMALLEST_INTEGER

_FIRST, _LAST = 2**53, 2**63  # bounds of this size fall among integers that floats do not tell apart


class Window(NamedTuple):
    """What passes near a bound: the integers `inside`, and the floats within `floats` but no integer `outside`."""

    inside: list[int]
    outside: list[int]
    floats: Range | None


def exact_pieces(bounds: Range, slack: int = 0) -> tuple[Range | None, list[Window]]:
    """Ranges of floats and lists of integers that together let pass what lies exactly within the bounds.

    The first range is right whether the engine turns an integer into a float before it compares (Qdrant without an index) or
    not (with one). The lists have at most some thousand integers: about 600 for a bound near 2**60, 1,300 with a slack of 1.

    Args:
        slack: by how many steps of a float a bound may be off when the engine has read it.
    """
    low, high = _lowest(bounds), _highest(bounds)
    if low > _step(high, 1) or math.inf in (low, -high):
        return None, []  # nothing lies there; with one step between the bounds, integers may
    crowded_low, crowded_high = _FIRST <= abs(_lower(bounds)[0]) <= _LAST, _FIRST <= abs(_upper(bounds)[0]) <= _LAST
    if not crowded_low and not crowded_high:
        return _as_floats(bounds, low, high), []
    reach = slack + 1  # which float an integer becomes is a matter of half a step, where the engine sees a bound of `slack` steps
    first = _step(low, reach) if crowded_low else low
    last = _step(high, -reach) if crowded_high else high
    if first > last:
        return None, [_window(bounds, low, high, reach, reach)]
    windows = [_window(bounds, low, min(_step(first, slack), high), reach, 0)] if crowded_low else []
    windows += [_window(bounds, max(_step(last, -slack), low), high, 0, reach)] if crowded_high else []
    core = _as_floats(bounds, low, high)
    if crowded_low:
        core = replace(core, gt=None, gte=first)
    return replace(core, lt=None, lte=last) if crowded_high else core, windows


def _window(bounds: Range, low: float, high: float, below: int, above: int) -> Window:
    """The integers from some steps of a float below to some above."""
    start, end = int(_step(min(low, high), -below)), int(_step(max(low, high), above))
    around = range(max(SMALLEST_INTEGER, start), min(LARGEST_INTEGER, end) + 1)
    inside, outside = [n for n in around if bounds.holds(n)], [n for n in around if not bounds.holds(n)]
    return Window(inside, outside, Range(bounds.field, gte=low, lte=high) if low <= high else None)


def _as_floats(bounds: Range, low: float, high: float) -> Range:
    """Small bounds as they were given, which is how the payload's own numbers reach the engine; for large ones the next float."""
    small_low, small_high = abs(_lower(bounds)[0]) < _FIRST, abs(_upper(bounds)[0]) < _FIRST
    lower: dict[str, Any] = {"gt": _float(bounds.gt), "gte": _float(bounds.gte)} if small_low else {"gt": None, "gte": _float(low)}
    upper: dict[str, Any] = {"lt": _float(bounds.lt), "lte": _float(bounds.lte)} if small_high else {"lt": None, "lte": _float(high)}
    return Range(bounds.field, **lower, **upper)


def _float(bound: float | None) -> float | None:
    return None if bound is None or math.isinf(bound) else float(bound)


def _lower(bounds: Range) -> tuple[float, bool]:
    """The tightest lower bound, and whether it is excluded."""
    return max(_given((bounds.gte, False), (bounds.gt, True)), default=(-math.inf, False))


def _upper(bounds: Range) -> tuple[float, bool]:
    bound, excluded = min(((bound, not out) for bound, out in _given((bounds.lte, False), (bounds.lt, True))), default=(math.inf, True))
    return bound, not excluded


def _given(*bounds: tuple[float | None, bool]) -> Iterator[tuple[float, bool]]:
    return ((bound, excluded) for bound, excluded in bounds if bound is not None)


def _lowest(bounds: Range) -> float:
    """The smallest float within the lower bounds."""
    bound, excluded = _lower(bounds)
    nearest = float(bound)
    return _step(nearest, 1) if nearest < bound or (excluded and nearest == bound) else nearest


def _highest(bounds: Range) -> float:
    """The largest float within the upper bounds."""
    bound, excluded = _upper(bounds)
    nearest = float(bound)
    return _step(nearest, -1) if nearest > bound or (excluded and nearest == bound) else nearest


def _step(value: float, steps: int) -> float:
    for _ in range(abs(steps)):
        value = math.nextafter(value, math.copysign(math.inf, steps))
    return value
