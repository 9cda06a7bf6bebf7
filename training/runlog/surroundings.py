"""Versions and machine of a run."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "numpy")


def surroundings(world_size: int = 1) -> dict[str, Any]:
    """Versions and machine: what figures of speed and memory belong to."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    machine = {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count(), "device": device}
    return {"versions": versions, "machine": machine, "world_size": world_size}
