"""Measures against values worked out by hand, and the rules about who counts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, InputError
from splade_ptbr_connectors.evaluation.measures import MEASURES, measure

QRELS = {"q1": {"a": 2, "b": 1, "c": 0}, "q2": {"x": 1}}


def test_values_worked_out_by_hand() -> None:
    run = {"q1": {"c": 9.0, "b": 8.0, "z": 7.0, "a": 6.0}, "q2": {"x": 1.0}}
    found = measure(run, QRELS)
    ndcg_q1 = (1 / math.log2(3) + 2 / math.log2(5)) / (2 / math.log2(2) + 1 / math.log2(3))
    assert found.per_query["q1"]["nDCG@10"] == pytest.approx(ndcg_q1)
    assert found.means == pytest.approx(
        {"nDCG@10": (ndcg_q1 + 1) / 2, "nDCG@20": (ndcg_q1 + 1) / 2, "RR@10": 0.75, "R@100": 1.0, "R@1000": 1.0}
    )
    assert (found.queries, found.unanswered) == (2, 0)


def test_cut_offs_cut() -> None:
    run = {"q2": {f"d{n}": 100.0 - n for n in range(10)} | {"x": 1.0}}
    found = measure(run, {"q2": {"x": 1}}).means
    assert found["nDCG@10"] == found["RR@10"] == 0.0
    assert found["nDCG@20"] == pytest.approx(1 / math.log2(12))
    deep = {"q2": {f"d{n}": 1000.0 - n for n in range(100)} | {"x": 1.0}}
    assert measure(deep, {"q2": {"x": 1}}).means["R@100"] == 0.0
    assert measure(deep, {"q2": {"x": 1}}).means["R@1000"] == 1.0


def test_every_judged_query_counts_and_no_other() -> None:
    answered = {"q1": {"a": 2.0, "b": 1.0}}
    found = measure(answered | {"não-julgada": {"a": 1.0}}, QRELS)
    assert found.means["nDCG@10"] == 0.5  # q1 perfect, q2 without an answer
    assert (found.queries, found.unanswered) == (2, 1)
    assert measure(answered | {"q2": {}}, QRELS).means == found.means
    assert set(measure({}, QRELS).means.values()) == {0.0}
    assert measure({}, QRELS).unanswered == 2


def test_equal_scores_rank_the_larger_id_first_as_in_trec_eval() -> None:
    assert measure({"q2": {"x": 1.0, "y": 1.0}}, {"q2": {"x": 1}}, ["nDCG@10"]).means["nDCG@10"] == pytest.approx(1 / math.log2(3))
    assert measure({"q2": {"x": 1.0, "b": 1.0}}, {"q2": {"x": 1}}, ["nDCG@10"]).means["nDCG@10"] == 1.0


@given(st.dictionaries(st.sampled_from("abcxyz"), st.floats(0.1, 100.0), min_size=1))
def test_measures_lie_between_0_and_1_and_a_perfect_order_is_1(found: dict[str, float]) -> None:
    means = measure({"q1": found}, {"q1": QRELS["q1"]}).means
    assert all(0.0 <= value <= 1.0 for value in means.values())
    ideal = measure({"q1": {"a": 3.0, "b": 2.0} | {name: 0.01 for name in found if name not in "ab"}}, {"q1": QRELS["q1"]}).means
    assert ideal == pytest.approx(dict.fromkeys(MEASURES, 1.0))


def test_other_measures_by_name_and_unknown_ones_refused() -> None:
    assert measure({"q2": {"x": 1.0}}, {"q2": {"x": 1}}, ["P@5", "AP"]).means == pytest.approx({"P@5": 0.2, "AP": 1.0})
    for name in ("nDGC@10", "nDCG@", "", "1+1"):
        with pytest.raises(ConfigError, match="not a measure"):
            measure({"q2": {"x": 1.0}}, QRELS, [name])


def test_no_judgments_is_an_error() -> None:
    with pytest.raises(InputError, match="no relevance judgments"):
        measure({"q1": {"a": 1.0}}, {})
