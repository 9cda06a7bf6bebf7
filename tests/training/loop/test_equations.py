"""Pooling, regularisers and schedules against hand-computed values, definitions, and properties that hold for every input."""

from __future__ import annotations

import doctest
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from splade_ptbr_connectors.encoding.pooling import max_over_tokens
from splade_ptbr_connectors.errors import ConfigError
from training.loop import schedules
from training.loop.regularizers import CONVENTIONS, df_flops, df_weights, flops, grouped, l0_flops, l1
from training.loop.schedules import learning_rate_share, quadratic_ramp, warmup_linear

SEEDS = st.integers(0, 10_000)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_activations(seed: int, rows: int = 4, terms: int = 6) -> Tensor:
    return torch.relu(torch.randn(rows, terms, generator=generator(seed)))


# -- 2.1 pooling ----------------------------------------------------------------------------------------------------------


@given(SEEDS)
@settings(max_examples=30)
def test_the_gradient_of_max_pooling_reaches_the_winning_token_only_and_only_if_its_logit_is_positive(seed: int) -> None:
    features = torch.randn(2, 5, 3, generator=generator(seed)).requires_grad_()
    weight, mask = torch.randn(4, 3, generator=generator(seed + 1)), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    bias = torch.full((4,), -0.5)
    activations = torch.log1p(torch.relu(max_over_tokens(features, weight, bias, mask)))
    logits = (features.detach() @ weight.t() + bias).masked_fill(mask.unsqueeze(2) == 0, -torch.inf)
    first, second = logits.topk(2, dim=1).values.unbind(1)
    assume(bool((first - second > 1e-4).all() and (first.abs() > 1e-4).all()))  # rounding chooses no winner
    for text in range(2):
        for term in range(4):
            (gradient,) = torch.autograd.grad(activations[text, term], features, retain_graph=True)
            best, winner = logits[text, :, term].max(0)
            expected = torch.zeros_like(features)
            if best > 0:
                expected[text, winner] = weight[term] / (1 + best)
            torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-4)


# -- 2.2, 2.7, 2.8, 2.10 regularisers -------------------------------------------------------------------------------------

BY_HAND = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])


def test_flops_and_l1_by_hand() -> None:
    assert flops(BY_HAND).item() == pytest.approx(5.0)
    assert l1(BY_HAND).item() == pytest.approx(3.0)


@given(SEEDS)
def test_flops_ignores_duplication_and_is_convex(seed: int) -> None:
    first, second = random_activations(seed), random_activations(seed + 1)
    assert flops(torch.cat([first, first])).item() == pytest.approx(flops(first).item(), rel=1e-5)
    assert flops(torch.cat([first, second])).item() <= (flops(first).item() + flops(second).item()) / 2 + 1e-5


@given(SEEDS, st.floats(1e-3, 1e3))
def test_flops_has_its_whole_gradient_at_every_magnitude(seed: int, scale: float) -> None:
    """Nothing is clipped: d/dw_bj = 2 mean_j / B, however large or small FLOPS is."""
    activations = (scale * random_activations(seed)).requires_grad_()
    (gradient,) = torch.autograd.grad(flops(activations), activations)
    torch.testing.assert_close(gradient, (2 * activations.mean(0) / len(activations)).expand_as(activations).detach())


def test_l0_flops_by_hand() -> None:
    """The first text has two terms, the second one; the divisor stays two."""
    assert l0_flops(BY_HAND, 0).item() == pytest.approx(flops(BY_HAND).item())
    assert l0_flops(BY_HAND, 1).item() == pytest.approx(0.5**2 + 1.0**2)
    assert l0_flops(BY_HAND, 2).item() == 0.0


@given(SEEDS, st.integers(0, 6))
def test_l0_flops_exempts_short_texts_only_and_falls_as_the_threshold_rises(seed: int, threshold: int) -> None:
    activations = random_activations(seed).requires_grad_()
    loss = l0_flops(activations, threshold)
    (gradient,) = torch.autograd.grad(loss, activations)
    short = (activations > 0).sum(1) <= threshold
    assert (gradient[short] == 0).all()
    rest = torch.where(short.unsqueeze(1), 0.0, activations)
    assert loss.item() == pytest.approx(flops(rest).item(), rel=1e-6)
    assert l0_flops(activations, threshold + 1).item() <= loss.item() + 1e-6


@given(st.floats(0.001, 0.9), st.floats(0.5, 20.0))
def test_df_weights_are_one_at_one_half_at_alpha_and_zero_at_zero(alpha: float, beta: float) -> None:
    shares = torch.tensor([0.0, alpha, 1.0], dtype=torch.float64)
    assert df_weights(shares, alpha, beta).tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-5)
    many = df_weights(torch.linspace(0, 1, 101), alpha, beta)
    assert many.isfinite().all() and (many.diff() >= 0).all() and many[0] == 0.0 and many[-1] == 1.0


def test_df_weights_by_hand() -> None:
    """alpha 1/4: log_alpha 2 = -1/2; x = 1/16 -> 4 - 1 = 3; beta 2: 1 / (1 + 9)."""
    assert df_weights(torch.tensor([1 / 16]), 0.25, 2.0).item() == pytest.approx(0.1)
    assert df_flops(BY_HAND, torch.tensor([0.5, 1.0, 2.0])).item() == pytest.approx((0.5 * 2) ** 2 + (2 * 1) ** 2)


@given(SEEDS)
def test_df_flops_with_equal_weights_is_flops_and_frequent_terms_cost_more(seed: int) -> None:
    activations = random_activations(seed)
    assert df_flops(activations, torch.ones(6)).item() == pytest.approx(flops(activations).item(), rel=1e-6)
    rare, frequent = df_weights(torch.tensor([0.01] * 6), 0.1, 10.0), df_weights(torch.tensor([0.5] * 6), 0.1, 10.0)
    assert df_flops(activations, rare).item() < 1e-3 * df_flops(activations, frequent).item()


@pytest.mark.parametrize("call", [
    lambda: df_weights(torch.tensor([0.5]), 0.0, 1.0),
    lambda: df_weights(torch.tensor([0.5]), 1.0, 1.0),
    lambda: df_weights(torch.tensor([0.5]), 0.1, 0.0),
    lambda: df_weights(torch.tensor([1.5]), 0.1, 1.0),
    lambda: df_weights(torch.tensor([float("nan")]), 0.1, 1.0),
    lambda: df_flops(BY_HAND, torch.ones(4)),
    lambda: df_flops(BY_HAND, torch.ones(1)),
    lambda: l0_flops(BY_HAND, -1),
])  # fmt: skip
def test_settings_of_regularizers_out_of_range_are_refused(call: Callable[[], Tensor]) -> None:
    with pytest.raises(ConfigError):
        call()


@pytest.mark.parametrize("function", [flops, l1, lambda a: l0_flops(a, 3), lambda a: df_flops(a, torch.ones(6))])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 6), (0, 6)])
def test_regularizers_refuse_other_shapes(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="one text or more"):
        function(torch.zeros(shape))


@given(SEEDS, st.lists(st.integers(0, 3), min_size=2, max_size=8), st.sampled_from([flops, l1]))
def test_conventions_are_their_definitions(seed: int, numbers: list[int], regularizer: Callable[[Tensor], Tensor]) -> None:
    groups = torch.tensor([0, *numbers])
    activations = random_activations(seed, rows=len(groups))
    positives, others = activations[groups == 0], activations[groups > 0]
    both = [regularizer(part) for part in (positives, others) if len(part)]
    expected = {
        "stacked": regularizer(activations),
        "averaged": sum(both) / len(both),
        "summed": sum(regularizer(activations[groups == number]) for number in set(groups.tolist())),
    }
    for convention in CONVENTIONS:
        found = grouped(regularizer, activations, groups, convention=convention)
        torch.testing.assert_close(found, torch.as_tensor(expected[convention]))


@given(SEEDS)
def test_conventions_differ_so_lambda_does_not_travel(seed: int) -> None:
    """Equal groups: stacked <= averaged <= summed."""
    activations, groups = random_activations(seed, rows=8), torch.tensor([0, 1] * 4)
    values = {name: grouped(flops, activations, groups, convention=name).item() for name in CONVENTIONS}
    assert values["stacked"] <= values["averaged"] + 1e-5
    assert values["summed"] == pytest.approx(2 * values["averaged"], rel=1e-5)


def test_without_negatives_every_convention_is_the_regularizer_of_the_positives() -> None:
    for convention in CONVENTIONS:
        assert grouped(flops, BY_HAND, torch.tensor([0, 0]), convention=convention).item() == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("groups", "convention", "message"),
    [
        (torch.tensor([0, 1]), "mean", "'mean'; accepted: averaged, stacked, summed"),
        (torch.tensor([0, 1, 1]), "stacked", "an integer for each of 2"),
        (torch.tensor([0.0, 1.0]), "stacked", "an integer"),
        (torch.tensor([1, 2]), "averaged", "no document is a positive"),
        (torch.tensor([1, 2]), "summed", "no document is a positive"),
    ],
)
def test_bad_groups_are_refused(groups: Tensor, convention: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        grouped(flops, BY_HAND, groups, convention=convention)


# -- 2.3 schedules --------------------------------------------------------------------------------------------------------


def test_examples_in_the_documentation_of_schedules() -> None:
    assert doctest.testmod(schedules).failed == 0


@given(st.integers(1, 10_000), st.integers(0, 20_000))
def test_quadratic_ramp_is_its_definition(ramp_steps: int, step: int) -> None:
    assert quadratic_ramp(step, ramp_steps=ramp_steps) == min(1.0, (step / ramp_steps) ** 2)
    assert quadratic_ramp(0, ramp_steps=ramp_steps) == 0.0
    assert quadratic_ramp(ramp_steps, ramp_steps=2 * ramp_steps) == 0.25
    assert quadratic_ramp(step, ramp_steps=0) == 1.0


@pytest.mark.parametrize(("step", "ramp_steps"), [(1, -1), (-1, 10)])
def test_quadratic_ramp_refuses_negative_steps(step: int, ramp_steps: int) -> None:
    with pytest.raises(ConfigError, match="accepted: 0"):
        quadratic_ramp(step, ramp_steps=ramp_steps)


@given(st.integers(1, 500), st.integers(0, 600), st.integers(0, 500), st.floats(0, 1))
def test_linear_decay_without_an_end_of_its_own_is_warmup_linear(total: int, step: int, warmup: int, floor: float) -> None:
    steps = {"warmup_steps": min(warmup, total), "total_steps": total}
    found = learning_rate_share(step, **steps, decay="linear", decay_steps=None, floor=floor)
    assert found == warmup_linear(step, **steps, floor=floor)


@given(st.integers(1, 300), st.integers(0, 300), st.floats(0, 1), st.sampled_from(["linear", "constant"]))
def test_learning_rate_rises_through_the_warmup_then_never_rises_again(total: int, warmup: int, floor: float, decay: str) -> None:
    warmup = min(warmup, total)
    floor = floor if decay == "linear" else 0.0
    shares = [learning_rate_share(step, warmup_steps=warmup, total_steps=total, decay=decay, floor=floor) for step in range(total + 5)]
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert shares[:warmup] == sorted(shares[:warmup]) and shares[warmup:] == sorted(shares[warmup:], reverse=True)
    assert shares[:warmup] == pytest.approx([(step + 1) / warmup for step in range(warmup)])
    assert shares[-1] == (pytest.approx(floor) if decay == "linear" else 1.0)


@given(st.integers(1, 100), st.integers(100, 1000))
def test_decay_steps_move_the_end_of_the_decay(total: int, decay_steps: int) -> None:
    """A run that ends early has the same learning rates as the longer one up to there."""
    short = [learning_rate_share(s, warmup_steps=1, total_steps=total, decay_steps=decay_steps) for s in range(total)]
    long = [learning_rate_share(s, warmup_steps=1, total_steps=decay_steps) for s in range(total)]
    assert short == long


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": -1}, "step is -1"),
        ({"decay": "cosine"}, "'cosine'; accepted: linear, constant"),
        ({"warmup_steps": 11}, "warmup_steps is 11"),
        ({"decay_steps": 1}, "warmup_steps is 2"),
        ({"floor": 1.5}, "floor is 1.5"),
        ({"floor": float("nan")}, "floor is nan"),
        ({"decay": "constant", "decay_steps": 5}, "has no decay_steps"),
        ({"decay": "constant", "floor": 0.1}, "no floor"),
    ],
)
def test_bad_schedules_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        learning_rate_share(**({"step": 0, "warmup_steps": 2, "total_steps": 10} | options))  # type: ignore[arg-type]


def test_schedules_depend_on_the_optimiser_step_alone() -> None:
    """Called in any order, any number of times (as accumulation and resuming do), they give the same values."""
    steps = [7, 0, 7, 3, 3, 9, 0]
    ramp = {step: quadratic_ramp(step, ramp_steps=8) for step in sorted(steps)}
    share = {step: learning_rate_share(step, warmup_steps=2, total_steps=10) for step in sorted(steps)}
    for step in steps:
        assert quadratic_ramp(step, ramp_steps=8) == ramp[step]
        assert learning_rate_share(step, warmup_steps=2, total_steps=10) == share[step]
