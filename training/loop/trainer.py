"""The loop: transformers' Trainer with our batches, losses, schedules, log and checkpoints.

Everything that varies over time is a function of the optimiser step, or is kept with the checkpoint: a resumed run equals an
unbroken one. No other file knows about transformers' Trainer.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from splade_ptbr_connectors.errors import ConfigError
from training.data.batches import BatchSource
from training.data.tokens import TextTokens, Tokens
from training.loop import checkpoints, controller
from training.loop.distributed import Shares, rank_and_world
from training.loop.gradcache import batch_backward
from training.loop.monitor import BEST, Monitor
from training.loop.objective import TrainedModel, batch_loss
from training.loop.schedules import learning_rate_share, quadratic_ramp
from training.recipe.messages import suggestion
from training.recipe.sections import Recipe, Sparsity

WEIGHTS = "weights.safetensors"
CHECKPOINTS = "checkpoints"
SIDES = ("query", "document")


class MicroBatches(Dataset[dict[str, Any]]):
    """Batch i as tokens: of each batch only the texts that this process encodes are tokenised."""

    def __init__(self, source: BatchSource, tokens: TextTokens, recipe: Recipe) -> None:
        self.source, self.tokens, self.section = source, tokens, recipe.training
        self.rank, self.world = rank_and_world()

    def __len__(self) -> int:
        return self.section.steps * self.section.accumulation

    def __getitem__(self, index: int) -> dict[str, Any]:
        batch = self.source.batch(index)
        shares = Shares.of(len(batch.queries), len(batch.documents), self.world)
        queries, documents = shares.slices(self.rank)
        return {
            "batch": batch,
            "shares": shares,
            "queries": self.tokens.tokens(batch.queries[queries], max_length=self.section.length_query),
            "documents": self.tokens.tokens(batch.documents[documents], max_length=self.section.length_document),
        }


def _only(items: list[dict[str, Any]]) -> dict[str, Any]:
    return items[0]


class SpladeTrainer(Trainer):
    """Runs a recipe.

    Args:
        monitor: measures on validation, chooses the best checkpoint, stops early or with an error.
        out: folder of the run: `training.jsonl`, `checkpoints/`.
    """

    def __init__(self, model: TrainedModel, recipe: Recipe, source: BatchSource, tokens: TextTokens, monitor: Monitor, out: Path) -> None:
        self.recipe, self.monitor, self.out = recipe, monitor, out
        self.step_rows: list[dict[str, float]] = []
        self.last_row: dict[str, Any] = {}
        self.gradient_norm = float("nan")
        self.start = {name: [p.detach().clone() for p in group] for name, group in _anchored(model, recipe).items()}
        self.controllers = {side: controller.initial() for side, section in _sections(recipe).items() if section.target_terms is not None}
        self.source = source
        arguments = training_arguments(recipe, out)
        super().__init__(model=model, args=arguments, train_dataset=MicroBatches(source, tokens, recipe))
        self.remove_callback(PrinterCallback)
        self.add_callback(_Watcher(self))
        self.identity = checkpoints.identity_of(recipe, source.sha256, world_size=arguments.world_size)

    # -- where batches come from, and how steps are taken ---------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """One item a batch; every process reads the same batch, so nothing is sharded here."""
        workers = self.recipe.training.workers
        generator = torch.Generator().manual_seed(self.recipe.seed)  # its own: the global state belongs to dropout
        options: dict[str, Any] = {"persistent_workers": True, "prefetch_factor": 4} if workers else {}
        return DataLoader(self.train_dataset, batch_size=1, collate_fn=_only, num_workers=workers, generator=generator, **options)  # type: ignore[arg-type]

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW over the model's parameter groups."""
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(parameter_groups(self.trained, self.recipe), eps=self.recipe.optimizer.epsilon)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """The learning rate as a pure function of the optimiser step."""
        if self.lr_scheduler is None:
            chosen = optimizer or self.create_optimizer()
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(chosen, lambda step: learning_rate(self.recipe, step))
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(self, model: nn.Module, inputs: Mapping[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Gradient of one batch, scaled for accumulation."""
        model.train()
        batch, step, device = inputs["batch"], self.state.global_step, self.args.device
        queries, documents = (Tokens(*(tensor.to(device) for tensor in inputs[side])) for side in ("queries", "documents"))
        lambdas, accumulation = self.lambdas(step), self.recipe.training.accumulation

        def loss_of(query_side: Any, document_side: Any) -> Tensor:
            loss = batch_loss(self.trained, query_side, document_side, batch, self.recipe, lambdas=lambdas, step=step)
            tokens = self.accelerator.reduce(queries.attention_mask.sum() + documents.attention_mask.sum())
            self.step_rows.append(loss.logged | {"loss": float(loss.total.detach()), "tokens": float(tokens)})
            return loss.total

        loss = batch_backward(
            model,
            queries,
            documents,
            loss_of,
            chunk=self.recipe.training.gradcache_chunk,
            shares=inputs["shares"],
            backward=lambda loss: self.accelerator.backward(loss / accumulation),
            no_sync=lambda: self.accelerator.no_sync(model),
        )
        self.last_source = batch.source
        return loss / accumulation

    def lambdas(self, step: int) -> dict[str, float]:
        """Weights of the regularisers in force: a ramp over optimiser steps, or what the controller has reached."""
        weights = {}
        for side, section in _sections(self.recipe).items():
            ramp = quadratic_ramp(step, ramp_steps=section.ramp_steps)
            weights[side] = self.controllers[side].weight if section.weight is None else ramp * section.weight
        return weights

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Hands integrations such as TensorBoard the numbers of the step beside the Trainer's own means."""
        if "loss" in logs:
            logs = {name: value for name, value in self.last_row.items() if isinstance(value, float)} | logs
        super().log(logs, *args, **kwargs)

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        norm: Tensor = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        self.gradient_norm = float(norm)
        return norm

    @property
    def trained(self) -> TrainedModel:
        """The model without any wrapper."""
        if not isinstance(self.model, TrainedModel):
            raise ConfigError(f"a {type(self.model).__name__} cannot be trained here")
        return self.model

    # -- checkpoints ----------------------------------------------------------------------------------------------------

    @property
    def checkpoint_folder(self) -> Path:
        """Where checkpoints lie."""
        return self.out / CHECKPOINTS

    def state_to_keep(self) -> dict[str, Any]:
        """What a checkpoint holds beside weights, optimiser and random numbers."""
        return {"controllers": {side: controller.to_json(s) for side, s in self.controllers.items()}, "monitor": self.monitor.state()}

    def restore(self, checkpoint: Path) -> None:
        """Takes over the kept state of a checkpoint; weights and optimiser follow in `train(resume_from_checkpoint=...)`."""
        state = checkpoints.read_state(checkpoint, self.identity)
        self.controllers = {side: controller.from_json(values) for side, values in state["controllers"].items()}
        self.monitor.restore(state["monitor"])
        if (checkpoint / BEST).is_file() and self.args.should_save:
            _link(checkpoint / BEST, self.out / BEST)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.state.log_history = []  # training.jsonl is the log
        folder = self.checkpoint_folder / f"{checkpoints.PREFIX}{self.state.global_step}"
        with checkpoints.saving(folder):
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                if (self.out / BEST).is_file():
                    _link(self.out / BEST, folder / BEST)
                checkpoints.complete(folder, self.identity, self.state_to_keep())

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.checkpoint_folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.trained, str(folder / WEIGHTS))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_model(self.trained, str(Path(resume_from_checkpoint) / WEIGHTS), device=str(self.args.device))


class _Watcher(TrainerCallback):
    """Writes the log row of every step, and has the monitor measure."""

    def __init__(self, trainer: SpladeTrainer) -> None:
        self.trainer = trainer
        self.began = 0.0

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.began = time.perf_counter()
        self.trainer.step_rows = []

    def on_optimizer_step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        _pull_to_start(self.trainer, state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        trainer, step = self.trainer, state.global_step
        row = trainer.last_row = self._row(step)
        trainer.controllers = {side: _advanced(trainer, side, row[f"terms_{side}"]) for side in trainer.controllers}
        trainer.monitor.step(row)
        if step % trainer.recipe.validation.every == 0 or step == trainer.recipe.training.steps:
            control.should_training_stop |= trainer.monitor.validate(trainer.trained, step)
            control.should_save = True
        return control

    def _row(self, step: int) -> dict[str, Any]:
        """The step's numbers: means over its batches, sums of counts."""
        trainer, rows = self.trainer, self.trainer.step_rows
        summed = {"tokens", "empty_queries", "empty_documents"}
        numbers = {name: sum(row[name] for row in rows) / (1 if name in summed else len(rows)) for name in rows[0]}
        rate = learning_rate(trainer.recipe, step - 1) * trainer.recipe.optimizer.lr
        return (
            {"event": "step", "step": step, "source": trainer.last_source}
            | numbers
            | {
                "gradient_norm": trainer.gradient_norm,
                "learning_rate": rate,
                "seconds": time.perf_counter() - self.began,
                "memory_bytes": memory_bytes(),
            }
        )


def memory_bytes() -> int:
    """Largest memory of this process so far: of the device where there is one, resident otherwise."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def training_arguments(recipe: Recipe, out: Path) -> TrainingArguments:
    """What transformers' Trainer is told."""
    section = recipe.training
    return TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        max_steps=section.steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=section.accumulation,
        max_grad_norm=section.gradient_norm,
        bf16=section.precision == "bfloat16",
        fp16=section.precision == "float16",
        seed=recipe.seed,
        save_strategy="no",  # our watcher asks for saving after each measurement
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=min(10, section.steps),
        logging_nan_inf_filter=False,
        report_to=["tensorboard"] if "TENSORBOARD_LOGGING_DIR" in os.environ else [],
        disable_tqdm=not os.isatty(2),
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        ddp_timeout=24 * 3600,  # one process measures while the others wait
        use_cpu=not torch.cuda.is_available(),
    )


def learning_rate(recipe: Recipe, step: int) -> float:
    """Share of the learning rates in an optimiser step, counted from 0."""
    section = recipe.optimizer
    return learning_rate_share(
        step,
        warmup_steps=section.warmup_steps,
        total_steps=recipe.training.steps,
        decay=section.decay,
        decay_steps=section.decay_steps,
        floor=section.floor,
    )


def parameter_groups(model: TrainedModel, recipe: Recipe) -> list[dict[str, Any]]:
    """AdamW's groups: one without and one with weight decay, and one for each name of `lr_of`."""
    section, groups = recipe.optimizer, model.parameter_groups()
    for key, names in (("lr_of", section.lr_of), ("anchor", section.anchor)):
        for name in names:
            if name not in groups:
                raise ConfigError(f"optimizer.{key} names the parameter group {name!r}{suggestion(name, groups)}")
    made: list[dict[str, Any]] = [{"params": groups[name], "lr": rate, "weight_decay": 0.0} for name, rate in section.lr_of.items()]
    rest = [parameter for name, group in groups.items() if name not in section.lr_of for parameter in group]
    for decayed in (True, False):
        chosen = [parameter for parameter in rest if (parameter.dim() > 1) == decayed]
        if chosen:
            made.append({"params": chosen, "lr": section.lr, "weight_decay": section.weight_decay if decayed else 0.0})
    return made


def _sections(recipe: Recipe) -> dict[str, Sparsity]:
    found = {side: getattr(recipe.sparsity, side) for side in SIDES}
    return {side: section for side, section in found.items() if section is not None}


def _advanced(trainer: SpladeTrainer, side: str, terms: float) -> controller.ControllerState:
    section = _sections(trainer.recipe)[side]
    if section.target_terms is None:
        raise ConfigError(f"sparsity.{side} has no target_terms")
    return controller.advance(trainer.controllers[side], measured_terms=terms, target_terms=section.target_terms, gain=section.gain)


def _anchored(model: TrainedModel, recipe: Recipe) -> dict[str, list[nn.Parameter]]:
    groups = model.parameter_groups()
    return {name: groups[name] for name in recipe.optimizer.anchor if name in groups}


@torch.no_grad()
def _pull_to_start(trainer: SpladeTrainer, step: int) -> None:
    """Decoupled decay towards the start."""
    section, share = trainer.recipe.optimizer, learning_rate(trainer.recipe, step)
    for name, group in _anchored(trainer.trained, trainer.recipe).items():
        rate = section.lr_of.get(name, section.lr)
        for parameter, start in zip(group, trainer.start[name], strict=True):
            parameter.lerp_(start.to(parameter.device), min(1.0, section.anchor[name] * rate * share))


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, without its bytes twice where the file system can."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
