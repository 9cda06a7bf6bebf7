"""The torch side of Runtime: any masked language model or T5 encoder, any device, bfloat16 and float16 by choice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..extras import require
from .folder import ModelFolder

require("torch", "the torch runtime")
require("transformers", "the torch runtime")

import torch  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

from .network_trial import try_length  # noqa: E402
from .torch_model import SpladeModel  # noqa: E402


class TorchRuntime:
    """Runs FOLDER's safetensors weights.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps" ...; None takes the CPU.
        dtype: of the network; maxima and log1p are in float32 always.
        unpooled_ids: tokens whose positions take no part in the pooling.
    """

    name = "torch"

    def __init__(self, folder: ModelFolder, device: str | None = None, dtype: str = "float32", *, unpooled_ids: Sequence[int] = ()) -> None:
        self._device = _device(device)
        with _no_progress_bars():
            model = SpladeModel.from_folder(folder.path, folder.config, unpooled_ids=unpooled_ids)
        try_length(model, folder.longest)
        self.model = model.to(self._device, getattr(torch, dtype)).eval()

    @torch.inference_mode()
    def activations(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """[B, L] token ids and mask to [B, V] activations."""
        ids, mask = (torch.from_numpy(array).to(self._device) for array in (input_ids, attention_mask))
        result: NDArray[np.float32] = self.model.activations(ids, mask).float().cpu().numpy()
        return result


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Loading takes a moment; transformers draws a bar for it even where stderr is no terminal."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or "cpu")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} is not available to torch here ({str(error).splitlines()[0]:.120}).") from error
    return device
