"""What a run does with its measurements: the log, the choice of the checkpoint, early stopping, the stop of a collapsed run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_model
from scipy import sparse

from splade_ptbr_connectors.errors import TrainingError
from splade_ptbr_connectors.evaluation.collections import JudgedCollection
from training.data.tokens import TextTokens, Tokens
from training.loop.collapse import CollapseGuard
from training.loop.distributed import rank_and_world
from training.loop.objective import TrainedModel
from training.loop.selection import Ceilings, Choice, EarlyStop
from training.measure.validation import Measured, Pruning, measure
from training.models.base import Encoded
from training.recipe.sections import Recipe
from training.runlog import RunLog

logger = logging.getLogger(__name__)
BEST = "best.safetensors"


class Monitor:
    """Measures on every validation split, on the first process; the others wait and are told the outcome.

    Args:
        collections: what is measured on; never a test split.
        log: the run's log; None on every process but the first.
        out: folder that the best weights are written to.
    """

    def __init__(self, recipe: Recipe, collections: Sequence[JudgedCollection], tokens: TextTokens, log: RunLog | None, out: Path) -> None:
        self.recipe, self.collections, self.tokens, self.log, self.out = recipe, collections, tokens, log, out
        section = recipe.validation
        self.choice = Choice(Ceilings(section.max_terms_document, section.max_terms_query, section.max_split_loss))
        self.early_stop = EarlyStop(section.patience)
        self.guard = CollapseGuard(section.max_empty_share)
        self.reason = "every step was done"

    def step(self, row: Mapping[str, Any]) -> None:
        """Logs an optimiser step. Raises TrainingError when its numbers say that the run has collapsed."""
        if self.log is not None:
            self.log.append(row)
        self.guard.step(row)

    def validate(self, model: TrainedModel, step: int) -> bool:
        """Measures; whether the run should stop. Raises TrainingError on every process when it has collapsed."""
        outcome: list[Any] = [None]
        if self.log is not None:
            outcome = [self._validate(model, step)]
        if rank_and_world()[1] > 1:
            dist.broadcast_object_list(outcome, src=0)
        stop, problem = outcome[0]
        if problem:
            raise TrainingError(problem)
        return bool(stop)

    def _validate(self, model: TrainedModel, step: int) -> tuple[bool, str | None]:
        with model.encoder.as_saved():
            try:
                measured = self.measure(model)
            except TrainingError as error:
                return True, str(error)
            splits = {m.name: m for m in measured}
            verdict = self.choice.consider(step, splits)
            if verdict.best:
                save_best(model, self.out / BEST)
        self._append(step, measured, best=verdict.best, eligible=verdict.eligible, reason=verdict.reason)
        try:
            self.guard.validation(step, splits)
        except TrainingError as error:
            return True, str(error)
        if self.early_stop.measured(best=verdict.best):
            self.reason = f"no better checkpoint in {self.recipe.validation.patience} measurements"
            return True, None
        return False, None

    def measure(self, model: TrainedModel) -> list[Measured]:
        """Every split, by the model as it is."""
        section, encoding = self.recipe.validation, self.recipe.encoding
        pruning = Pruning(
            encoding.min_weight_document, encoding.max_active_terms_document, encoding.min_weight_query, encoding.max_active_terms_query
        )
        queries, documents = (
            self._encoder(model, model.encoder.encode_queries, encoding.max_length_query),
            self._encoder(model, model.encoder.encode_documents, encoding.max_length_document),
        )
        was_training = model.training
        model.eval()
        try:
            size = model.encoder.vocab_size
            options: dict[str, Any] = {"vocab_size": size, "metric": section.metric, "pruning": pruning}
            return [measure(queries, documents, collection, **options) for collection in self.collections]
        finally:
            model.train(was_training)

    def _encoder(
        self, model: TrainedModel, encode: Callable[[Tokens], Encoded], max_length: int
    ) -> Callable[[list[str]], sparse.csr_matrix]:
        device = next(model.parameters()).device

        @torch.no_grad()
        def vectors(texts: list[str]) -> sparse.csr_matrix:
            tokens = self.tokens.tokens(texts, max_length=max_length)
            encoded = encode(Tokens(*(tensor.to(device) for tensor in tokens)))
            return sparse.csr_matrix(encoded["activations"].float().cpu().numpy())

        return vectors

    def _append(self, step: int, measured: Sequence[Measured], **decided: Any) -> None:
        mean = sum(m.quality for m in measured) / len(measured)
        row = {"event": "validation", "step": step, "metric": measured[0].metric, "mean": mean, "seconds": sum(m.seconds for m in measured)}
        token = self.tokens.tokenizer.id_to_token
        splits = {m.name: m.to_dict(lambda term: token(term) or f"<{term}>") for m in measured}
        if self.log is not None:
            self.log.append(row | decided | {"splits": splits})
        listed = ", ".join(f"{m.name} {m.quality:.4f} ({m.terms_document:.0f} terms)" for m in measured)
        logger.info("step %d: mean %s %.4f%s; %s", step, measured[0].metric, mean, " (best)" if decided["best"] else "", listed)

    def measure_packed(self, model: TrainedModel, step: int) -> None:
        """Measures the weights as they are saved, and logs it beside the run's own measurements."""
        self._append(step, self.measure(model), best=False, eligible=True, reason=None, packed=True)

    @property
    def best_step(self) -> int | None:
        """The step of the chosen checkpoint."""
        return self.choice.best_step

    def outcome(self) -> str:
        """Which checkpoint was chosen, or why none."""
        return self.choice.outcome()

    def state(self) -> dict[str, Any]:
        """JSON values that `restore` takes back."""
        return {name: getattr(self, name).state_dict() for name in ("choice", "early_stop", "guard")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The state of a checkpoint."""
        for name in ("choice", "early_stop", "guard"):
            getattr(self, name).load_state_dict(state[name])


def save_best(model: TrainedModel, path: Path) -> None:
    """Writes the weights beside their place, then moves them there: the file is never half a model."""
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, str(partial))
    partial.replace(path)
