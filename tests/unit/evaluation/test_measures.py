"""Measures against values worked out by hand, and the rules about who counts."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, InputError
from splade_ptbr_connectors.evaluation.measures import MEASURES, measure, parse_measure
from splade_ptbr_connectors.evaluation.runs import read_run, write_run

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


@pytest.mark.parametrize("name", ["nDCG@1", "RR@1", "RR", "P@1", "AP@1", "R@1"])
@pytest.mark.parametrize("order", [["a", "z"], ["z", "a"]])
@pytest.mark.parametrize("lower", [1.0, math.nextafter(1.0, 0.0)])
def test_the_order_of_the_run_is_measured_whatever_the_ids_are_called(order: list[str], lower: float, name: str) -> None:
    """trec_eval reads scores as float32 and ranks equal ones by id, RR@k the other way round."""
    run = {"q": {order[0]: 1.0, order[1]: lower}}
    expected = [1.0, 0.5 if name == "RR" else 0.0]
    assert [measure(run, {"q": {relevant: 1}}, [name]).means[name] for relevant in order] == expected


@given(st.permutations(["a", "b", "c", "d", "e", "f"]), st.lists(st.sampled_from([1.0, 2.0, 1.0 + 1e-9]), min_size=6, max_size=6))
def test_a_run_is_measured_as_its_file_read_back_is(order: list[str], scores: list[float]) -> None:
    run = {"q1": dict(zip(order, scores, strict=True))}
    with tempfile.TemporaryDirectory() as folder:
        write_run(Path(folder) / "run.trec", run)
        assert measure(read_run(Path(folder) / "run.trec"), QRELS) == measure(run, QRELS)


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


@pytest.mark.parametrize("name", ["nDCG@0", "nDCG(cutoff=0)@0", "R@0", "P@0", "AP@0", "Success@0", "RR@0", "nDCG@1.5", "nDCG(cutoff='a')"])
def test_a_cut_off_below_1_is_refused_before_trec_eval_ends_the_process(name: str) -> None:
    with pytest.raises(ConfigError, match="no cut-off of at least 1"):
        measure({"q2": {"x": 1.0}}, QRELS, [name])


@pytest.mark.parametrize("name", ["P(rel=0)@5", "IPrec@2", "SetF(beta=0)"])
def test_a_measure_with_a_value_that_it_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be computed here"):
        measure({"q2": {"x": 1.0}}, QRELS, [name])


NAMES = sorted(ir_measures.measures.registry)
PARAMETERS = ["", "@10", "(max_rel=3)", "(max_rel=3)@10", "@.5", "(dcg='exp-log2')@10", "(rel=2)", "(judged_only=True)@10"]


@pytest.mark.parametrize("name", [name + parameters for name in NAMES for parameters in PARAMETERS])
def test_a_measure_that_is_accepted_is_computed_whatever_the_ids(name: str) -> None:
    try:
        parsed = str(parse_measure(name))
    except ConfigError:
        return
    qrels = {"1": {"1": 2, "2": 0, "3": 1}, "2": {"1": 1}}
    run = {"1": {"9": 3.0, "3": 2.0, "1": 1.0}, "2": {"1": 1.0}}
    found = measure(run, qrels, [name])
    assert math.isfinite(found.means[parsed])
    named = dict(zip("1239", ["q é\tx", "", "d'1", "-0"], strict=True))  # one-to-one, and no numbers
    renamed = [{named[q]: {named[d]: value for d, value in row.items()} for q, row in rows.items()} for rows in (run, qrels)]
    again = measure(*renamed, [name])  # type: ignore[arg-type]
    assert again.means == found.means
    assert again.per_query == {named[q]: values for q, values in found.per_query.items()}


@pytest.mark.parametrize("grade", [1, 3, 1000, 2**15, 10**6])
def test_gains_are_linear_up_to_the_largest_grade(grade: int) -> None:
    found = measure({"q": {"a": 2.0, "b": 1.0}}, {"q": {"a": 1, "b": grade}}, ["nDCG@10"]).means["nDCG@10"]
    best, other = max(grade, 1), min(grade, 1)
    assert found == pytest.approx((1 + grade / math.log2(3)) / (best + other / math.log2(3)))


@pytest.mark.parametrize("grade", [10**6 + 1, 2**40, 2**70, -(2**40), 0.5, 1.0, "1", None])
def test_grades_that_cannot_be_measured_with_are_refused(grade: Any) -> None:
    with pytest.raises(InputError, match="the relevance of document 'a'"):
        measure({"q": {"a": 1.0}}, {"q": {"a": grade}})


def test_a_measure_that_does_not_take_the_grades_says_so() -> None:
    with pytest.raises(ConfigError, match=r"ERR@10 .*gdeval takes grades up to 4"):
        measure({"q": {"a": 1.0}}, {"q": {"a": 5}}, ["ERR@10"])


@pytest.mark.parametrize("score", [math.nan, math.inf, "1", None])
def test_scores_that_have_no_order_are_refused(score: Any) -> None:
    with pytest.raises(InputError, match="the score of document 'a'"):
        measure({"q": {"a": score}}, {"q": {"a": 1}})


def test_unsigned_scores_are_ranked_by_their_values() -> None:
    run = {"q": {"z": np.uint8(1), "a": np.uint8(2)}}
    assert measure(run, {"q": {"a": 1}}, ["RR"]).means == {"RR": 1.0}  # type: ignore[dict-item]


def test_no_judgments_is_an_error() -> None:
    for qrels in ({}, {"q1": {}}):
        with pytest.raises(InputError, match="no relevance judgments"):
            measure({"q1": {"a": 1.0}}, qrels)
