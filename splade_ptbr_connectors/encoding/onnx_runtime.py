"""The onnxruntime side of Runtime: runs an exported graph that does the pooling itself. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..errors import ConfigError, ModelFormatError
from .folder import ONNX_FILE, ModelFolder

PIECE_TOKENS = 1024
"""Tokens of one run on a CPU: its tensors stay in the caches, where those of a whole batch would go through memory."""
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
Integers = NDArray[np.int64]


class OnnxRuntime:
    """Runs FOLDER/model.onnx: inputs input_ids and attention_mask [B, L] int64, output activations [B, V] float32."""

    name = "onnx"

    def __init__(self, folder: ModelFolder, device: str | None = None) -> None:
        self._path, self._width = folder.path / ONNX_FILE, folder.config.vocab_size
        path, graph, provider = self._path, folder.read_onnx(), _provider(device)
        options = ort.SessionOptions()
        options.intra_op_num_threads = _threads()
        # several runs share these threads: one that waits must not hold a core
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors only: warnings about graph optimisation are not the user's concern
        # a graph with tensors in further files would not be what its sha256 says: there is no folder to take them from
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path / "none"))
        try:
            self._session = ort.InferenceSession(graph, options, providers=[provider])
        except Exception as error:  # onnxruntime's own exceptions share no base but Exception
            raise ModelFormatError(f"{path} cannot be loaded: {str(error).splitlines()[0]:.200}") from error
        outputs = self._session.get_outputs()
        width = outputs[0].shape[-1]
        if isinstance(width, int) and width != folder.config.vocab_size:
            raise ModelFormatError(f"{path} gives {width:,} terms, {folder.config.vocab_size:,} are declared: export the model again.")
        self._parallel = (_threads() or _cores()) if device in (None, "cpu") else 0  # 0: batches stay whole
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def activations(self, input_ids: Integers, attention_mask: Integers) -> NDArray[np.float32]:
        """[B, L] token ids and mask to [B, V] activations. On a CPU a batch is run in pieces, as many at once as there are threads."""
        pieces = list(_pieces(attention_mask)) if self._parallel else []
        if len(pieces) <= 1:
            return self._run(input_ids, attention_mask)
        inputs = [(input_ids[rows, :length], attention_mask[rows, :length]) for rows, length in pieces]
        run = self._pool().map if self._parallel > 1 else map
        return np.concatenate(list(run(lambda piece: self._run(*piece), inputs)))

    def _pool(self) -> ThreadPoolExecutor:
        """The threads of this process: a forked one has none of its parent's, and would wait for them."""
        process = os.getpid()
        if process not in self._pools:
            self._pools = {process: ThreadPoolExecutor(self._parallel, "onnx-run")}
        return self._pools[process]

    def _run(self, input_ids: Integers, attention_mask: Integers) -> NDArray[np.float32]:
        try:
            (result, *_) = self._session.run(None, {"input_ids": input_ids, "attention_mask": attention_mask})
        except Exception as error:  # as above
            raise ModelFormatError(f"{self._path} cannot be run: {str(error).splitlines()[0]:.200}; export the model again.") from error
        if getattr(result, "shape", None) != (len(input_ids), self._width):
            raise ModelFormatError(f"{self._path} does not give {self._width:,} activations for each text: export the model again.")
        return cast(NDArray[np.float32], result)


def _pieces(attention_mask: Integers) -> Iterator[tuple[slice, int]]:
    """Consecutive rows of at most PIECE_TOKENS tokens together, and the length up to which these rows have text."""
    kept = attention_mask != 0
    lengths = np.where(kept.any(1), kept.shape[1] - kept[:, ::-1].argmax(1), 1).tolist()
    start, longest = 0, 0
    for row, length in enumerate(lengths):
        if row > start and max(longest, length) * (row - start + 1) > PIECE_TOKENS:
            yield slice(start, row), longest
            start, longest = row, 0
        longest = max(longest, length)
    yield slice(start, len(lengths)), longest


def _threads() -> int:
    """OMP_NUM_THREADS, as torch and numpy take it, so that several processes can share a machine; 0 leaves it to onnxruntime."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else 0


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _provider(device: str | None) -> str:
    provider = _PROVIDERS.get(device or "cpu")
    if provider is None or provider not in ort.get_available_providers():
        usable = [name for name, wanted in _PROVIDERS.items() if wanted in ort.get_available_providers()]
        raise ConfigError(f"device {device!r} is not available to onnxruntime here: use one of {', '.join(usable)}.")
    return provider
