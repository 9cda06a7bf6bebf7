"""Where figures come from: the processor, its load, versions of libraries; bytes on a disk."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

LIBRARIES = ("splade-ptbr-connectors", "qdrant-edge-py", "onnxruntime", "tokenizers", "numpy", "torch")


def disk_bytes(folder: Path) -> int:
    """What the files below a folder take on the disk: blocks, not lengths, since files may have holes."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def machine() -> dict[str, Any]:
    """Where the numbers come from; the load says whether anything else ran beside."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {"processor": _processor(), "cores": os.cpu_count(), "load": load, "python": platform.python_version(), **versions}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
