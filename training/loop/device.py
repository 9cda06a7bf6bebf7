"""What a run computes on: the device of this process, the numbers of its precision, and what does not fit together."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

import torch

from splade_ptbr_connectors.errors import ConfigError
from training.recipe.sections import Training

_MIXED = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def training_device() -> torch.device:
    """The GPU of this process where there is one, as transformers' Trainer chooses it."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else torch.device("cpu")


def process_count() -> int:
    """Processes that torchrun has started; 1 without it. Known before there is a process group."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_device(section: Training) -> None:
    """Refuses what transformers would do silently or fail at late.

    Raises:
        ConfigError: several GPUs for one process (transformers would put nn.DataParallel around the model, which splits
            batches where their negatives and FLOPS can no longer be seen), or float16 without a GPU.
    """
    devices = torch.cuda.device_count()
    if devices > 1 and "LOCAL_RANK" not in os.environ:
        raise ConfigError(
            f"{devices} GPUs are visible to one process: start one process for each with `torchrun --nproc-per-node {devices} -m training "
            "train ...`, or choose one with CUDA_VISIBLE_DEVICES=0"
        )
    if section.precision == "float16" and not torch.cuda.is_available():
        raise ConfigError("training.precision is 'float16', which needs a GPU, and there is none: use bfloat16 or float32")


def autocast(section: Training, device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision as the recipe asks for it."""
    return torch.autocast(device.type, dtype=_MIXED.get(section.precision), enabled=section.precision in _MIXED)
