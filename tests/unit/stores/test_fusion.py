"""What hits of two searches add to a fused score: shares that know no scale, keep the order of each search, and follow the weight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.stores.fusion import ReciprocalRanks, WeightedSum, check_fusion

DEPTH = 12
best_first = st.lists(st.integers(1, 200), max_size=DEPTH).map(lambda scores: [score / 8 for score in sorted(scores, reverse=True)])
weights = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@given(best_first, best_first, weights)
def test_shares_are_from_0_to_the_weight_in_the_order_of_the_search(sparse: list[float], dense: list[float], weight: float) -> None:
    parts = WeightedSum(weight).parts(sparse, dense, DEPTH)
    assert len(parts) == len(sparse) + len(dense)
    for scores, share in ((parts[: len(sparse)], 1 - weight), (parts[len(sparse) :], weight)):
        assert scores == sorted(scores, reverse=True)
        assert scores[:1] == [share][: len(scores)] and all(0 <= score <= share for score in scores)
    if 0 < len(sparse) < DEPTH and weight < 1:
        assert parts[len(sparse) - 1] > 0  # a document that is found counts more than one without a term of the query


@given(best_first, best_first, weights, st.integers(1, 8), st.integers(-40, 40))
def test_scales_change_nothing(sparse: list[float], dense: list[float], weight: float, factor: int, shift: int) -> None:
    fusion = WeightedSum(weight)
    expected = pytest.approx(fusion.parts(sparse, dense, DEPTH), abs=1e-12)
    assert fusion.parts([factor * score for score in sparse], [factor * score + shift for score in dense], DEPTH) == expected
    assert fusion.parts(sparse, [100 - score for score in dense], DEPTH) == expected  # distances: the nearest has the smallest


@given(best_first, best_first, st.integers(1, 100))
def test_ranks_count_from_1(sparse: list[float], dense: list[float], k: int) -> None:
    expected = [1 / (k + rank) for scores in (sparse, dense) for rank in np.arange(len(scores)) + 1]
    assert ReciprocalRanks(k).parts(sparse, dense, DEPTH) == pytest.approx(expected)


def test_the_fusion_is_named_by_its_option() -> None:
    assert check_fusion(None, None) == WeightedSum(0.3)
    assert check_fusion(1, None) == WeightedSum(1.0)
    assert check_fusion(None, 10) == ReciprocalRanks(10)
