"""What is being trained, in a file: what was done is not done again."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

logger = logging.getLogger(__name__)


def save(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Whole or not at all."""
    partial = path.with_suffix(".partial")
    torch.save({"model": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, partial)
    os.replace(partial, path)


def resume(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Loads both in place; the step that they were saved after, 0 without a file."""
    if not path.exists():
        return 0
    kept: dict[str, Any] = torch.load(path, weights_only=True)
    module.load_state_dict(kept["model"])
    if "optimizer" in kept:
        optimizer.load_state_dict(kept["optimizer"])
    logger.info("training goes on behind step %d of %s", kept["step"], path)
    return int(kept["step"])
