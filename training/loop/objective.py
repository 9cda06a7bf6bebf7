"""The loss of one batch: ranking losses on scores, regularisers on activations, and what is logged about both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data.batches import Batch
from training.data.tokens import Tokens
from training.loop.losses import candidate_mask, contrastive, kl_distillation, margin_mse
from training.loop.regularizers import df_flops, df_weights, flops, grouped, l0_flops, l1
from training.models.base import BiEncoder, Encoded
from training.recipe.sections import Ranking, Recipe, Sparsity

Lambdas = Mapping[str, float]
"""Weight of the regulariser of each side in this step, "query" and "document"."""


class TrainedModel(nn.Module):
    """A model with what belongs to its loss and must survive with it: learned score scales, document frequencies.

    Args:
        sources: names of the data's sources, each with a scale of its own when `ranking.learned_scale` is on.
    """

    def __init__(self, encoder: BiEncoder, recipe: Recipe, sources: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder
        self.sources = list(sources)
        self.log_scale = nn.Parameter(torch.zeros(len(self.sources))) if recipe.ranking.learned_scale else None
        counted = any(s is not None and s.regularizer == "df_flops" for s in (recipe.sparsity.query, recipe.sparsity.document))
        size = encoder.vocab_size if counted else 0
        for side in ("query", "document"):
            self.register_buffer(f"df_{side}", torch.zeros(size))
            self.register_buffer(f"texts_{side}", torch.zeros(()))
            self.register_buffer(f"df_weights_{side}", torch.ones(size))

    def forward(self, queries: Tokens, documents: Tokens) -> tuple[Encoded, Encoded]:
        """Representations of both sides."""
        encoded: tuple[Encoded, Encoded] = self.encoder(queries, documents)
        return encoded

    def scale(self, source: str) -> Tensor | float:
        """The learned factor on the scores of a source; 1 when none is learned."""
        return 1.0 if self.log_scale is None else torch.exp(self.log_scale[self.sources.index(source)])

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Those of the encoder, and `scale`."""
        groups = self.encoder.parameter_groups()
        return groups if self.log_scale is None else groups | {"scale": [self.log_scale]}

    @torch.no_grad()
    def count_terms(self, side: str, activations: Tensor, section: Sparsity, step: int) -> None:
        """Counts in how many texts each term occurs; every `df_every` steps the counts become weights and start again."""
        frequency, texts, weights = (getattr(self, f"{name}_{side}") for name in ("df", "texts", "df_weights"))
        frequency += (activations > 0).sum(0)
        texts += len(activations)
        if (step + 1) % section.df_every == 0:
            weights.copy_(df_weights(frequency / texts, section.df_alpha, section.df_beta))
            frequency.zero_()
            texts.zero_()


@dataclass(frozen=True)
class Loss:
    """The loss of a batch and everything that is logged about it."""

    total: Tensor
    logged: dict[str, float]


def batch_loss(
    model: TrainedModel, queries: Encoded, documents: Encoded, batch: Batch, recipe: Recipe, *, lambdas: Lambdas, step: int
) -> Loss:
    """Loss of the representations of a whole batch (of all processes).

    Args:
        queries, documents: representations of Q and C texts, in the order of the batch.
        lambdas: weights of the regularisers in force; step: optimiser step, counted from 0.
    """
    device = documents["activations"].device
    scale = recipe.ranking.score_scale * model.scale(batch.source)
    ranking = partial(_ranking, batch=batch, section=recipe.ranking, device=device)
    terms = ranking(scale * model.encoder.scores(queries, documents))
    total = _weighted(terms, recipe.ranking)
    auxiliary = model.encoder.auxiliary_scores(queries, documents)
    if auxiliary is not None and recipe.sparse_embed is not None:
        second = ranking(scale * auxiliary)
        total = total + recipe.sparse_embed.sparse_weight * _weighted(second, recipe.ranking)
        terms |= {f"sparse_{name}": value for name, value in second.items()}
    sides = {"query": queries["activations"], "document": documents["activations"]}
    for side, activations in sides.items():
        section: Sparsity | None = getattr(recipe.sparsity, side)
        if section is not None:
            terms[f"regularizer_{side}"] = _regularized(model, side, activations, section, batch, step)
            total = total + lambdas[side] * terms[f"regularizer_{side}"]
    logged = {name: float(value.detach()) for name, value in terms.items()}
    logged |= {f"lambda_{side}": value for side, value in lambdas.items()} | {"score_scale": float(torch.as_tensor(scale).detach())}
    return Loss(total, logged | _sparsity(sides))


def _weighted(terms: Mapping[str, Tensor], section: Ranking) -> Tensor:
    return torch.stack([section.losses[name] * value for name, value in terms.items()]).sum()


def _ranking(scores: Tensor, *, batch: Batch, section: Ranking, device: torch.device) -> dict[str, Tensor]:
    """Each ranking loss of the recipe, unweighted."""
    relevant, positive, own = (torch.from_numpy(array).to(device) for array in (batch.relevant, batch.positive, batch.own))
    teacher = None if batch.teacher is None else torch.from_numpy(batch.teacher).to(device)
    missing = torch.full_like(scores, torch.nan) if teacher is None else teacher
    terms = {}
    for name in section.losses:
        if name == "contrastive":
            terms[name] = contrastive(scores, positive, candidate_mask(relevant, positive, own, candidates=section.candidates))
        elif name == "margin_mse":
            terms[name] = margin_mse(scores, missing, positive, own)
        else:
            scored = candidate_mask(relevant, positive, own, candidates="all" if section.bm25_teacher else "own")
            temperatures = {"temperature": section.kl_temperature, "teacher_temperature": section.teacher_temperature}
            terms[name] = kl_distillation(scores, missing, scored, **temperatures)
    return terms


def _regularized(model: TrainedModel, side: str, activations: Tensor, section: Sparsity, batch: Batch, step: int) -> Tensor:
    function = _regularizer(model, side, section)
    if section.regularizer == "df_flops":
        model.count_terms(side, activations.detach(), section, step)
    if side == "query":
        return function(activations)
    groups = torch.from_numpy(document_groups(batch)).to(activations.device)
    return grouped(function, activations, groups, convention=section.convention)


def _regularizer(model: TrainedModel, side: str, section: Sparsity) -> Callable[[Tensor], Tensor]:
    if section.regularizer == "l0_flops":
        return partial(l0_flops, threshold=section.threshold)
    if section.regularizer == "df_flops":
        return partial(df_flops, weights=getattr(model, f"df_weights_{side}").clone())
    return {"flops": flops, "l1": l1}[section.regularizer]


def document_groups(batch: Batch) -> NDArray[np.int64]:
    """[C] 0 for a positive of any query, n for the n-th hard negative of the first query that has it, 1 for any other passage."""
    groups = np.ones(len(batch.documents), dtype=np.int64)
    for row in batch.own[::-1]:
        places = np.flatnonzero(row)
        groups[places] = np.arange(1, len(places) + 1)
    groups[batch.positive] = 0
    return groups


@torch.no_grad()
def _sparsity(sides: Mapping[str, Tensor]) -> dict[str, float]:
    logged: dict[str, float] = {}
    for (side, activations), plural in zip(sides.items(), ("queries", "documents"), strict=True):
        terms = (activations > 0).sum(1)
        logged |= {f"terms_{side}": float(terms.float().mean()), f"empty_{plural}": float((terms == 0).sum())}
    return logged | {"max_activation": float(max(activations.max() for activations in sides.values()))}
