"""Regularisers: pure functions of activations. B texts, V vocabulary."""

from __future__ import annotations

from torch import Tensor

from splade_ptbr_connectors.errors import ConfigError


def flops(activations: Tensor) -> Tensor:
    """FLOPS: sum over terms of the squared mean activation over the batch; scalar.

    Args:
        activations: [B, V], non-negative. B is the number of texts, not their length.
    Source: Paria et al. 2020 (arXiv 2004.05665); SPLADE (arXiv 2107.05720) eq. 4.
    """
    if activations.dim() != 2:
        raise ConfigError(f"FLOPS needs [texts, vocabulary] activations, not {list(activations.shape)}")
    return activations.mean(dim=0).square().sum()


def l1(activations: Tensor) -> Tensor:
    """L1: mean over the texts of the sum of absolute activations; scalar (efficient SPLADE, SIGIR 2022)."""
    if activations.dim() != 2:
        raise ConfigError(f"L1 needs [texts, vocabulary] activations, not {list(activations.shape)}")
    return activations.abs().sum(dim=1).mean()
