"""What every picture is made of: smoothing, labels that lie apart, figures for people."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.plots.style import WINDOWS, smoothed, spread
from splade_ptbr_connectors.plots.text import duration, number

VALUES = st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=400)


@given(values=VALUES)
def test_smoothing_is_the_mean_of_the_window_and_keeps_constants(values: list[float]) -> None:
    raw = np.array(values)
    line, window = smoothed(raw)
    assert len(line) == len(raw) and window == max(1, len(raw) // WINDOWS)
    for place in range(len(raw)):
        around = raw[max(0, place - (window - 1) // 2) : place + window // 2 + 1]
        finite = around[np.isfinite(around)]
        expected = finite.mean() if len(finite) else math.nan
        assert line[place] == pytest.approx(expected, abs=1e-4, nan_ok=True)


@given(places=st.lists(st.floats(0, 1), max_size=12).map(sorted), gap=st.floats(0.001, 0.2))
def test_labels_keep_their_order_and_distance(places: list[float], gap: float) -> None:
    moved = spread(places, gap)
    assert len(moved) == len(places)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(moved))
    far_apart = all(b - a >= gap for a, b in pairwise(places))
    assert not far_apart or moved == pytest.approx(places)


@given(value=st.floats(-1e12, 1e12))
def test_numbers_for_people_are_within_a_percent(value: float) -> None:
    shown = float(number(value).replace(",", ""))
    assert shown == pytest.approx(value, rel=0.01, abs=1e-300)


def test_numbers_for_people() -> None:
    shown = [number(value) for value in (0.8153, 12345.6, 0, 22.37, 0.000012, 1e10, None, math.nan)]
    assert shown == ["0.815", "12,346", "0", "22.4", "1.2e-5", "1e+10", "-", "-"]
    assert [duration(seconds) for seconds in (12, 600, 20 * 3600 + 120)] == ["12 s", "10 min", "20 h 02 min"]
