"""State machines against plain lists of what was measured; an interruption at any point changes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, TrainingError
from training.loop.collapse import CollapseGuard
from training.loop.selection import Ceilings, Choice, EarlyStop, Verdict


@dataclass
class Numbers:
    quality: float = 0.5
    terms_query: float = 10.0
    terms_document: float = 100.0
    queries: int = 10
    documents: int = 10
    empty_queries: int = 0
    empty_documents: int = 0


Splits = dict[str, Numbers]
numbers = st.builds(
    Numbers,
    quality=st.sampled_from([0.1, 0.2, 0.3, 0.4]),
    terms_query=st.sampled_from([5.0, 20.0, 21.0]),
    terms_document=st.sampled_from([50.0, 180.0, 181.0, 4000.0]),
    empty_queries=st.sampled_from([0, 5, 6]),
    empty_documents=st.sampled_from([0, 5, 6]),
)
histories = st.lists(st.fixed_dictionaries({"faquad": numbers, "pira": numbers}), max_size=12)
ceilings = st.builds(
    Ceilings,
    max_terms_document=st.none() | st.just(180.0),
    max_terms_query=st.none() | st.just(20.0),
    max_split_loss=st.none() | st.sampled_from([0.0, 0.15]),
)


def restarted(machine: Any, fresh: Callable[[], Any]) -> Any:
    """Another machine with the state that went through a file."""
    other = fresh()
    other.load_state_dict(json.loads(json.dumps(machine.state_dict(), allow_nan=False)))
    return other


def keeps(limits: Ceilings, splits: Splits, start: Splits) -> bool:
    return all(
        split.terms_document <= (limits.max_terms_document or math.inf)
        and split.terms_query <= (limits.max_terms_query or math.inf)
        and (limits.max_split_loss is None or not start[name].quality - split.quality > limits.max_split_loss)
        for name, split in splits.items()
    )


# -- choice -----------------------------------------------------------------------------------------------------------


@given(histories, ceilings)
def test_the_choice_is_the_first_of_the_best_that_keep_the_ceilings(history: list[Splits], limits: Ceilings) -> None:
    choice = Choice(limits)
    verdicts = [choice.consider(100 * step, splits) for step, splits in enumerate(history)]
    means = [math.fsum(split.quality for split in splits.values()) / 2 for splits in history]
    eligible = [step for step, splits in enumerate(history) if keeps(limits, splits, history[0])]
    assert [verdict.mean for verdict in verdicts] == means
    assert [step for step, verdict in enumerate(verdicts) if verdict.eligible] == eligible
    assert all((verdict.reason is None) == verdict.eligible for verdict in verdicts)
    assert choice.best_step == (100 * max(eligible, key=lambda step: (means[step], -step)) if eligible else None)
    assert choice.best_mean == (max(means[step] for step in eligible) if eligible else None)
    chosen = [step for step, verdict in enumerate(verdicts) if verdict.best]
    assert chosen == [step for step in eligible if all(means[step] > means[earlier] for earlier in eligible if earlier < step)]


@given(histories, ceilings, st.integers(0, 12))
def test_a_choice_that_is_interrupted_anywhere_decides_the_same(history: list[Splits], limits: Ceilings, place: int) -> None:
    unbroken, broken = Choice(limits), Choice(limits)
    for step, splits in enumerate(history):
        if step == place:
            broken = restarted(broken, lambda: Choice(limits))
        assert unbroken.consider(step, splits) == broken.consider(step, splits)
    assert unbroken.state_dict() == broken.state_dict()
    assert unbroken.outcome() == broken.outcome()


def test_an_unregularised_model_wins_on_quality_alone_and_a_ceiling_keeps_it_out() -> None:
    sparse, unregularised = {"dev": Numbers(0.30, terms_document=150)}, {"dev": Numbers(0.40, terms_document=9000)}
    without, held = Choice(Ceilings()), Choice(Ceilings(max_terms_document=180))
    for choice in (without, held):
        choice.consider(1, sparse)
        choice.consider(2, unregularised)
    assert (without.best_step, held.best_step) == (2, 1)


def test_the_ceilings_hold_on_every_split_not_on_their_mean() -> None:
    verdict = Choice(Ceilings(max_terms_document=180)).consider(1, {"a": Numbers(terms_document=1), "b": Numbers(terms_document=181)})
    assert verdict == Verdict(0.5, False, "b: 181.0 terms per document, the ceiling is 180", False)


def test_a_loss_on_one_split_counts_from_the_start_whatever_the_mean_says() -> None:
    choice = Choice(Ceilings(max_split_loss=0.01))
    assert choice.consider(0, {"a": Numbers(0.5), "b": Numbers(0.5)}).best
    verdict = choice.consider(1, {"a": Numbers(0.9), "b": Numbers(0.48)})
    assert (verdict.eligible, verdict.reason) == (False, "b: 0.4800 is 0.0200 below the start, 0.01 is allowed")
    assert choice.consider(2, {"a": Numbers(0.6), "b": Numbers(0.49)}).best
    assert choice.best_step == 2


def test_every_reason_is_told() -> None:
    choice = Choice(Ceilings(max_terms_document=180, max_terms_query=20, max_split_loss=0.0))
    choice.consider(0, {"dev": Numbers()})
    reason = choice.consider(1, {"dev": Numbers(0.4, terms_query=30, terms_document=200)}).reason
    assert reason is not None
    assert reason.split("; ") == [
        "dev: 200.0 terms per document, the ceiling is 180",
        "dev: 30.0 terms per query, the ceiling is 20",
        "dev: 0.4000 is 0.1000 below the start, 0 is allowed",
    ]


def test_a_run_without_an_eligible_checkpoint_chooses_none_and_names_the_least_bad() -> None:
    choice = Choice(Ceilings(max_terms_document=180))
    for step, (quality, terms) in enumerate([(0.9, 9000.0), (0.5, 360.0), (0.6, 360.0), (0.6, 360.0), (0.7, 400.0)]):
        assert not choice.consider(step, {"dev": Numbers(quality, terms_document=terms)}).eligible
    assert choice.best_step is None
    assert choice.least_bad is not None
    assert (choice.least_bad.step, choice.least_bad.excess) == (2, 1.0)
    assert "no checkpoint is chosen" in choice.outcome()
    assert "least bad is step 2, mean quality 0.6000 (dev: 360.0 terms per document, the ceiling is 180)" in choice.outcome()


def test_a_quality_that_is_no_number_is_never_chosen() -> None:
    choice = Choice(Ceilings())
    assert choice.consider(1, {"dev": Numbers(math.nan)}).reason == "the mean quality is nan"
    assert choice.outcome() == "no checkpoint is chosen: none was measured with a finite quality"
    assert choice.consider(2, {"dev": Numbers(0.0)}).best


def test_other_splits_than_at_the_start_or_none_are_refused() -> None:
    choice = Choice(Ceilings())
    with pytest.raises(ConfigError, match="no validation split"):
        choice.consider(0, {})
    choice.consider(0, {"a": Numbers()})
    with pytest.raises(ConfigError, match="measured splits are b, at the start they were a"):
        choice.consider(1, {"b": Numbers()})


@pytest.mark.parametrize(
    "settings", [{"max_terms_document": 0}, {"max_terms_query": -1}, {"max_terms_document": math.nan}, {"max_split_loss": -0.1}]
)
def test_ceilings_that_mean_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Ceilings(**settings)


# -- early stopping ---------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=20), st.integers(1, 5), st.integers(0, 20))
def test_a_run_ends_at_the_first_measurement_that_has_waited_long_enough(bests: list[bool], patience: int, place: int) -> None:
    unbroken, broken = EarlyStop(patience), EarlyStop(patience)
    for number, best in enumerate(bests):
        if number == place:
            broken = restarted(broken, lambda: EarlyStop(patience))
        tail = bests[: number + 1][-patience:]
        expected = len(tail) == patience and not any(tail) and any(bests[: number + 1])
        assert unbroken.measured(best=best) is broken.measured(best=best) is expected
    assert unbroken.state_dict() == broken.state_dict()


def test_waiting_for_the_first_best_is_not_counted() -> None:
    stop = EarlyStop(2)
    assert not any(stop.measured(best=False) for _ in range(50))
    assert [stop.measured(best=best) for best in (True, False, False)] == [False, False, True]
    assert restarted(stop, lambda: EarlyStop(2)).is_over


def test_without_patience_a_run_never_ends_early() -> None:
    stop = EarlyStop(None)
    assert not any(stop.measured(best=number == 0) for number in range(100))


@pytest.mark.parametrize("patience", [0, -1])
def test_a_patience_below_one_is_refused(patience: int) -> None:
    with pytest.raises(ConfigError, match=f"patience is {patience}"):
        EarlyStop(patience)


# -- collapse -----------------------------------------------------------------------------------------------------------


def entry(step: int = 1, **values: Any) -> dict[str, Any]:
    return {"event": "step", "step": step, "source": "toy", "loss": 1.0, "max_activation": 3.0, "gradient_norm": 1.0, "tokens": 10} | values


def fate(guard: CollapseGuard, events: list[dict[str, Any] | Splits], place: int | None = None) -> tuple[int, str] | None:
    """At which event the guard raised and what it said; interrupted before event `place`."""
    share = guard.max_empty_share
    for number, event in enumerate(events):
        if number == place:
            guard = restarted(guard, lambda: CollapseGuard(share))
        try:
            guard.step(event) if "event" in event else guard.validation(number + 1, event)  # type: ignore[arg-type]
        except TrainingError as error:
            return number, str(error)
    return None


entries = st.builds(
    entry,
    loss=st.sampled_from([1.0] * 20 + [math.nan]),
    max_activation=st.sampled_from([0.1, 4.0, 39.0, 41.0, 80.0]),
    gradient_norm=st.sampled_from([1.0, math.inf, math.nan]),
)
events = st.lists(entries | st.fixed_dictionaries({"faquad": numbers, "pira": numbers}), max_size=60)


@given(events, st.integers(0, 60))
def test_a_guard_that_is_interrupted_anywhere_raises_at_the_same_event(history: list[dict[str, Any]], place: int) -> None:
    assert fate(CollapseGuard(0.5), history) == fate(CollapseGuard(0.5), history, place)


@pytest.mark.parametrize(
    "history",
    [
        [entry(max_activation=30.0), *[entry(max_activation=310.0)] * 3],
        [entry(), *[entry(gradient_norm=math.inf)] * 20],
        [{"dev": Numbers()}, *[{"dev": Numbers(empty_documents=6)}] * 2],
    ],
    ids=["activations", "gradients", "empty"],
)
def test_what_was_counted_before_an_interruption_still_counts(history: list[Any]) -> None:
    for place in range(len(history)):
        found = fate(CollapseGuard(0.5), history, place)
        assert found is not None
        assert found[0] == len(history) - 1


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_and_says_where_it_came_from(loss: float) -> None:
    guard = CollapseGuard(0.5)
    guard.step(entry())
    with pytest.raises(TrainingError) as raised:
        guard.step(entry(7, loss=loss, contrastive=2.5, regularizer_document=math.inf))
    message = str(raised.value)
    assert f"collapsed at step 7: the loss is {loss} (logged with it: regularizer_document inf, " in message
    assert "contrastive 2.5" in message
    assert "lower learning rate" in message
    assert "number format" in message


def test_activations_that_run_away_stop_the_run_only_when_they_stay() -> None:
    spikes = [entry(n, max_activation=50.0 if n % 3 else 3.0) for n in range(30)]
    assert fate(CollapseGuard(0.5), list(spikes)) is None
    found = fate(CollapseGuard(0.5), [entry(max_activation=3.0), *(entry(n, max_activation=50.0) for n in range(2, 9))])
    assert found is not None
    assert found[0] == 3
    assert "the largest activation is 50, above 40 for 3 steps in a row (it was 3 at first)" in found[1]
    assert fate(CollapseGuard(0.5), [entry(max_activation=math.inf)]) is not None


def test_a_model_whose_weights_start_high_is_judged_by_their_growth() -> None:
    assert fate(CollapseGuard(0.5), [entry(max_activation=value) for value in (30.0, *[290.0] * 9)]) is None
    assert fate(CollapseGuard(0.5), [entry(max_activation=value) for value in (30.0, *[310.0] * 9)]) is not None


def test_gradients_may_overflow_while_a_scaler_finds_its_scale_but_not_for_ever() -> None:
    lost = [entry(n, gradient_norm=math.inf) for n in range(19)]
    assert fate(CollapseGuard(0.5), [*lost, entry(20), *lost]) is None
    found = fate(CollapseGuard(0.5), [*lost, entry(20, gradient_norm=math.nan)])
    assert found is not None
    assert "the gradient norm is nan, not finite for 20 steps in a row" in found[1]


def test_a_step_that_logs_only_its_loss_can_be_watched() -> None:
    assert fate(CollapseGuard(0.5), [{"event": "step", "step": 1, "loss": 1.0}]) is None


@pytest.mark.parametrize("side", ["empty_queries", "empty_documents"])
def test_empty_vectors_stop_the_run_at_the_second_measurement_in_a_row(side: str) -> None:
    fine, bad = {"a": Numbers(), "b": Numbers(**{side: 5})}, {"a": Numbers(), "b": Numbers(**{side: 6})}
    assert fate(CollapseGuard(0.5), [bad, fine, bad, fine]) is None
    found = fate(CollapseGuard(0.5), [fine, bad, bad])
    assert found is not None
    assert found[0] == 2
    assert f"b: 6 of 10 {'query' if side == 'empty_queries' else 'document'} vectors (60%) are empty" in found[1]
    assert "above max_empty_share = 0.5 at 2 measurements in a row" in found[1]
    for advice in ("lower lambda", "longer ramp_steps", "lower learning rate"):
        assert advice in found[1]


def test_the_start_of_a_run_may_be_empty() -> None:
    guard, empty = CollapseGuard(0.5), {"a": Numbers(empty_documents=10)}
    guard.validation(0, empty)
    guard.validation(10, empty)
    with pytest.raises(TrainingError, match="step 20"):
        guard.validation(20, empty)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="max_empty_share"):
        CollapseGuard(share)
