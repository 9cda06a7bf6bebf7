"""Candidate sets and losses against hand-computed values, naive loops, and properties that hold for every input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from splade_ptbr_connectors.errors import ConfigError
from training.data.batches import Batch, Example, collate
from training.loop.losses import CANDIDATE_SETS, candidate_mask, contrastive, kl_distillation, margin_mse

SEEDS = st.integers(0, 10_000)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_batch(seed: int, *, negatives: int = 2, queries: int = 4, passages: int = 9) -> Batch:
    """Passages are shared on purpose: one query's positive is another's hard negative, or known to be relevant to it."""
    random = np.random.default_rng(seed)
    examples = []
    for number in range(queries):
        drawn = random.permutation(passages)[: negatives + 1].tolist()
        known = set(random.permutation(passages)[: random.integers(0, 3)].tolist()) - set(drawn[1:])
        examples.append(Example(f"q{number}", tuple(f"d{i}" for i in drawn), tuple(drawn), frozenset(known)))
    return collate(examples, source="test")


def tensors(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return torch.from_numpy(batch.relevant), torch.from_numpy(batch.positive), torch.from_numpy(batch.own)


# -- 2.4 candidates -------------------------------------------------------------------------------------------------------


def candidates_by_definition(batch: Batch, query: int, candidates: str) -> set[int]:
    """In words: which columns are negatives of a query, plus its positive."""
    queries = range(len(batch.queries))
    others = [other for other in queries if other != query]
    chosen = set(batch.own[query].nonzero()[0].tolist())
    if candidates == "positives":
        chosen |= {int(batch.positive[other]) for other in others}
    if candidates == "hard":
        chosen |= {column for other in others for column in batch.own[other].nonzero()[0].tolist()}
    if candidates == "all":
        chosen |= set(range(len(batch.documents)))
    return (chosen - set(batch.relevant[query].nonzero()[0].tolist())) | {int(batch.positive[query])}


@given(SEEDS, st.sampled_from(CANDIDATE_SETS), st.integers(1, 3))
def test_candidates_are_those_of_the_definition(seed: int, candidates: str, negatives: int) -> None:
    batch = random_batch(seed, negatives=negatives)
    mask = candidate_mask(*tensors(batch), candidates=candidates)
    for query in range(len(batch.queries)):
        assert set(mask[query].nonzero().squeeze(1).tolist()) == candidates_by_definition(batch, query, candidates)


@given(SEEDS)
def test_sets_are_nested_and_known_positives_are_in_none(seed: int) -> None:
    batch = random_batch(seed)
    relevant, positive, own = tensors(batch)
    masks = {name: candidate_mask(relevant, positive, own, candidates=name) for name in CANDIDATE_SETS}
    for name in ("positives", "hard"):
        assert not (masks["own"] & ~masks[name]).any() and not (masks[name] & ~masks["all"]).any()
    for mask in masks.values():
        assert (mask & relevant).sum(1).tolist() == [1] * len(batch.queries)
        assert mask[torch.arange(len(batch.queries)), positive].all()


def test_candidate_sets_by_hand() -> None:
    """Columns: positive of query 0, positive of query 1, hard negative of query 0, hard negative of query 1, nobody's."""
    relevant = torch.tensor([[True, False, False, False, False], [False, True, False, False, False]])
    own = torch.tensor([[False, False, True, False, False], [False, False, False, True, False]])
    expected = {
        "own": [[1, 0, 1, 0, 0], [0, 1, 0, 1, 0]],
        "positives": [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0]],
        "hard": [[1, 0, 1, 1, 0], [0, 1, 1, 1, 0]],
        "all": [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]],
    }
    for name, rows in expected.items():
        assert candidate_mask(relevant, torch.tensor([0, 1]), own, candidates=name).int().tolist() == rows


def test_a_column_that_is_a_positive_and_a_hard_negative_is_in_both_sets() -> None:
    """Column 1 is query 1's positive and query 0's hard negative; query 2 meets it as either."""
    relevant, positive = torch.eye(4, dtype=torch.bool)[:3], torch.tensor([0, 1, 2])
    own = torch.tensor([[False, True, False, False], [False, False, False, True], [False, False, False, True]])
    for name in ("positives", "hard"):
        mask = candidate_mask(relevant, positive, own, candidates=name)
        assert mask[2, 1] and mask[0, 1] and mask[1, 1]
    assert not candidate_mask(relevant, positive, own, candidates="hard")[2, 0]
    assert not candidate_mask(relevant, positive, own, candidates="own")[2, 1]


@pytest.mark.parametrize("candidates", ["own", "hard"])
def test_a_query_without_a_negative_is_an_error_that_names_the_set(candidates: str) -> None:
    relevant, nothing = torch.eye(2, dtype=torch.bool), torch.zeros(2, 2, dtype=torch.bool)
    with pytest.raises(ConfigError, match=rf"2 of 2 queries have no negative in candidate set '{candidates}'.*hard negatives"):
        candidate_mask(relevant, torch.tensor([0, 1]), nothing, candidates=candidates)
    assert candidate_mask(relevant, torch.tensor([0, 1]), nothing, candidates="positives").all()


def test_when_every_passage_is_relevant_there_is_no_negative() -> None:
    with pytest.raises(ConfigError, match="1 of 1 queries"):
        candidate_mask(torch.ones(1, 3, dtype=torch.bool), torch.tensor([1]), torch.zeros(1, 3, dtype=torch.bool), candidates="all")


@pytest.mark.parametrize(
    ("positive", "own", "candidates", "message"),
    [
        ([0, 1], [2, 3], "in-batch", "'in-batch'; accepted: own, positives, hard, all"),
        ([0, 1, 1], [2, 3], "all", "do not fit"),
        ([0, 1], [2, 4], "all", "do not fit"),
        ([0, 3], [2, 3], "all", "in no column"),
        ([-1, 1], [2, 3], "all", "in no column"),
    ],
)
def test_bad_batches_are_refused(positive: list[int], own: list[int], candidates: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        candidate_mask(
            torch.zeros(2, 3, dtype=torch.bool), torch.tensor(positive), torch.ones(own, dtype=torch.bool), candidates=candidates
        )


# -- 2.4 contrastive ------------------------------------------------------------------------------------------------------


def test_contrastive_of_a_pair_is_softplus() -> None:
    loss = contrastive(torch.tensor([[2.0, 1.0]]), torch.tensor([0]), torch.ones(1, 2, dtype=torch.bool))
    assert loss.item() == pytest.approx(0.313262, abs=1e-6)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1.0)), abs=1e-6)


@given(SEEDS, st.sampled_from(CANDIDATE_SETS))
def test_contrastive_is_the_quotient_of_the_definition(seed: int, candidates: str) -> None:
    batch = random_batch(seed)
    relevant, positive, own = tensors(batch)
    scores = torch.randn(own.shape, generator=generator(seed)).double()
    mask = candidate_mask(relevant, positive, own, candidates=candidates)
    each = []
    for query, row in enumerate(scores.tolist()):
        powers = [math.exp(row[column]) for column in candidates_by_definition(batch, query, candidates)]
        each.append(-math.log(math.exp(row[int(positive[query])]) / sum(powers)))
    assert contrastive(scores, positive, mask).item() == pytest.approx(sum(each) / len(each), rel=1e-9)


@given(SEEDS)
def test_a_score_outside_the_candidates_changes_nothing_and_gets_no_gradient(seed: int) -> None:
    relevant, positive, own = tensors(random_batch(seed))
    mask = candidate_mask(relevant, positive, own, candidates="own")
    scores = torch.randn(own.shape, generator=generator(seed)).requires_grad_()
    loss = contrastive(scores, positive, mask)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert (gradient[~mask] == 0).all() and (gradient[mask] != 0).all()
    assert torch.equal(loss, contrastive(torch.where(mask, scores, 1e4), positive, mask))


def test_contrastive_survives_scores_of_any_size_and_half_precision() -> None:
    mask, positive = torch.ones(1, 2, dtype=torch.bool), torch.tensor([0])
    assert contrastive(torch.tensor([[-3e4, 3e4]]), positive, mask).item() == pytest.approx(6e4)
    halves = contrastive(torch.tensor([[2.0, 1.0]], dtype=torch.bfloat16), positive, mask)
    assert halves.dtype == torch.float32 and halves.item() == pytest.approx(0.313262, abs=1e-6)


@pytest.mark.parametrize("shape", [(4, 1), (4,), (0, 3), (2, 3, 4)])
def test_no_loss_becomes_another_one_with_another_shape_of_scores(shape: tuple[int, ...]) -> None:
    scores, mask, positive = torch.zeros(shape), torch.ones(shape, dtype=torch.bool), torch.zeros(shape[0], dtype=torch.long)
    with pytest.raises(ConfigError, match="two candidates"):
        contrastive(scores, positive, mask)
    with pytest.raises(ConfigError, match="two candidates"):
        kl_distillation(scores, scores, mask)


def test_one_candidate_after_masking_is_refused_too() -> None:
    scores, alone = torch.zeros(2, 3), torch.tensor([[True, True, False], [True, False, False]])
    with pytest.raises(ConfigError, match="1 of 2 queries"):
        contrastive(scores, torch.tensor([0, 0]), alone)
    with pytest.raises(ConfigError, match="1 of 2 queries"):
        kl_distillation(scores, scores, alone)
    with pytest.raises(ConfigError, match="leaves a query's positive out"):
        contrastive(scores, torch.tensor([0, 2]), torch.tensor([[True, True, False], [True, True, False]]))
    with pytest.raises(ConfigError, match="same shape"):
        contrastive(scores, torch.tensor([0, 0]), torch.ones(2, 2, dtype=torch.bool))


# -- 2.5 MarginMSE --------------------------------------------------------------------------------------------------------


def test_margin_mse_by_hand() -> None:
    """Margins of the student 2 and 3, of the teacher 1 and 1: (1 + 4) / 2."""
    loss = margin_mse(
        torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([[2.0, 1.0, 1.0]]), torch.tensor([0]), torch.tensor([[False, True, True]])
    )
    assert loss.item() == pytest.approx(2.5)


@given(SEEDS, st.floats(-10, 10))
def test_margin_mse_is_its_definition_and_ignores_a_constant_but_not_a_factor(seed: int, shift: float) -> None:
    batch = random_batch(seed)
    _, positive, own = tensors(batch)
    scores, teacher = (torch.randn(own.shape, generator=generator(seed + n)).double() for n in (0, 1))
    each = []
    for query in range(len(batch.queries)):
        plus = int(positive[query])
        errors = [(scores[query, plus] - scores[query, c] - teacher[query, plus] + teacher[query, c]) ** 2 for c in own[query].nonzero()]
        each.append(float(sum(errors)) / len(errors))
    loss = margin_mse(scores, teacher, positive, own).item()
    assert loss == pytest.approx(sum(each) / len(each), rel=1e-9)
    assert margin_mse(scores, teacher + shift, positive, own).item() == pytest.approx(loss, rel=1e-6)
    # margins of a third are off by two thirds of the teacher's; those of 0 by all of them
    tripled, nothing = (margin_mse(student, 3 * teacher, positive, own).item() for student in (teacher, torch.zeros_like(teacher)))
    assert tripled == pytest.approx(4 / 9 * nothing, rel=1e-9) and tripled > 0
    assert margin_mse(teacher + shift, teacher, positive, own).item() == pytest.approx(0.0, abs=1e-9)


def test_margin_mse_needs_a_teacher_score_of_every_pair_in_use_and_of_no_other() -> None:
    scores, positive, own = torch.zeros(2, 3), torch.tensor([0, 0]), torch.tensor([[False, True, False], [False, True, False]])
    teacher = torch.tensor([[1.0, 0.5, float("nan")], [float("nan"), float("inf"), 0.0]])
    with pytest.raises(ConfigError, match=r"2 of 4 pairs .* no finite teacher score"):
        margin_mse(scores, teacher, positive, own)
    unscored = torch.tensor([[1.0, 0.5, float("nan")], [1.0, 0.5, float("nan")]])
    loss = margin_mse(scores.requires_grad_(), unscored, positive, own)
    assert loss.item() == pytest.approx(0.25)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient.tolist() == [[pytest.approx(-0.5), pytest.approx(0.5), 0.0]] * 2


def test_margin_mse_refuses_a_query_without_hard_negatives_and_other_shapes() -> None:
    scores, positive = torch.zeros(2, 3), torch.tensor([0, 0])
    with pytest.raises(ConfigError, match="1 of 2 queries have no negative"):
        margin_mse(scores, scores, positive, torch.tensor([[False, True, False], [False, False, False]]))
    with pytest.raises(ConfigError, match="same shape"):
        margin_mse(scores, torch.zeros(2, 2), positive, torch.tensor([[False, True, False], [False, True, False]]))


# -- 2.6 KL ---------------------------------------------------------------------------------------------------------------


def test_kl_by_hand() -> None:
    """Teacher shares 3/4 and 1/4, student 1/2 and 1/2."""
    teacher = torch.tensor([[math.log(3.0), 0.0]])
    loss = kl_distillation(torch.zeros(1, 2), teacher, torch.ones(1, 2, dtype=torch.bool))
    assert loss.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6)


@given(SEEDS, st.floats(0.2, 5.0), st.floats(0.2, 5.0))
def test_kl_is_its_definition(seed: int, temperature: float, teacher_temperature: float) -> None:
    relevant, positive, own = tensors(random_batch(seed))
    mask = candidate_mask(relevant, positive, own, candidates="own")
    scores, teacher = (torch.randn(own.shape, generator=generator(seed + n)).double() for n in (0, 1))
    each = []
    for query in range(len(own)):
        student = torch.softmax(scores[query][mask[query]] / temperature, 0)
        target = torch.softmax(teacher[query][mask[query]] / teacher_temperature, 0)
        each.append(float((target * (target / student).log()).sum()))
    unscored = teacher.masked_fill(~mask, float("nan"))
    loss = kl_distillation(scores, unscored, mask, temperature=temperature, teacher_temperature=teacher_temperature).item()
    assert loss == pytest.approx(sum(each) / len(each), rel=1e-6, abs=1e-9)
    assert loss >= -1e-9


@given(SEEDS, st.floats(-5, 5))
def test_kl_is_zero_for_equal_rankers_and_ignores_a_constant(seed: int, shift: float) -> None:
    scores, mask = torch.randn(3, 5, generator=generator(seed)), torch.ones(3, 5, dtype=torch.bool)
    assert kl_distillation(scores, scores + shift, mask).item() == pytest.approx(0.0, abs=1e-5)


def test_kl_has_finite_gradients_where_shares_vanish() -> None:
    scores = torch.tensor([[0.0, 300.0, 5.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    (gradient,) = torch.autograd.grad(kl_distillation(scores, torch.tensor([[300.0, -300.0, float("nan")]]), mask), scores)
    assert gradient.tolist()[0] == pytest.approx([-1.0, 1.0, 0.0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_kl_refuses_a_missing_teacher_score_and_invents_none(bad: float) -> None:
    with pytest.raises(ConfigError, match=r"1 of 2 pairs .* teacher"):
        kl_distillation(torch.zeros(1, 2), torch.tensor([[1.0, bad]]), torch.ones(1, 2, dtype=torch.bool))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_kl_refuses_a_temperature_that_is_none(bad: float) -> None:
    ones = torch.ones(1, 2)
    with pytest.raises(ConfigError, match=r"^temperature"):
        kl_distillation(ones, ones, ones.bool(), temperature=bad)
    with pytest.raises(ConfigError, match=r"^teacher_temperature"):
        kl_distillation(ones, ones, ones.bool(), teacher_temperature=bad)


def test_teachers_get_no_gradient() -> None:
    mask, positive, own = torch.ones(1, 2, dtype=torch.bool), torch.tensor([0]), torch.tensor([[False, True]])
    teacher, scores = torch.tensor([[1.0, 0.0]], requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    (kl_distillation(scores, teacher, mask) + margin_mse(scores, teacher, positive, own)).backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None and scores.grad is not None
