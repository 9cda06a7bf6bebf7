"""The loop: for each stage, optimiser steps over seeded batches; measured on validation, best checkpoint kept.

Everything that varies over time is a function of the optimiser step, so a resumed run equals an unbroken one. This file
is the only one that knows about optimisers; losses, schedules, batches and models do not know about it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splade_ptbr_connectors.errors import ConfigError
from training.config import Recipe, StageSection
from training.data import Batch, BatchPlan, TrainingData
from training.losses import candidate_mask, contrastive, kl_distillation
from training.model import TableEncoder
from training.regularizers import flops, l1
from training.schedules import quadratic_ramp, warmup_linear
from training.validation import Limits, Result, measure

logger = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"
LOG = "training.jsonl"


@dataclass
class Progress:
    """Where a run stands: what a checkpoint holds beside weights and optimiser."""

    stage: int = 0
    step: int = 0
    best: float = float("-inf")
    best_at: str = "start"
    start_ndcg10: dict[str, float] = field(default_factory=dict)


def limits_of(recipe: Recipe) -> Limits:
    return Limits(
        recipe.data.max_length_query,
        recipe.data.max_length_document,
        recipe.min_weight_document,
        recipe.max_active_terms_document,
    )


@dataclass
class StepTerms:
    """The loss of a step and everything that is logged about it."""

    loss: Tensor
    logged: dict[str, float] = field(default_factory=dict)


def step_loss(model: TableEncoder, batch: Batch, stage: StageSection, step: int, source: int) -> StepTerms:
    """Contrastive loss + distillation + FLOPS of the documents (whole vocabulary) + L1 of the queries."""
    queries = model.queries(batch.queries)
    documents = model.documents([_cut(row, stage.length_document) for row in batch.documents])
    scale = stage.score_scale * torch.exp(model.log_scale[source])
    scores = scale * (queries @ documents.t())
    relevant, positive = torch.from_numpy(batch.relevant), torch.from_numpy(batch.positive)
    mask = candidate_mask(relevant, positive, candidates="all")
    ranking = contrastive(scores, positive, mask)
    ramp = quadratic_ramp(step, ramp_steps=stage.ramp_steps)
    reg_document, reg_query = flops(documents), l1(queries)
    loss = ranking + ramp * (stage.lambda_document * reg_document + stage.lambda_query * reg_query)
    terms = {"ranking": ranking, "flops_document": reg_document, "l1_query": reg_query}
    if batch.teacher is not None:
        teacher = torch.from_numpy(batch.teacher)
        terms["distillation"] = kl_distillation(scores, teacher, mask, teacher_temperature=stage.teacher_temperature)
        loss = loss + stage.distillation * terms["distillation"]
    logged = {name: float(value.detach()) for name, value in terms.items()} | {
        "lambda_document": ramp * stage.lambda_document,
        "lambda_query": ramp * stage.lambda_query,
        "terms_document": float((documents.detach() > 0).sum(1).float().mean()),
        "terms_query": float((queries.detach() > 0).sum(1).float().mean()),
        "zero_documents": float((documents.detach().amax(1) <= 0).sum()),
        "score_scale": float(scale.detach()),
        "max_activation": float(documents.detach().max()),
    }
    return StepTerms(loss, logged)


def _cut(row: Any, length: int) -> Any:
    """The first tokens of a text, its last one ([SEP]) kept."""
    if len(row) <= length:
        return row
    cut = row[:length].copy()
    cut[-1] = row[-1]
    return cut


def parameter_groups(model: TableEncoder, stage: StageSection) -> list[dict[str, Any]]:
    """Three groups: backbone, lexical channel, query table."""
    lexical = list(model.splade.lexical.parameters()) if model.splade.lexical is not None else []
    importance = [p for p in lexical if model.splade.lexical is not None and p is model.splade.lexical.importance]
    lexical = [p for p in lexical if all(p is not other for other in importance)]
    ids = {id(p) for p in [*lexical, *importance, model.query_table, model.query_traits, model.log_scale]}
    backbone = [parameter for parameter in model.parameters() if id(parameter) not in ids]
    groups = [
        {"params": lexical, "lr": stage.lr_lexical, "weight_decay": 0.0},
        {"params": importance, "lr": stage.lr_importance, "weight_decay": 0.0},
        {"params": [model.query_table], "lr": stage.lr_query, "weight_decay": 0.0},
        {"params": [model.query_traits], "lr": stage.lr_traits, "weight_decay": 0.0},
        {"params": [model.log_scale], "lr": stage.lr_scale, "weight_decay": 0.0},
    ]
    if stage.contextual:
        groups.append({"params": backbone, "lr": stage.lr_backbone, "weight_decay": stage.weight_decay})
    return [group | {"top_lr": group["lr"]} for group in groups]


class Trainer:
    """Runs a recipe's stages and keeps the best checkpoint in memory and on disk."""

    def __init__(self, model: TableEncoder, recipe: Recipe, data: TrainingData, out: Path) -> None:
        self.model, self.recipe, self.data, self.out = model, recipe, data, out
        self.progress = Progress()
        self.best_state = _state(model)
        self._start = {name: p.detach().clone() for name, p in self._anchored()}
        self._optimizer_state: dict[str, Any] | None = None
        out.mkdir(parents=True, exist_ok=True)

    def run(self, *, stop_after: int | None = None) -> Progress:
        """Trains to the end, or for `stop_after` optimiser steps; the best weights are in the model afterwards."""
        torch.set_num_threads(self.recipe.threads)
        if self.progress.stage == 0 and self.progress.step == 0:
            self._set_mode(self.recipe.stages[0])
            self.evaluate("start")
        for number in range(self.progress.stage, len(self.recipe.stages)):
            done = self._run_stage(number, stop_after)
            if stop_after is not None and (stop_after := stop_after - done) <= 0:
                self.save_checkpoint()
                return self.progress
            self.progress.stage, self.progress.step, self._optimizer_state = number + 1, 0, None
        self.model.load_state_dict(self.best_state)
        return self.progress

    def _run_stage(self, number: int, stop_after: int | None) -> int:
        stage = self.recipe.stages[number]
        self._set_mode(stage)
        plan = BatchPlan(self.data.sources, self.recipe.data.mixture, steps=stage.steps, seed=self.recipe.seed + number)
        optimizer = torch.optim.AdamW(parameter_groups(self.model, stage), eps=1e-6)
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
        done = 0
        for step in range(self.progress.step, stage.steps):
            self._step(plan, stage, optimizer, step)
            self.progress.step, self._optimizer_state, done = step + 1, optimizer.state_dict(), done + 1
            if (step + 1) % stage.evaluate_every == 0 or step + 1 == stage.steps:
                self.evaluate(f"{stage.name}/{step + 1}")
                self.save_checkpoint()
            if stop_after is not None and done >= stop_after:
                break
        return done

    def _set_mode(self, stage: StageSection) -> None:
        self.model.splade.contextual, self.model.splade.expansion = stage.contextual, stage.expansion
        self.model.splade.search_dtype = torch.bfloat16

    def _step(self, plan: BatchPlan, stage: StageSection, optimizer: torch.optim.Optimizer, step: int) -> None:
        began = time.perf_counter()
        batch = plan.batch(step, queries=stage.batch_queries, documents=stage.batch_documents, teacher=stage.distillation > 0)
        share = warmup_linear(step, warmup_steps=min(stage.warmup_steps, stage.steps), total_steps=stage.steps, floor=0.02)
        for group in optimizer.param_groups:
            group["lr"] = group["top_lr"] * share
        terms = step_loss(self.model, batch, stage, step, sorted(self.data.sources).index(batch.source))
        optimizer.zero_grad(set_to_none=True)
        terms.loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), stage.gradient_norm)
        optimizer.step()
        self._pull_to_start(stage, share)
        timing = {"gradient_norm": float(norm), "learning_rate_share": share, "seconds": time.perf_counter() - began}
        row = {"stage": stage.name, "step": step + 1, "source": batch.source, "loss": float(terms.loss.detach())}
        self._log(row | terms.logged | timing)

    def _anchored(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        yield "query_table", self.model.query_table
        if self.model.splade.lexical is not None:
            yield from (item for item in self.model.splade.lexical.named_parameters() if item[0] != "importance")

    @torch.no_grad()
    def _pull_to_start(self, stage: StageSection, share: float) -> None:
        for name, parameter in self._anchored():
            rate = stage.lr_query if name == "query_table" else stage.lr_lexical
            parameter.lerp_(self._start[name], min(1.0, stage.anchor * rate * share))

    def evaluate(self, where: str) -> list[Result]:
        """Measures every validation split; a better mean within the recipe's limits becomes the best checkpoint."""
        began = time.perf_counter()
        with _measured(self.model, 1.0 if where == "packed" else self.recipe.importance_share):
            results = [measure(self.model, self.data.vocabulary, split, limits_of(self.recipe)) for split in self.data.validation]
            mean = sum(result.ndcg10 for result in results) / max(1, len(results))
            terms = max((result.terms_document for result in results), default=0.0)
            best = terms <= self.recipe.max_terms_document and mean > self.progress.best and self._harmless(results)
            if best:
                self.progress.best, self.progress.best_at, self.best_state = mean, where, _state(self.model)
        splits = {r.name: {"ndcg10": r.ndcg10, "terms_query": r.terms_query, "terms_document": r.terms_document} for r in results}
        seconds = time.perf_counter() - began
        self._log({"evaluation": where, "mean_ndcg10": mean, "best": best, "seconds": seconds, "splits": splits})
        listed = ", ".join(f"{r.name} {r.ndcg10:.4f} ({r.terms_document:.0f} terms)" for r in results)
        logger.info("%s: mean nDCG@10 %.4f%s; %s", where, mean, " (best)" if best else "", listed)
        return results

    def _harmless(self, results: list[Result]) -> bool:
        """No split fell below its start by more than the recipe allows."""
        start = self.progress.start_ndcg10 = self.progress.start_ndcg10 or {result.name: result.ndcg10 for result in results}
        allowed = self.recipe.max_split_loss
        return allowed is None or all(result.ndcg10 >= start[result.name] - allowed for result in results)

    def save_checkpoint(self) -> None:
        """Everything a resumed run needs, written whole or not at all."""
        state = {
            "recipe": repr(self.recipe),
            "progress": self.progress.__dict__.copy(),
            "model": self.model.state_dict(),
            "optimizer": self._optimizer_state,
            "best": self.best_state,
            "start": self._start,
        }
        partial = self.out / (CHECKPOINT + ".partial")
        torch.save(state, partial)
        os.replace(partial, self.out / CHECKPOINT)

    def resume(self) -> bool:
        """Goes on from the checkpoint of the output folder; False when there is none."""
        path = self.out / CHECKPOINT
        if not path.is_file():
            return False
        state = torch.load(path, weights_only=True)
        if state["recipe"] != repr(self.recipe):
            raise ConfigError(f"{path} is a checkpoint of another recipe: choose another output folder, or train without --resume")
        self.model.load_state_dict(state["model"])
        self.progress = Progress(**state["progress"])
        self.best_state, self._optimizer_state, self._start = state["best"], state["optimizer"], state["start"]
        return True

    def _log(self, row: dict[str, Any]) -> None:
        with (self.out / LOG).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")


@contextmanager
def _measured(model: TableEncoder, share: float) -> Iterator[None]:
    """The model as it would be packed: `share` of the learned importance; as it was afterwards."""
    lexical, search_dtype = model.splade.lexical, model.splade.search_dtype
    learned = lexical.importance.detach().clone() if lexical is not None and lexical.importance is not None else None
    model.splade.search_dtype = torch.bfloat16
    if lexical is not None and lexical.importance is not None:
        lexical.importance.data.mul_(share)
    try:
        yield
    finally:
        model.splade.search_dtype = search_dtype
        if lexical is not None and lexical.importance is not None and learned is not None:
            lexical.importance.data.copy_(learned)


def _state(model: TableEncoder) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
