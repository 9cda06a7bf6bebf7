"""A whole run: data, model, training, the chosen weights packed."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors.torch import load_model

from splade_ptbr_connectors.errors import ConfigError, TrainingError
from training.data.training_data import load_training_data
from training.loop import checkpoints
from training.loop.device import check_device
from training.loop.distributed import rank_and_world
from training.loop.monitor import BEST, Monitor
from training.loop.objective import TrainedModel
from training.loop.trainer import CHECKPOINTS, SpladeTrainer
from training.models.build import build_model
from training.models.pack import pack
from training.recipe.file import recipe_table
from training.recipe.sections import Recipe
from training.runlog import FILE_NAME, RunLog
from training.runlog.surroundings import surroundings

logger = logging.getLogger(__name__)
MODEL = "model"


def train(recipe: Recipe, data_dir: Path, out: Path, *, resume: bool = False) -> Path:
    """Trains a recipe in the folder `out` and packs the chosen model; the model's folder.

    Raises:
        ConfigError: `out` holds a run already and `resume` is False; a device that cannot be trained on (check_device).
        TrainingError: nothing to resume, a checkpoint of another recipe, a collapsed run, a disk that is full.
    """
    check_device(recipe.training)
    _check_free(out, resume=resume)  # before texts are read for minutes
    if recipe.training.threads is not None:
        torch.set_num_threads(recipe.training.threads)
    data = load_training_data(recipe, data_dir)
    built = build_model(recipe, data_dir, data.passages)
    model = TrainedModel(built.model, recipe, data.sources)
    log = _open_log(out)
    with log or nullcontext():
        monitor = Monitor(recipe, data.validation, built.tokens, log, out)
        trainer = SpladeTrainer(model, recipe, data.batches, built.tokens, monitor, out)
        checkpoint = _resumed(trainer, log) if resume else None
        if checkpoint is None:
            _begin(trainer, log)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if log is not None:
            _finish(trainer, log)
            pack(model.encoder, recipe, built.tokens, out / MODEL)
    return out / MODEL


def _begin(trainer: SpladeTrainer, log: RunLog | None) -> None:
    """Logs what the run is, and measures the untrained model."""
    if log is not None:
        sizes = dict(trainer.source.sizes) | {"sha256": trainer.source.sha256, "vocab_size": trainer.trained.encoder.vocab_size}
        log.append({"event": "start", "recipe": recipe_table(trainer.recipe), "data": sizes, **surroundings(trainer.args.world_size)})
    trainer.monitor.validate(trainer.trained, 0)


def _is_first_process() -> bool:
    return not (rank_and_world()[0] or int(os.environ.get("RANK", "0")))


def _check_free(out: Path, *, resume: bool) -> None:
    """Raises ConfigError for the folder of another run, or one that cannot be made."""
    if not _is_first_process():
        return
    found = checkpoints.last_complete(out / CHECKPOINTS)
    if found is not None and not resume:
        raise ConfigError(f"{out} holds a run already ({found.name}): train with --resume, choose another --out, or delete it")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {out} cannot be made ({error.strerror or error}): choose another --out") from error


def _open_log(out: Path) -> RunLog | None:
    """The log, on the first process only."""
    if not _is_first_process():
        return None
    if checkpoints.last_complete(out / CHECKPOINTS) is None:
        (out / FILE_NAME).unlink(missing_ok=True)
        (out / BEST).unlink(missing_ok=True)
    return RunLog(out / FILE_NAME)


def _resumed(trainer: SpladeTrainer, log: RunLog | None) -> Path | None:
    """The checkpoint that the run goes on from; None when it was cut off before the first."""
    if log is not None:
        checkpoints.remove_unfinished(trainer.checkpoint_folder)
    checkpoint = checkpoints.last_complete(trainer.checkpoint_folder)
    if checkpoint is None:
        return None
    trainer.restore(checkpoint)
    if log is not None:
        log.truncate_after(checkpoints.step_of(checkpoint))
    return checkpoint


def _finish(trainer: SpladeTrainer, log: RunLog) -> None:
    """Puts the chosen weights into the model, rounds them to what is stored, and measures them."""
    model, monitor = trainer.trained, trainer.monitor
    model.to("cpu")
    if monitor.best_step is None:
        raise TrainingError(f"{trainer.out}: {monitor.outcome()}")
    load_model(model, str(trainer.out / BEST))
    model.encoder.round_weights(trainer.recipe.encoding.storage)
    monitor.measure_packed(model, trainer.state.global_step)
    log.append({"event": "end", "reason": monitor.reason, "step": trainer.state.global_step, "best_step": monitor.best_step})
