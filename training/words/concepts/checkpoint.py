"""What is being trained, in a file: what was done is not done again."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from splade_ptbr_connectors.errors import TrainingError

logger = logging.getLogger(__name__)


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
