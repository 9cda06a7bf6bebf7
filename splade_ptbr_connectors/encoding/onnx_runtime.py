"""The onnxruntime side of Runtime: runs an exported graph that does the pooling itself. Needs no torch."""

from __future__ import annotations

import os
from typing import cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..errors import ConfigError, ModelFormatError
from .folder import ONNX_FILE, ModelFolder

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntime:
    """Runs FOLDER/model.onnx: inputs input_ids and attention_mask [B, L] int64, output activations [B, V] float32."""

    name = "onnx"

    def __init__(self, folder: ModelFolder, device: str | None = None) -> None:
        folder.check_onnx()
        path = folder.path / ONNX_FILE
        options = ort.SessionOptions()
        options.intra_op_num_threads = _threads()
        options.log_severity_level = 3  # errors only: warnings about graph optimisation are not the user's concern
        try:
            self._session = ort.InferenceSession(str(path), options, providers=[_provider(device)])
        except Exception as error:  # onnxruntime's own exceptions share no base but Exception
            raise ModelFormatError(f"{path} cannot be loaded: {str(error).splitlines()[0]:.200}") from error
        outputs = self._session.get_outputs()
        width = outputs[0].shape[-1]
        if isinstance(width, int) and width != folder.config.vocab_size:
            raise ModelFormatError(f"{path} gives {width:,} terms, {folder.config.vocab_size:,} are declared: export the model again.")

    def activations(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """[B, L] token ids and mask to [B, V] activations."""
        outputs = self._session.run(None, {"input_ids": input_ids, "attention_mask": attention_mask})
        return cast(NDArray[np.float32], outputs[0])


def _threads() -> int:
    """OMP_NUM_THREADS, as torch and numpy take it, so that several processes can share a machine; 0 leaves it to onnxruntime."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else 0


def _provider(device: str | None) -> str:
    provider = _PROVIDERS.get(device or "cpu")
    if provider is None or provider not in ort.get_available_providers():
        usable = [name for name, wanted in _PROVIDERS.items() if wanted in ort.get_available_providers()]
        raise ConfigError(f"device {device!r} is not available to onnxruntime here: use one of {', '.join(usable)}.")
    return provider
