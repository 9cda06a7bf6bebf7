"""The arrays that lie beside a network (tables, words, expansions, directions): read from safetensors files, and as unit vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFormatError


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a file by name. Raises ModelFormatError when it is missing or broken."""
    from safetensors.numpy import load_file

    if not path.is_file():
        raise ModelFormatError(f"{path.parent} has no {path.name!r}: the download is incomplete.")
    try:
        return load_file(path)
    except Exception as error:  # safetensors' own errors, and those of numpy for types that it has not
        raise ModelFormatError(f"{path} is broken or incomplete ({error}): download or export the model again.") from error


def unit_vectors(rows: NDArray[Any]) -> NDArray[np.float32]:
    """[N, D] rows of any kind of number as vectors of length 1; a row of zeros stays one."""
    vectors = rows.astype(np.float32)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32)
