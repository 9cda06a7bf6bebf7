"""Paired tests: properties that hold for any values, and agreement with enumeration, scipy and textbook numbers."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from splade_ptbr_connectors.errors import ConfigError, InputError
from training.measure.significance import (
    PairedComparison,
    bootstrap_interval,
    compare_values,
    corrected,
    holm,
    is_exact,
    randomisation_test,
    t_test,
)

FEW = {"permutations": 10_000, "resamples": 200}
values = st.lists(st.floats(0, 1, allow_nan=False, width=32), min_size=1, max_size=40)


def pairs(draw_from: list[float], seed: int) -> tuple[dict[str, float], dict[str, float]]:
    other = np.random.default_rng(seed).permutation(draw_from)
    return ({f"q{n}": v for n, v in enumerate(draw_from)}, {f"q{n}": float(v) for n, v in enumerate(other)})


@settings(max_examples=40)
@given(values, st.integers(0, 1000))
def test_swapping_the_models_only_turns_the_sign(draw_from: list[float], seed: int) -> None:
    a, b = pairs(draw_from, seed)
    forth, back = compare_values("c", "nDCG@10", a, b, **FEW), compare_values("c", "nDCG@10", b, a, **FEW)
    assert forth.difference == -back.difference
    assert (forth.wins, forth.ties, forth.losses) == (back.losses, back.ties, back.wins)
    assert forth.p_randomisation == back.p_randomisation
    assert forth.p_t_test == pytest.approx(back.p_t_test) if forth.p_t_test is not None else back.p_t_test is None
    assert forth.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=1e-12)
    assert [c.query_id for c in forth.changed] == [c.query_id for c in back.changed]


@settings(max_examples=40)
@given(values, st.integers(0, 1000))
def test_p_values_lie_above_0_and_at_most_at_1_and_counts_add_up(draw_from: list[float], seed: int) -> None:
    comparison = compare_values("c", "nDCG@10", *pairs(draw_from, seed), **FEW)
    assert 0 < comparison.p_randomisation <= 1
    assert comparison.p_t_test is None or 0 < comparison.p_t_test <= 1
    assert comparison.wins + comparison.ties + comparison.losses == comparison.queries == len(draw_from)
    assert comparison.interval[0] <= comparison.interval[1]


@given(values)
def test_identical_models_have_p_1_and_an_interval_of_0(draw_from: list[float]) -> None:
    a, _ = pairs(draw_from, 0)
    comparison = compare_values("c", "nDCG@10", a, dict(a), **FEW)
    assert (comparison.p_randomisation, comparison.p_t_test, comparison.interval) == (1.0, 1.0, (0.0, 0.0))
    assert comparison.ties == comparison.queries and comparison.changed == ()


@settings(max_examples=30)
@given(st.lists(st.floats(-1, 1, allow_nan=False, width=16), min_size=1, max_size=9))
def test_few_queries_give_the_p_value_of_every_choice_of_signs(differences: list[float]) -> None:
    observed = abs(math.fsum(differences))
    sums = [abs(math.fsum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=len(differences))]
    expected = sum(total >= observed - 1e-9 for total in sums) / len(sums)
    assert randomisation_test(np.array(differences)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_drawn_signs_agree_with_enumerated_ones(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.2, 1, 16)
    assert is_exact(differences, 2**16) and not is_exact(differences, 10_000)
    exact, drawn = randomisation_test(differences, permutations=2**16), randomisation_test(differences, permutations=50_000, seed=seed)
    assert drawn == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / 50_000) + 1e-4)


def test_drawn_signs_agree_with_scipy() -> None:
    differences = np.random.default_rng(3).normal(0.1, 1, 60)
    oracle = stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=50_000, rng=np.random.default_rng(1))
    assert randomisation_test(differences, permutations=50_000) == pytest.approx(oracle.pvalue, abs=0.01)


def test_zeros_change_nothing_in_the_randomisation_test() -> None:
    differences = np.random.default_rng(3).normal(0.1, 1, 60)
    assert randomisation_test(differences) == randomisation_test(np.concatenate([differences, np.zeros(500)]))


def test_the_t_test_is_scipys_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(50), rng.random(50)
    assert t_test(b - a) == pytest.approx(stats.ttest_rel(b, a).pvalue)


@pytest.mark.parametrize("differences", [[0.5], [0.25] * 5, [0.1, 0.1, 0.1]])
def test_the_t_test_is_not_defined_without_variance(differences: list[float]) -> None:
    assert t_test(np.array(differences)) is None


def test_a_constructed_difference_is_found() -> None:
    rng = np.random.default_rng(0)
    a = rng.uniform(0.2, 0.6, 200)
    b = a + 0.05 + rng.normal(0, 0.1, 200)
    comparison = compare_values(
        "c", "nDCG@10", dict(zip(map(str, range(200)), a, strict=True)), dict(zip(map(str, range(200)), b, strict=True))
    )
    assert comparison.p_randomisation < 0.001 and comparison.p_t_test is not None and comparison.p_t_test < 0.001
    assert comparison.interval[0] > 0 and comparison.interval[0] < comparison.difference < comparison.interval[1]


def test_p_is_uniform_when_the_models_are_the_same_at_heart() -> None:
    rng = np.random.default_rng(7)
    p_values = [randomisation_test(rng.normal(0, 1, 25), permutations=10_000, seed=n) for n in range(300)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.04)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    intervals = [bootstrap_interval(rng.normal(0.3, 1, 60), resamples=400, seed=n) for n in range(300)]
    assert np.mean([low <= 0.3 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.04)


def test_the_seed_alone_decides_what_is_drawn() -> None:
    differences = np.random.default_rng(0).normal(0.1, 1, 40)
    assert randomisation_test(differences, seed=1) == randomisation_test(differences, seed=1)
    assert len({randomisation_test(differences, seed=n) for n in range(5)}) > 1


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(0).normal(0.1, 1, 64)  # whole bytes of signs: the stream of random bits is the same
    whole = randomisation_test(differences, permutations=10_000), bootstrap_interval(differences, resamples=1000)
    monkeypatch.setattr("training.measure.significance.BLOCK_CELLS", 8192)
    assert (randomisation_test(differences, permutations=10_000), bootstrap_interval(differences, resamples=1000)) == whole


def test_holm_on_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= min(1.0, p * len(p_values)) + 1e-12 for p, q in zip(p_values, adjusted, strict=True))
    for one, other in product(range(len(p_values)), repeat=2):
        assert p_values[one] > p_values[other] or adjusted[one] <= adjusted[other]


def test_the_correction_is_over_all_collections_of_a_comparison() -> None:
    differing = {f"q{n}": 0.1 + 0.01 * n for n in range(12)}
    one = compare_values("one", "RR@10", dict.fromkeys(differing, 0.0), differing)
    two = compare_values("two", "RR@10", differing, differing)
    both = corrected([one, two])
    assert [c.p_holm for c in both] == [2 * one.p_randomisation, 1.0]
    assert [c.p_randomisation for c in both] == [one.p_randomisation, 1.0]


def test_the_queries_that_changed_most_come_first_and_unchanged_ones_never() -> None:
    comparison = compare_values("c", "RR@10", {"x": 0.5, "y": 0.5, "z": 0.5}, {"x": 0.5, "y": 0.6, "z": 0.0}, **FEW)
    assert [(c.query_id, c.a, c.b) for c in comparison.changed] == [("z", 0.5, 0.0), ("y", 0.5, 0.6)]


def test_queries_of_one_model_alone_are_counted_not_hidden() -> None:
    comparison = compare_values("c", "RR@10", {"x": 0.5, "y": 0.5}, {"y": 1.0, "z": 0.5}, **FEW)
    assert (comparison.queries, comparison.left_out, comparison.difference) == (1, 2, 0.5)
    assert isinstance(comparison, PairedComparison) and comparison.to_dict()["changed"][0]["query_id"] == "y"


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [({"x": 1.0}, {"y": 1.0}, "no query in common"), ({}, {}, "no query in common"), ({"x": math.nan}, {"x": 1.0}, "'x' is nan")],
)
def test_values_that_cannot_be_compared_are_errors(a: dict[str, float], b: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare_values("c", "nDCG@10", a, b)


def test_settings_that_give_no_trustworthy_p_value_are_errors() -> None:
    with pytest.raises(ConfigError, match="at least 10,000"):
        randomisation_test(np.array([1.0]), permutations=999)
    with pytest.raises(ConfigError, match="resamples is 0"):
        bootstrap_interval(np.array([1.0]), resamples=0)
    with pytest.raises(InputError, match="at least one query"):
        randomisation_test(np.array([]))
