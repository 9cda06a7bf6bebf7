"""Where figures come from: the processor, its load, versions of libraries; bytes on a disk."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "sve")  # that figures may hang on
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
    hardware = {"processor": _processor(), "instructions": _instructions(), "cores": os.cpu_count(), "load": load}
    return {**hardware, "python": platform.python_version(), **versions}


def _processor() -> str:
    names = _cpuinfo("model name")
    return names[0] if names else platform.processor() or platform.machine()


def _instructions() -> str:
    """Those of INSTRUCTIONS that the processor has."""
    flags = {flag for line in _cpuinfo("flags") + _cpuinfo("Features") for flag in line.split()}
    return " ".join(name for name in INSTRUCTIONS if name in flags) or "unknown"


def _cpuinfo(field: str) -> list[str]:
    """A field of every core; empty where the system has no such file."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return [line.split(":", 1)[1].strip() for line in file if line.startswith(field)]
    except OSError:
        return []
