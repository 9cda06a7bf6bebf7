"""A stage of a student's training: steps down a loss, with progress, a log and checkpoints, so that what was done is not done again."""

from __future__ import annotations

import logging
import math
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from splade_ptbr_connectors.errors import TrainingError
from training.measure.progress import bar

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """How one is trained.

    Attributes:
        name: in progress and log.
        setting: the recipe's learning rate, for a message.
        warmup: steps in which the learning rates rise.
        every: steps between checkpoints.
    """

    name: str
    setting: str
    steps: int
    warmup: int
    checkpoint: Path
    every: int

    def train(self, module: nn.Module, groups: list[dict[str, Any]], losses: Callable[[int], Iterator[Tensor]]) -> None:
        """Train the module in place; goes on from the checkpoint if there is one.

        Args:
            groups: of AdamW's parameters, each with its largest learning rate; gradients of the first are clipped.
            losses: one for each step behind so many, each from the module as it is then.

        Raises:
            TrainingError: a loss is not a number, or the checkpoint cannot be used.
        """
        largest = [group["lr"] for group in groups]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)
        done, recent = resume(self.checkpoint, module, optimizer), list[float]()
        found = losses(done)
        for step in bar(range(done, self.steps), self.name, True, total=self.steps - done):
            for group, lr in zip(optimizer.param_groups, largest, strict=True):
                group["lr"] = lr * self._share(step)
            loss = next(found)
            recent.append(loss.item())
            if not math.isfinite(recent[-1]):
                raise TrainingError(
                    f"the loss of step {step + 1} is {recent[-1]}: the student has diverged; train with a lower {self.setting}"
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(groups[0]["params"], 1.0)
            optimizer.step()
            if (step + 1) % self.every == 0 or step + 1 == self.steps:
                logger.info("%s, step %d: loss %.4f", self.name, step + 1, float(np.mean(recent[-self.every :])))
                save(self.checkpoint, module, optimizer, step + 1)

    def _share(self, step: int) -> float:
        """Of a learning rate: warm-up, then half a cosine down to a fiftieth."""
        return min(1.0, (step + 1) / self.warmup) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * step / self.steps)))


def save(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Whole or not at all."""
    partial = path.with_suffix(".partial")
    torch.save({"model": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, partial)
    os.replace(partial, path)


def resume(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Loads both in place; the step that they were saved after, 0 without a file.

    Raises:
        TrainingError: the file is damaged, or of something else.
    """
    if not path.exists():
        return 0
    try:
        kept: dict[str, Any] = torch.load(path, weights_only=True)
        module.load_state_dict(kept["model"])
        if "optimizer" in kept:
            optimizer.load_state_dict(kept["optimizer"])
        step = int(kept["step"])
    except (RuntimeError, ValueError, TypeError, KeyError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"the checkpoint {path} is damaged or of another model ({type(error).__name__}): delete it, and what it holds is learned again"
        ) from error
    logger.info("training goes on behind step %d of %s", step, path)
    return step
