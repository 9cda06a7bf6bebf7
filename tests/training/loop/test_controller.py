"""The sparsity controller reaches its target on simulated models of many kinds and on a real one, and comes to rest there."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, TrainingError
from training.loop.controller import LIMITS, ControllerState, advance, from_json, initial, to_json
from training.loop.losses import contrastive
from training.loop.regularizers import flops


@dataclass(frozen=True)
class SimulatedModel:
    """Terms a text that follow lambda with a delay.

    At rest terms = most / (1 + lambda / knee)^steepness. The logarithm of the terms closes 1 / steps of its distance to that
    in a step, but moves by `fastest` at most, and comes back only `revival` times as fast as it falls: terms die easily.
    """

    most: float = 5000.0
    knee: float = 1e-3
    steepness: float = 1.0
    steps: float = 100.0
    fastest: float = math.inf
    revival: float = 1.0
    noise: float = 0.0

    def at_rest(self, weight: float) -> float:
        return self.most * math.exp(-self.steepness * math.log1p(weight / self.knee))

    def moved(self, terms: float, weight: float) -> float:
        change = math.log(self.at_rest(weight) / terms) / self.steps
        change *= self.revival if change > 0 else 1.0
        return terms * math.exp(min(max(change, -self.fastest), self.fastest))


def simulate(model: SimulatedModel, target: float, steps: int, *, seed: int = 0, **options: float) -> tuple[list[float], list[float]]:
    """True terms and log lambda at every step."""
    draw, state, terms = random.Random(seed), initial(), model.most
    history, lambdas = [], []
    for _ in range(steps):
        terms = model.moved(terms, state.weight)
        measured = terms * math.exp(model.noise * draw.gauss(0, 1))
        state = advance(state, measured_terms=measured, target_terms=target, **options)  # type: ignore[arg-type]
        history.append(terms)
        lambdas.append(state.log_lambda)
    return history, lambdas


def farthest(history: list[float], target: float) -> float:
    """Largest relative distance from the target."""
    return max(abs(terms / target - 1) for terms in history)


MODELS = st.builds(
    SimulatedModel,
    most=st.floats(500, 30_000),
    knee=st.floats(1e-5, 1e-2),
    steepness=st.floats(0.4, 2.0),
    steps=st.floats(2, 400),
    fastest=st.sampled_from([math.inf, 0.03, 0.01]),
    revival=st.sampled_from([1.0, 0.5, 0.2]),
    noise=st.floats(0.0, 0.1),
)


@given(MODELS, st.floats(20, 300), st.integers(0, 1000))
@settings(max_examples=30)
def test_it_reaches_the_target_within_a_tenth_and_stays_there(model: SimulatedModel, target: float, seed: int) -> None:
    history, _ = simulate(model, target, 8000, seed=seed)
    end = history[-1000:]
    assert sum(end) / len(end) == pytest.approx(target, rel=0.05)
    assert farthest(end, target) < 0.1


@given(MODELS, st.floats(20, 300))
@settings(max_examples=20)
def test_oscillations_die_out(model: SimulatedModel, target: float) -> None:
    """Without noise nothing is left of them: neither the terms nor lambda move any more."""
    history, lambdas = simulate(replace(model, noise=0.0), target, 12_000)
    assert farthest(history[-500:], target) < 0.02
    assert max(lambdas[-500:]) - min(lambdas[-500:]) < 0.05


def test_looking_ahead_is_what_stops_the_oscillation() -> None:
    """The same slow model, where terms come back slowly: plain integral control still swings around the target."""
    model = SimulatedModel(steepness=1.5, steps=400, revival=0.2)
    plain, _ = simulate(model, 150.0, 6000, horizon=0)
    ahead, _ = simulate(model, 150.0, 6000)
    assert farthest(plain[-1000:], 150.0) > 0.2
    assert farthest(ahead[-1000:], 150.0) < 0.05
    assert min(ahead) > 2 * min(plain)


@given(st.floats(-0.002, 0.002))
@settings(max_examples=20)
def test_a_drifting_model_is_followed_at_the_distance_of_its_drift_over_the_gain(drift: float) -> None:
    """While the lambda that is needed changes by e^drift a step, the logarithm of the terms is off by drift / gain."""
    state, terms = initial(), 5000.0
    for step in range(4000):
        terms = SimulatedModel(knee=1e-3 * math.exp(drift * step)).moved(terms, state.weight)
        state = advance(state, measured_terms=terms, target_terms=100.0, gain=0.02)
    assert math.log(terms / 100.0) == pytest.approx(drift / 0.02, abs=0.01)


def test_measurement_noise_moves_lambda_little() -> None:
    _, lambdas = simulate(SimulatedModel(noise=0.1), 100.0, 5000)
    end = lambdas[-2000:]
    assert (sum((x - sum(end) / len(end)) ** 2 for x in end) / len(end)) ** 0.5 < 0.1


STATES = st.builds(
    ControllerState,
    log_lambda=st.floats(math.log(LIMITS[0]), math.log(LIMITS[1])),
    smoothed_log_terms=st.one_of(st.none(), st.floats(-2.0, 11.0)),
    step=st.integers(0, 10**6),
)
TERMS = st.floats(0.0, 50_000.0)


@given(STATES, TERMS, TERMS, st.floats(1, 1000), st.floats(1e-3, 1.0))
def test_more_terms_never_give_a_smaller_lambda_and_a_step_is_never_larger_than_the_gain(
    state: ControllerState, one: float, other: float, target: float, gain: float
) -> None:
    few, many = (advance(state, measured_terms=terms, target_terms=target, gain=gain) for terms in sorted((one, other)))
    assert few.log_lambda <= many.log_lambda
    for made in (few, many):
        assert abs(made.log_lambda - state.log_lambda) <= gain + 1e-12
        assert LIMITS[0] * 0.999 <= made.weight <= LIMITS[1] * 1.001
        assert made.step == state.step + 1


@given(st.floats(1, 1000), st.floats(1.01, 100))
def test_at_the_target_lambda_rests_above_it_rises_below_it_falls(target: float, factor: float) -> None:
    state = initial(1e-3)
    assert advance(state, measured_terms=target, target_terms=target).log_lambda == pytest.approx(state.log_lambda)
    assert advance(state, measured_terms=target * factor, target_terms=target).log_lambda > state.log_lambda
    assert advance(state, measured_terms=target / factor, target_terms=target).log_lambda < state.log_lambda


@given(STATES)
def test_a_state_survives_json_exactly(state: ControllerState) -> None:
    assert from_json(json.loads(json.dumps(to_json(state)))) == state


@given(st.lists(TERMS, min_size=1, max_size=30), st.integers(0, 29))
def test_a_resumed_controller_equals_an_unbroken_one(measured: list[float], broken_after: int) -> None:
    unbroken = resumed = initial()
    for step, terms in enumerate(measured):
        unbroken = advance(unbroken, measured_terms=terms, target_terms=100.0)
        resumed = advance(resumed, measured_terms=terms, target_terms=100.0)
        if step == broken_after:
            resumed = from_json(json.loads(json.dumps(to_json(resumed))))
    assert resumed == unbroken


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"log_lambda": 0.0, "step": 1},
        {"log_lambda": "0", "smoothed_log_terms": None, "step": 0},
        {"log_lambda": float("nan"), "smoothed_log_terms": None, "step": 0},
        {"log_lambda": 0.0, "smoothed_log_terms": float("inf"), "step": 0},
        {"log_lambda": 0.0, "smoothed_log_terms": None, "step": -1},
        {"log_lambda": 0.0, "smoothed_log_terms": None, "step": True},
        {"log_lambda": 0.0, "smoothed_log_terms": None, "step": 0, "gain": 1},
    ],
)
def test_anything_else_is_no_state(values: dict[str, object]) -> None:
    with pytest.raises(TrainingError, match="not a state of the sparsity controller"):
        from_json(values)


def test_a_collapsed_model_lowers_lambda_and_the_state_stays_finite() -> None:
    state = advance(initial(1.0), measured_terms=5000.0, target_terms=100.0)
    for _ in range(300):
        state = advance(state, measured_terms=0.0, target_terms=100.0)
    assert state.weight < 1.0 / 100 and math.isfinite(state.log_lambda)
    assert state.smoothed_terms == pytest.approx(0.1, rel=1e-3)


@given(st.integers(1, 3000))
@settings(max_examples=20)
def test_nothing_winds_up_behind_a_limit(stuck: int) -> None:
    """However long lambda stood at its limit, it leaves it within a few steps of the error's turn."""
    state, limits = initial(0.5), (1e-3, 1.0)
    for _ in range(stuck + 200):
        state = advance(state, measured_terms=5000.0, target_terms=100.0, limits=limits)
    assert state.weight == pytest.approx(1.0)
    for _ in range(3):
        state = advance(state, measured_terms=10.0, target_terms=100.0, limits=limits)
    assert state.weight < 1.0


def test_before_the_first_measurement_nothing_is_smoothed() -> None:
    assert initial().smoothed_terms is None and initial(0.25).weight == pytest.approx(0.25)
    first = advance(initial(), measured_terms=40.0, target_terms=10.0)
    second = advance(first, measured_terms=90.0, target_terms=10.0)
    assert first.smoothed_terms == pytest.approx(40.0) and second.smoothed_terms == pytest.approx(60.0)  # geometric mean


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_terms": 0.5}, "target_terms is 0.5"),
        ({"target_terms": float("nan")}, "target_terms is nan"),
        ({"gain": 0.0}, "gain is 0.0"),
        ({"gain": 2.0}, "gain is 2.0"),
        ({"smoothing_steps": 0}, "smoothing_steps is 0"),
        ({"horizon": -1}, "horizon -1"),
        ({"limits": (0.0, 1.0)}, "limits are"),
        ({"limits": (2.0, 1.0)}, "limits are"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        advance(initial(), **({"measured_terms": 1.0, "target_terms": 10.0} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [0.0, -1.0, 1e9, float("nan")])
def test_a_first_lambda_out_of_range_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="the first lambda"):
        initial(weight)


@pytest.mark.parametrize("measured", [float("nan"), float("inf"), -1.0])
def test_a_measurement_that_is_no_number_ends_the_run(measured: float) -> None:
    with pytest.raises(TrainingError, match="diverged"):
        advance(initial(), measured_terms=measured, target_terms=10.0)


@pytest.mark.parametrize("target", [15.0, 40.0])
def test_terms_of_a_trained_network_reach_the_target(target: float) -> None:
    """A ReLU network over 200 terms, trained with Adam on ever new noisy pairs, with FLOPS; it starts with half of them."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.Tanh(), torch.nn.Linear(64, 200))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    everyone, state, terms = torch.ones(16, 16, dtype=torch.bool), initial(), []
    for _ in range(1300):
        texts = torch.randn(16, 32)
        queries, documents = (torch.log1p(torch.relu(network(texts + torch.randn_like(texts)))) for _ in range(2))
        loss = contrastive(queries @ documents.t(), torch.arange(16), everyone) + state.weight * flops(documents)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        terms.append(float((documents.detach() > 0).sum(1).float().mean()))
        state = advance(state, measured_terms=terms[-1], target_terms=target)
    assert terms[0] > 80
    assert sum(terms[-300:]) / 300 == pytest.approx(target, rel=0.1)
    assert sum(terms[-300:-150]) == pytest.approx(sum(terms[-150:]), rel=0.1)
