"""Runtime: padded token ids in, activations out. One interface for onnxruntime and torch, and the choice between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, MissingExtraError, ModelFormatError
from .folder import ModelFolder

RuntimeName = Literal["auto", "onnx", "torch"]
DType = Literal["float32", "bfloat16", "float16"]


class Runtime(Protocol):
    """Runs a model's network, pooling included."""

    name: str

    def activations(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """[B, L] token ids and mask (1 = text, 0 = padding) to [B, V] activations >= 0."""
        ...


def load_runtime(
    folder: ModelFolder, runtime: RuntimeName, device: str | None, dtype: DType, *, unpooled_ids: Sequence[int] = (), graph: bool = True
) -> Runtime:
    """Load the folder's network.

    "auto" takes the exported graph when there is one (of the weights beside it, if any) and nothing was asked for that it cannot
    do (a device other than the CPU, another dtype), else torch.

    Args:
        unpooled_ids: tokens whose positions are not pooled; an exported graph knows them already.
        graph: False when the settings ask for another pooling than the folder's, which a graph cannot do.
    """
    if runtime not in get_args(RuntimeName):
        raise ConfigError(f"runtime is {runtime!r}: use one of {', '.join(get_args(RuntimeName))}.")
    if dtype not in get_args(DType):
        raise ConfigError(f"dtype is {dtype!r}: use one of {', '.join(get_args(DType))}.")
    if runtime == "auto":
        plain = device in (None, "cpu") and dtype == "float32" and graph
        takes_graph = folder.has_onnx and (plain or not folder.has_weights) and folder.foreign_onnx() is None
        runtime = "onnx" if takes_graph else "torch"
    if runtime == "onnx":
        if not graph:
            raise ConfigError(
                f"the exported graph of model {folder.name!r} has its pooling built in: pooling and pool_special_tokens can be set for "
                "a model with safetensors weights (runtime='torch')."
            )
        return _load_onnx(folder, device, dtype)
    if not folder.has_weights:
        raise ModelFormatError(f"{folder.path} has no safetensors weights for the torch runtime: use runtime='onnx'.")
    try:
        from .torch_runtime import TorchRuntime
    except MissingExtraError as error:
        what = f"the torch runtime (model {folder.name!r} has no ONNX export of its weights to run without it)"
        raise MissingExtraError(what, error.extra) from error

    return TorchRuntime(folder, device, dtype, unpooled_ids=unpooled_ids)


def _load_onnx(folder: ModelFolder, device: str | None, dtype: DType) -> Runtime:
    if not folder.has_onnx:
        raise ModelFormatError(f"{folder.path} has no ONNX graph: make one with `splade-ptbr export onnx {folder.name} OUT`.")
    if foreign := folder.foreign_onnx():
        raise ModelFormatError(f"{foreign}: use runtime='torch', or export it again.")
    if dtype != "float32":
        raise ConfigError(f"dtype {dtype!r} needs the torch runtime: an exported graph has its own precision.")
    from .onnx_runtime import OnnxRuntime

    return OnnxRuntime(folder, device)
