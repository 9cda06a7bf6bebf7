"""The arrays that lie beside a network (tables, words, expansions, directions): read from safetensors files, and as unit vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFormatError

ON_ONE_THREAD = 260_000  # multiplications


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a file by name. Raises ModelFormatError when it is missing or broken."""
    from safetensors.numpy import load_file

    if not path.is_file():
        raise ModelFormatError(f"{path.parent} has no {path.name!r}: the download is incomplete.")
    try:
        return load_file(path)
    except Exception as error:  # safetensors' own errors, and those of numpy for types that it has not
        raise ModelFormatError(f"{path} is broken or incomplete ({error}): download or export the model again.") from error


def product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """The product of [N, K] and [K, M], in blocks of rows that BLAS multiplies on the thread that asks.

    OpenBLAS wakes its other threads from some 260,000 multiplications on. For a query they take longer, and then they spin for a while,
    on cores that the network has something to do for.
    """
    rows = max(1, ON_ONE_THREAD // max(1, right.size))
    if len(left) <= rows:
        return left @ right
    return np.concatenate([left[start : start + rows] @ right for start in range(0, len(left), rows)])


def unit_vectors(rows: NDArray[Any]) -> NDArray[np.float32]:
    """[N, D] rows of any kind of number as vectors of length 1; a row of zeros stays one."""
    vectors = rows.astype(np.float32)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32)
