"""FLOPS, schedules and losses against hand-computed values (and properties that hold for every input)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError
from training.losses import candidate_mask, contrastive, kl_distillation, margin_mse
from training.regularizers import flops, l1
from training.schedules import quadratic_ramp, warmup_linear


def random_activations(seed: int, rows: int = 4, terms: int = 6) -> torch.Tensor:
    return torch.relu(torch.randn(rows, terms, generator=torch.Generator().manual_seed(seed)))


def test_flops_by_hand() -> None:
    assert flops(torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])).item() == pytest.approx(5.0)


@given(st.integers(0, 10_000))
def test_flops_ignores_duplication_and_is_convex(seed: int) -> None:
    first, second = random_activations(seed), random_activations(seed + 1)
    assert flops(torch.cat([first, first])).item() == pytest.approx(flops(first).item(), rel=1e-5)
    assert flops(torch.cat([first, second])).item() <= (flops(first).item() + flops(second).item()) / 2 + 1e-5


def test_l1_by_hand() -> None:
    assert l1(torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])).item() == pytest.approx(3.0)


@pytest.mark.parametrize("function", [flops, l1])
def test_regularizers_refuse_other_shapes(function: object) -> None:
    with pytest.raises(ConfigError):
        function(torch.zeros(3))  # type: ignore[operator]


def test_quadratic_ramp() -> None:
    assert quadratic_ramp(0, ramp_steps=100) == 0.0
    assert quadratic_ramp(50, ramp_steps=100) == 0.25
    assert quadratic_ramp(100, ramp_steps=100) == quadratic_ramp(1000, ramp_steps=100) == 1.0
    assert quadratic_ramp(0, ramp_steps=0) == 1.0
    with pytest.raises(ConfigError, match="ramp_steps"):
        quadratic_ramp(1, ramp_steps=-1)


@given(st.integers(1, 500), st.integers(0, 500))
def test_learning_rate_share_is_between_zero_and_one(total: int, step: int) -> None:
    assert 0.0 <= warmup_linear(step, warmup_steps=total // 3, total_steps=total) <= 1.0


def test_contrastive_of_a_pair_is_softplus() -> None:
    loss = contrastive(torch.tensor([[2.0, 1.0]]), torch.tensor([0]))
    assert loss.item() == pytest.approx(0.313262, abs=1e-6)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1.0)), abs=1e-6)


def test_contrastive_refuses_one_candidate() -> None:
    with pytest.raises(ConfigError, match="two candidates"):
        contrastive(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long))


def test_known_positives_are_never_negatives() -> None:
    relevant = torch.tensor([[True, True, False], [False, True, False]])
    mask = candidate_mask(relevant, torch.tensor([0, 1]), candidates="all")
    assert mask.tolist() == [[True, False, True], [True, True, True]]


def test_candidate_sets() -> None:
    """Columns: positive of query 0, positive of query 1, hard negative of query 0, hard negative of query 1."""
    relevant = torch.tensor([[True, False, False, False], [False, True, False, False]])
    hard = torch.tensor([[False, False, True, False], [False, False, False, True]])
    positive = torch.tensor([0, 1])
    paper = candidate_mask(relevant, positive, candidates="positives", is_hard=hard)
    assert paper.tolist() == [[True, True, True, False], [True, True, False, True]]
    only_hard = candidate_mask(relevant, positive, candidates="hard", is_hard=hard)
    assert only_hard.tolist() == [[True, False, True, True], [False, True, True, True]]
    with pytest.raises(ConfigError, match="accepted"):
        candidate_mask(relevant, positive, candidates="in-batch")


@given(st.integers(0, 1000), st.floats(-5, 5))
def test_kl_is_zero_for_equal_rankers_and_ignores_a_constant(seed: int, shift: float) -> None:
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed))
    other = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed + 1))
    assert kl_distillation(scores, scores + shift).item() == pytest.approx(0.0, abs=1e-5)
    assert kl_distillation(scores, other).item() >= -1e-6


def test_kl_refuses_a_missing_teacher_score() -> None:
    with pytest.raises(ConfigError, match="teacher"):
        kl_distillation(torch.zeros(1, 2), torch.tensor([[1.0, float("nan")]]))


@given(st.floats(-10, 10))
def test_margin_mse_ignores_a_constant_added_to_the_teacher(shift: float) -> None:
    positive, negative = torch.tensor([3.0]), torch.tensor([[1.0, 0.0]])
    loss = margin_mse(positive, negative, torch.tensor([2.0]) + shift, torch.tensor([[1.0, 1.0]]) + shift)
    assert loss.item() == pytest.approx(((2 - 1) ** 2 + (3 - 1) ** 2) / 2, abs=1e-4)
