"""Runtimes: padded token ids in, activations out. One interface for onnxruntime and torch, and the choice between them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ..cores import cores
from ..errors import ConfigError, MissingExtraError, ModelFormatError
from ..extras import require
from ..numerals import integer
from .folder import ONNX_FILE, ModelFolder

if TYPE_CHECKING:
    import torch

RuntimeName = Literal["auto", "onnx", "torch"]
DType = Literal["float32", "bfloat16", "float16"]
Integers = NDArray[np.int64]
PIECE_TOKENS = 1024
"""Tokens of one run on a CPU: its tensors stay in the caches, where those of a whole batch would go through memory."""
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Runtime(Protocol):
    """Runs a model's network, pooling included."""

    name: str

    def activations(self, input_ids: Integers, attention_mask: Integers) -> NDArray[np.float32]:
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
    check_runtime(folder, runtime, device, dtype)
    if folder.concepts is not None:
        return _load_onnx(folder.concepts, device, dtype)
    if folder.config.words is not None:
        return WithoutNetwork(folder.name)
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
        return TorchRuntime(folder, device, dtype, unpooled_ids=unpooled_ids)
    except MissingExtraError as error:
        what = f"the torch runtime (model {folder.name!r} has no ONNX export of its weights to run without it)"
        raise MissingExtraError(what, error.extra) from error


def check_runtime(folder: ModelFolder, runtime: str, device: str | None, dtype: str) -> None:
    """Raise ConfigError for a name that is not one of these, or when the model cannot be run like that; nothing is loaded."""
    if runtime not in get_args(RuntimeName):
        raise ConfigError(f"runtime is {runtime!r}: use one of {', '.join(get_args(RuntimeName))}.")
    if dtype not in get_args(DType):
        raise ConfigError(f"dtype is {dtype!r}: use one of {', '.join(get_args(DType))}.")
    if folder.concepts is not None and runtime == "torch":
        raise ConfigError(f"model {folder.name!r} has an exported graph and no weights for torch: use runtime='auto' or 'onnx'.")
    if folder.config.words is not None and folder.concepts is None:
        given = {"runtime": (runtime, "auto"), "device": (device or "cpu", "cpu"), "dtype": (dtype, "float32")}
        asked = ", ".join(f"{name} {value!r}" for name, (value, usual) in given.items() if value != usual)
        if asked:
            raise ConfigError(f"model {folder.name!r} has no network for {asked}: leave that out; there is nothing to run or to export.")


def _load_onnx(folder: ModelFolder, device: str | None, dtype: DType) -> Runtime:
    if not folder.has_onnx:
        raise ModelFormatError(f"{folder.path} has no ONNX graph: make one with `splade-ptbr export onnx {folder.name} OUT`.")
    if foreign := folder.foreign_onnx():
        raise ModelFormatError(f"{foreign}: use runtime='torch', or export it again.")
    if dtype != "float32":
        raise ConfigError(f"dtype {dtype!r} needs the torch runtime: an exported graph has its own precision.")
    return OnnxRuntime(folder, device)


class WithoutNetwork:
    """Stands where a model has no network: its vectors are counted (words.py)."""

    name = "numpy"

    def __init__(self, model: str) -> None:
        self._model = model

    def activations(self, input_ids: Integers, attention_mask: Integers) -> NDArray[np.float32]:
        """There are none. Raises ConfigError."""
        raise ConfigError(f"model {self._model!r} has no network to run: encode texts with encode_queries and encode_documents.")


# -- onnxruntime ---------------------------------------------------------------------------------------------------------


class OnnxRuntime:
    """Runs FOLDER/model.onnx in onnxruntime, without torch: the graph does the pooling too.

    Inputs input_ids and attention_mask [B, L] int64, output activations [B, V] float32.
    """

    name = "onnx"

    def __init__(self, folder: ModelFolder, device: str | None = None) -> None:
        import onnxruntime as ort

        self._path, self._width = folder.path / ONNX_FILE, folder.config.vocab_size
        path, graph, provider = self._path, folder.read_onnx(), _provider(device)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads_given()
        # several runs share these threads: one that waits must not hold a core
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors only: warnings about graph optimisation are not the user's concern
        # a graph with tensors in other files would not be what its sha256 says: there is not a folder to take them from
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path / "none"))
        try:
            self._session = ort.InferenceSession(graph, options, providers=[provider])
        except Exception as error:  # onnxruntime's own exceptions share no base but Exception
            raise ModelFormatError(f"{path} cannot be loaded: {str(error).splitlines()[0]:.200}") from error
        outputs = self._session.get_outputs()
        width = outputs[0].shape[-1]
        if isinstance(width, int) and width != folder.config.vocab_size:
            raise ModelFormatError(f"{path} gives {width:,} terms, {folder.config.vocab_size:,} are declared: export the model again.")
        self._parallel = (threads_given() or cores()) if device in (None, "cpu") else 0  # 0: batches stay whole
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


def threads_given() -> int:
    """OMP_NUM_THREADS, as torch and numpy take it, so that several processes can share a machine; 0 leaves it to onnxruntime."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(0, integer(given) or 0)


def _provider(device: str | None) -> str:
    import onnxruntime as ort

    provider = _PROVIDERS.get(device or "cpu")
    if provider is None or provider not in ort.get_available_providers():
        usable = [name for name, wanted in _PROVIDERS.items() if wanted in ort.get_available_providers()]
        raise ConfigError(f"device {device!r} is not available to onnxruntime here: use one of {', '.join(usable)}.")
    return provider


# -- torch ---------------------------------------------------------------------------------------------------------------


class TorchRuntime:
    """Runs FOLDER's safetensors weights in torch: any masked language model or T5 encoder, on any device.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps" ...; None takes the CPU.
        dtype: of the network; maxima and log1p are in float32 always.
        unpooled_ids: tokens whose positions take no part in the pooling.
    """

    name = "torch"

    def __init__(self, folder: ModelFolder, device: str | None = None, dtype: str = "float32", *, unpooled_ids: Sequence[int] = ()) -> None:
        require("torch", "the torch runtime")
        require("transformers", "the torch runtime")
        import torch

        from .backbone import try_length
        from .torch_model import SpladeModel

        self._device = _torch_device(device)
        with _no_progress_bars():
            model = SpladeModel.from_folder(folder.path, folder.config, unpooled_ids=unpooled_ids)
        try_length(model, folder.longest)
        self.model = model.to(self._device, getattr(torch, dtype)).eval()

    def activations(self, input_ids: Integers, attention_mask: Integers) -> NDArray[np.float32]:
        """[B, L] token ids and mask to [B, V] activations."""
        import torch

        with torch.inference_mode():
            ids, mask = (torch.from_numpy(array).to(self._device) for array in (input_ids, attention_mask))
            result: NDArray[np.float32] = self.model.activations(ids, mask).float().cpu().numpy()
        return result


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Loading takes a moment; transformers draws a bar for it even where stderr is not a terminal."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _torch_device(name: str | None) -> torch.device:
    import torch

    try:
        device = torch.device(name or "cpu")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} is not available to torch here ({str(error).splitlines()[0]:.120}).") from error
    return device
