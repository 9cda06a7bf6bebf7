"""Our losses and regularisers give the values, and the gradients, of sentence-transformers' own on the same vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

pytest.importorskip("sentence_transformers.sparse_encoder")

from sentence_transformers.sparse_encoder.losses import (
    FlopsLoss,
    SparseDistillKLDivLoss,
    SparseMarginMSELoss,
    SparseMultipleNegativesRankingLoss,
)

from training.loop.losses import candidate_mask, contrastive, kl_distillation, margin_mse
from training.loop.regularizers import flops, grouped, l0_flops

QUERIES, VOCABULARY = 5, 12
MODEL: Any = nn.Identity()  # the losses of vectors never ask it for anything
SEEDS = st.integers(0, 10_000)
NEGATIVES = st.integers(1, 3)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Random teachers are not calibrated: their library says so once a loss."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def columns(seed: int, negatives: int) -> list[Tensor]:
    """Vectors of queries, of their positives, and of each column of negatives: [QUERIES, VOCABULARY] each."""
    made = torch.randn(negatives + 2, QUERIES, VOCABULARY, generator=torch.Generator().manual_seed(seed))
    return [torch.relu(column).requires_grad_() for column in made]


def layout(negatives: int) -> tuple[Tensor, Tensor, Tensor]:
    """(relevant, positive, own) of a batch without shared passages, columns in the order of torch.cat(columns[1:])."""
    relevant = torch.eye(QUERIES, dtype=torch.bool).repeat(1, negatives + 1)
    own = relevant.clone()
    own[:, :QUERIES], relevant[:, QUERIES:] = False, False
    return relevant, torch.arange(QUERIES), own


def scores_of(made: list[Tensor]) -> Tensor:
    return made[0] @ torch.cat(made[1:]).t()


def teacher_of(seed: int, negatives: int) -> tuple[Tensor, Tensor]:
    """Scores as a table [QUERIES, 1 + negatives] of theirs and as a matrix of ours, NaN where nothing was scored."""
    table = 3 * torch.randn(QUERIES, negatives + 1, generator=torch.Generator().manual_seed(seed + 1))
    matrix = torch.full((QUERIES, QUERIES * (negatives + 1)), torch.nan)
    for column in range(negatives + 1):
        matrix[torch.arange(QUERIES), torch.arange(QUERIES) + column * QUERIES] = table[:, column]
    return table, matrix


def assert_same(ours: Tensor, theirs: Tensor, made: list[Tensor]) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for found, expected in zip(torch.autograd.grad(ours, made), torch.autograd.grad(theirs, made), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@given(SEEDS, st.integers(0, 3), st.sampled_from([1.0, 0.5, 4.0]))
@settings(max_examples=30)
def test_all_candidates_are_multiple_negatives_ranking(seed: int, negatives: int, scale: float) -> None:
    made = columns(seed, negatives)
    relevant, positive, own = layout(negatives)
    mask = candidate_mask(relevant, positive, own, candidates="all")
    theirs = SparseMultipleNegativesRankingLoss(MODEL, scale=scale).compute_loss_from_embeddings(made, torch.zeros(QUERIES))
    assert_same(contrastive(scale * scores_of(made), positive, mask), theirs, made)


@given(SEEDS)
@settings(max_examples=10)
def test_without_hard_negatives_rank_ibn_is_multiple_negatives_ranking(seed: int) -> None:
    made = columns(seed, 0)
    relevant, positive, own = layout(0)
    mask = candidate_mask(relevant, positive, own, candidates="positives")
    theirs = SparseMultipleNegativesRankingLoss(MODEL).compute_loss_from_embeddings(made, torch.zeros(QUERIES))
    assert_same(contrastive(scores_of(made), positive, mask), theirs, made)


@given(SEEDS, NEGATIVES)
@settings(max_examples=30)
def test_margin_mse_is_theirs_from_scores_and_from_margins(seed: int, negatives: int) -> None:
    made = columns(seed, negatives)
    _, positive, own = layout(negatives)
    table, matrix = teacher_of(seed, negatives)
    for labels in (table, table[:, :1] - table[:, 1:]):
        theirs = SparseMarginMSELoss(MODEL).compute_loss_from_embeddings(made, labels)
        assert_same(margin_mse(scores_of(made), matrix, positive, own), theirs, made)


@given(SEEDS, NEGATIVES, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.5, 1.0, 3.0]))
@settings(max_examples=40)
def test_kl_is_theirs_without_the_square_of_the_temperature(seed: int, negatives: int, temperature: float, teachers: float) -> None:
    made = columns(seed, negatives)
    mask = candidate_mask(*layout(negatives), candidates="own")
    table, matrix = teacher_of(seed, negatives)
    loss = SparseDistillKLDivLoss(MODEL, student_temperature=temperature, teacher_temperature=teachers)
    theirs = loss.compute_loss_from_embeddings(made, table)
    ours = kl_distillation(scores_of(made), matrix, mask, temperature=temperature, teacher_temperature=teachers)
    assert_same(temperature**2 * ours, theirs, made)


@given(SEEDS, NEGATIVES)
@settings(max_examples=30)
def test_flops_of_stacked_documents_is_theirs(seed: int, negatives: int) -> None:
    """As their SpladeLoss does: queries apart, positives and negatives of all columns together."""
    made = columns(seed, negatives)
    documents, groups = torch.cat(made[1:]), torch.arange(negatives + 1).repeat_interleave(QUERIES)
    theirs = FlopsLoss(MODEL)
    assert_same(grouped(flops, documents, groups, convention="stacked"), theirs.compute_loss_from_embeddings(documents), made[1:])
    queries = made[:1]
    assert_same(flops(queries[0]), theirs.compute_loss_from_embeddings(queries[0]), queries)


@given(SEEDS, st.integers(0, VOCABULARY))
@settings(max_examples=30)
def test_l0_flops_is_theirs_with_a_threshold(seed: int, threshold: int) -> None:
    (documents,) = columns(seed, 0)[1:]
    theirs = FlopsLoss(MODEL, threshold=threshold).compute_loss_from_embeddings(documents)
    assert_same(l0_flops(documents, threshold), theirs, [documents])
