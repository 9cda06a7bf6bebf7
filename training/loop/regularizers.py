"""Regularisers: pure functions of activations [B, V], B texts, V vocabulary. None has a threshold without a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from splade_ptbr_connectors.errors import ConfigError

CONVENTIONS = ("averaged", "stacked", "summed")


def flops(activations: Tensor) -> Tensor:
    """FLOPS: sum over terms of the squared mean activation over the batch; scalar.

    Convex: FLOPS of parts of a batch, averaged, is never below FLOPS of the whole. Over several processes it is the
    paper's only if activations are gathered first.

    Args:
        activations: [B, V], non-negative. B is the number of texts, not their length.
    Source: Paria et al. 2020 (arXiv 2004.05665); SPLADE (arXiv 2107.05720) eq. 4.
    """
    return _checked(activations).mean(dim=0).square().sum()


def l1(activations: Tensor) -> Tensor:
    """L1: mean over the texts of the sum of absolute activations; scalar (efficient SPLADE, SIGIR 2022)."""
    return _checked(activations).abs().sum(dim=1).mean()


def l0_flops(activations: Tensor, threshold: int) -> Tensor:
    """FLOPS of the texts with more than `threshold` terms; the others count as empty, and the divisor stays B; scalar.

    Args:
        activations: [B, V]; threshold: terms a text may have for free.
    Source: L0 mask (arXiv 2504.14839). Texts at or below the threshold get no gradient.
    """
    if threshold < 0:
        raise ConfigError(f"threshold is {threshold}; accepted: 0 or more terms")
    long = (_checked(activations) != 0).sum(dim=1, keepdim=True) > threshold
    return flops(activations * long)


def df_weights(document_share: Tensor, alpha: float, beta: float) -> Tensor:
    """[V] float32 weights of DF-FLOPS, 1 / (1 + (x^(log_alpha 2) - 1)^beta): 1 at x = 1, 1/2 at alpha, 0 at 0, increasing.

    Args:
        document_share: [V] share of the documents, 0 to 1, that a term occurs in.
        alpha: share at which the weight is 1/2, between 0 and 1; beta: steepness, above 0.
    Source: DF-FLOPS (arXiv 2505.15070).
    """
    if not 0.0 < alpha < 1.0 or not 0.0 < beta < math.inf:
        raise ConfigError(f"df_flops has alpha {alpha} and beta {beta}; accepted: alpha between 0 and 1, beta above 0")
    share = document_share.detach().to(torch.float64)
    if not bool(((share >= 0.0) & (share <= 1.0)).all()):
        raise ConfigError("document shares must lie between 0 and 1: documents with the term / documents")
    exponent = math.log(2.0) / math.log(alpha)  # negative: at share 0 the power is infinite, and the weight exactly 0
    return (1.0 / (1.0 + (share.pow(exponent) - 1.0).clamp_min(0.0).pow(beta))).to(torch.float32)


def df_flops(activations: Tensor, weights: Tensor) -> Tensor:
    """DF-FLOPS: sum over terms of (weight * mean activation)^2: terms of many documents cost more; scalar.

    Args:
        activations: [B, V]; weights: [V] of df_weights. The weight stands inside the square.
    Source: arXiv 2505.15070.
    """
    if weights.shape != _checked(activations).shape[1:]:
        raise ConfigError(f"DF-FLOPS weights are {list(weights.shape)}, the vocabulary has {activations.shape[1]} terms; one a term")
    return (activations.mean(dim=0) * weights.detach()).square().sum()


def grouped(regularizer: Callable[[Tensor], Tensor], activations: Tensor, groups: Tensor, *, convention: str) -> Tensor:
    """A regulariser of documents that are positives and negatives; scalar. Three conventions exist, so lambda does not travel:

    - "averaged": mean of the regulariser of the positives and that of all others together (SPLADE's authors); without
      negatives, that of the positives;
    - "stacked": of all documents at once (sentence-transformers); the smallest of the three for FLOPS of equal groups;
    - "summed": sum over the positives and every group of n-th negatives (OpenSearch's tuning sample); grows with them.

    Args:
        regularizer: from [B, V] to a scalar; activations: [C, V].
        groups: [C] int, 0 for a positive, n for a query's n-th hard negative (or any other document).
    """
    if groups.shape != _checked(activations).shape[:1] or groups.is_floating_point():
        expected = f"an integer for each of {activations.shape[0]} documents"
        raise ConfigError(f"groups are {list(groups.shape)} {groups.dtype}; expected {expected}")
    if convention not in CONVENTIONS:
        raise ConfigError(f"convention is {convention!r}; accepted: {', '.join(CONVENTIONS)}")
    if convention == "stacked":
        return regularizer(activations)
    if not bool((groups == 0).any()):
        raise ConfigError(f"no document is a positive (group 0); convention {convention!r} needs one, 'stacked' does not")
    kinds = groups.clamp_max(1) if convention == "averaged" else groups
    each = torch.stack([regularizer(activations[kinds == kind]) for kind in sorted(set(kinds.tolist()))])
    return each.mean() if convention == "averaged" else each.sum()


def _checked(activations: Tensor) -> Tensor:
    if activations.dim() != 2 or activations.shape[0] == 0:
        raise ConfigError(f"a regulariser needs [texts, vocabulary] activations of one text or more, not {list(activations.shape)}")
    return activations
