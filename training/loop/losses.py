"""Losses: pure functions of scores [Q, C], Q queries against C candidate passages of the batch.

A batch has one column for every passage, whoever's positive or hard negative it is. `candidate_mask` says which columns a
query is ranked against; the losses never guess it from the shape of the scores.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from splade_ptbr_connectors.errors import ConfigError

CANDIDATE_SETS = ("own", "positives", "hard", "all")


def candidate_mask(relevant: Tensor, positive: Tensor, own: Tensor, *, candidates: str) -> Tensor:
    """[Q, C] bool, the candidates of each query: its positive, and the negatives of a candidate set.

    - "own": the hard negatives chosen for the query, nothing of the rest of the batch (pairwise with one negative);
    - "positives": "own" and the positives of the other queries (rank-IBN, SPLADE, arXiv 2107.05720 eq. 3);
    - "hard": the hard negatives of any query; another query's positive only if it is somebody's hard negative too;
    - "all": every passage of the batch.

    A known positive of a query is never its negative, in no set.

    Args:
        relevant: [Q, C] bool, the known positives of each query; positive: [Q] column of its positive in the loss.
        own: [Q, C] bool, hard negatives that were chosen for the query.
    Raises: ConfigError for an unknown set, for shapes that do not fit, and for a query that is left without a negative.
    """
    _check_batch(relevant, positive, own)
    in_batch = torch.zeros_like(own[:1])
    if candidates == "positives":
        in_batch[0, positive] = True
    elif candidates == "hard":
        in_batch = own.any(dim=0, keepdim=True)
    elif candidates == "all":
        in_batch = torch.ones_like(in_batch)
    elif candidates != "own":
        raise ConfigError(f"candidates is {candidates!r}; accepted: {', '.join(CANDIDATE_SETS)}")
    negatives = (own | in_batch) & ~relevant & ~_column(positive, own.shape[1])
    _check_negatives(negatives, candidates)
    return negatives | _column(positive, own.shape[1])


def contrastive(scores: Tensor, positive: Tensor, mask: Tensor) -> Tensor:
    """Mean over queries of -log softmax of the positive among the query's candidates; scalar >= 0, float32.

    With one negative it is softplus(s- - s+). There is no temperature: scale the scores before.

    Args:
        scores: [Q, C]; positive: [Q] column of each query's positive; mask: [Q, C] bool, the candidates (candidate_mask).
    Source: rank-IBN, SPLADE (arXiv 2107.05720) eq. 3.
    """
    _check_candidates(scores, mask)
    if not bool((mask & _column(positive, scores.shape[1])).any(dim=1).all()):
        raise ConfigError("the mask leaves a query's positive out; a positive is always a candidate (use candidate_mask)")
    return F.cross_entropy(_precise(scores).masked_fill(~mask, -torch.inf), positive)


def margin_mse(scores: Tensor, teacher: Tensor, positive: Tensor, own: Tensor) -> Tensor:
    """Squared difference of the student's and the teacher's margins, positive minus negative; scalar >= 0, float32.

    For each query the mean over its own hard negatives of ((s+ - s-) - (t+ - t-))^2, then the mean over queries. Zero where
    the margins agree: a constant added to the teacher's scores changes nothing, a factor does.

    Args:
        scores: [Q, C] student; teacher: [Q, C], NaN where the teacher has not scored the pair.
        positive: [Q] column of each query's positive; own: [Q, C] bool, hard negatives that were chosen for the query.
    Raises: ConfigError for a pair in use without a teacher score, and for a query without hard negatives.
    Source: MarginMSE (arXiv 2010.02666) eq. 5; n negatives as a mean.
    """
    negatives = own & ~_column(positive, own.shape[1])
    _check_negatives(negatives, "own")
    used = negatives | _column(positive, own.shape[1])
    _check_candidates(scores, used)
    error = _margins(_precise(scores), positive) - _margins(_checked_teacher(teacher, used), positive)
    each = error.square().masked_fill(~negatives, 0.0).sum(dim=1) / negatives.sum(dim=1)
    return each.mean()


def kl_distillation(scores: Tensor, teacher: Tensor, mask: Tensor, *, temperature: float = 1.0, teacher_temperature: float = 1.0) -> Tensor:
    """Mean over queries of KL(teacher || student), natural logarithm, over the query's candidates; scalar >= 0, float32.

    Teacher: softmax(t / teacher_temperature), student: softmax(s / temperature). There is no factor temperature^2 (Hinton et
    al., arXiv 1503.02531, and sentence-transformers have one): the loss's weight in the recipe is the place for it.

    Args:
        scores: [Q, C] student; teacher: [Q, C], NaN where the teacher has not scored the pair.
        mask: [Q, C] bool, the candidates: candidate_mask(..., candidates="own") where only these are scored.
    Raises: ConfigError for a candidate without a finite teacher score, and for a temperature that is not above 0.
    """
    _check_candidates(scores, mask)
    for name, value in (("temperature", temperature), ("teacher_temperature", teacher_temperature)):
        if not 0.0 < value < float("inf"):
            raise ConfigError(f"{name} is {value}; accepted: a number above 0")
    student = _log_shares(_precise(scores) / temperature, mask)
    target = _log_shares(_checked_teacher(teacher, mask) / teacher_temperature, mask)
    shares = target.exp().masked_fill(~mask, 0.0)
    return (shares * (target - student)).sum(dim=1).mean()


def _column(positive: Tensor, columns: int) -> Tensor:
    """[Q, C] bool, true at each query's positive."""
    return F.one_hot(positive, columns).bool()


def _precise(scores: Tensor) -> Tensor:
    """Half precisions as float32; float64 stays."""
    return scores if scores.dtype == torch.float64 else scores.float()


def _margins(scores: Tensor, positive: Tensor) -> Tensor:
    """[Q, C] score of the query's positive minus each score."""
    return scores.gather(1, positive.unsqueeze(1)) - scores


def _log_shares(scores: Tensor, mask: Tensor) -> Tensor:
    """[Q, C] logarithm of the softmax over the candidates; 0 where there is none (-inf would turn products into NaN)."""
    return F.log_softmax(scores.masked_fill(~mask, -torch.inf), dim=1).masked_fill(~mask, 0.0)


def _checked_teacher(teacher: Tensor, used: Tensor) -> Tensor:
    """The teacher's scores, cut off from any graph, 0 where not in use; ConfigError where one in use is missing."""
    if teacher.shape != used.shape:
        raise ConfigError(f"teacher scores are {list(teacher.shape)}, scores {list(used.shape)}; they have the same shape")
    missing = int((used & ~torch.isfinite(teacher)).sum())
    if missing:
        raise ConfigError(
            f"{missing} of {int(used.sum())} pairs of the loss have no finite teacher score; score them, or choose candidates "
            f"that are scored (candidates 'own')"
        )
    return _precise(teacher.detach()).masked_fill(~used, 0.0)


def _check_batch(relevant: Tensor, positive: Tensor, own: Tensor) -> None:
    if relevant.dim() != 2 or own.shape != relevant.shape or positive.shape != relevant.shape[:1]:
        shapes = f"relevant {list(relevant.shape)}, positive {list(positive.shape)}, own {list(own.shape)}"
        raise ConfigError(f"the matrices of a batch do not fit each other: {shapes}; expected [Q, C], [Q], [Q, C]")
    if positive.numel() and not 0 <= int(positive.min()) <= int(positive.max()) < relevant.shape[1]:
        raise ConfigError(f"a positive is in no column: {positive.tolist()!r:.80}; accepted: 0 to {relevant.shape[1] - 1}")


def _check_candidates(scores: Tensor, mask: Tensor) -> None:
    """Scores against two candidates or more for every query: the softmax of one is constant, and its loss always 0."""
    if scores.dim() != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise ConfigError(f"scores must be [queries, candidates] with two candidates or more, not {list(scores.shape)}")
    if mask.shape != scores.shape:
        raise ConfigError(f"the mask is {list(mask.shape)}, the scores {list(scores.shape)}; they have the same shape")
    alone = int((mask.sum(dim=1) < 2).sum())
    if alone:
        raise ConfigError(f"{alone} of {mask.shape[0]} queries have fewer than two candidates; a loss needs two or more")


def _check_negatives(negatives: Tensor, candidates: str) -> None:
    without = int((~negatives.any(dim=1)).sum())
    if without:
        todo = "larger batches or hard negatives in the data" if candidates == "all" else "hard negatives in the data"
        other = {"own": " or a set with in-batch negatives ('positives', 'all')", "hard": " or candidates 'all'"}.get(candidates, "")
        raise ConfigError(
            f"{without} of {negatives.shape[0]} queries have no negative in candidate set {candidates!r}; this needs {todo}{other}"
        )
