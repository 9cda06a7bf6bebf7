"""Losses: pure functions of scores. Q queries, C candidate passages."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from splade_ptbr_connectors.errors import ConfigError

CANDIDATE_SETS = ("positives", "hard", "all")


def _check_scores(scores: Tensor) -> None:
    if scores.dim() != 2 or scores.shape[1] < 2:
        raise ConfigError(f"scores must be [queries, candidates] with two candidates or more, not {list(scores.shape)}")


def candidate_mask(relevant: Tensor, positive: Tensor, *, candidates: str, is_hard: Tensor | None = None) -> Tensor:
    """[Q, C] which candidates each query is ranked against: its positive and passages not relevant to it.

    Args:
        relevant: [Q, C] bool, known positives of each query (never its negatives).
        positive: [Q] column of the positive in the loss.
        candidates: "positives" (rank-IBN: the other queries' positives and the query's own hard negatives),
            "hard" (all hard negatives, no other positives) or "all".
        is_hard: [Q, C] bool, whose hard negative a column is; [1, C] if no matter whose. Needed by "positives" and "hard".
    """
    if candidates not in CANDIDATE_SETS:
        raise ConfigError(f"candidates is {candidates!r}; accepted: {', '.join(CANDIDATE_SETS)}")
    own = F.one_hot(positive, relevant.shape[1]).bool()
    allowed = ~relevant
    if candidates != "all":
        if is_hard is None:
            raise ConfigError(f"candidate set {candidates!r} needs is_hard")
        anyones = is_hard.any(dim=0, keepdim=True)
        allowed = allowed & (is_hard | ~anyones if candidates == "positives" else anyones)
    return allowed | own


def contrastive(scores: Tensor, positive: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over queries of -log softmax of the positive among the candidates; scalar.

    Args:
        scores: [Q, C]; positive: [Q] column of each query's positive; mask: [Q, C] bool, candidates that count.
    Source: rank-IBN, SPLADE (arXiv 2107.05720) eq. 3; no temperature: scale the scores before.
    """
    _check_scores(scores)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return F.cross_entropy(scores, positive)


def kl_distillation(
    scores: Tensor, teacher: Tensor, mask: Tensor | None = None, *, temperature: float = 1.0, teacher_temperature: float = 1.0
) -> Tensor:
    """Mean over queries of KL(teacher || student) over the candidates, natural logarithm; scalar >= 0.

    Args:
        scores: [Q, C] student; teacher: [Q, C], all finite; mask: [Q, C] bool, candidates that count.
    """
    _check_scores(scores)
    if not bool(torch.isfinite(teacher).all()):
        raise ConfigError("a teacher score is missing or not finite: every candidate needs one")
    if mask is not None:
        scores, teacher = scores.masked_fill(~mask, -1e9), teacher.masked_fill(~mask, -1e9)
    student = F.log_softmax(scores / temperature, dim=1)
    target = F.log_softmax(teacher / teacher_temperature, dim=1)
    return F.kl_div(student, target, log_target=True, reduction="batchmean")


def margin_mse(positive: Tensor, negative: Tensor, teacher_positive: Tensor, teacher_negative: Tensor) -> Tensor:
    """Mean of ((s+ - s-) - (t+ - t-))^2 over queries and their negatives; scalar (arXiv 2010.02666).

    Args:
        positive, teacher_positive: [Q]; negative, teacher_negative: [Q, N].
    """
    margin = positive.unsqueeze(1) - negative
    return F.mse_loss(margin, teacher_positive.unsqueeze(1) - teacher_negative)
