"""Export to ONNX: a new model folder that runs without torch, with graph, tokenizer and settings, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from ..errors import ConfigError, InputFileError, ModelError
from ..extras import require
from .config import OnnxSettings
from .fingerprint import sha256_of
from .folder import ONNX_FILE, QUERY_FOLDER, ModelFolder
from .runtime import OnnxRuntime, Runtime, TorchRuntime
from .storage import Storage, check_storage

# of activations; rounded weights are another model
TOLERANCE: dict[Storage, float] = {
    "float32": 1e-4,
    "float16": 1e-1,
    "int8": 1.0,
    "int8-dynamic": 1.0,
}


def check_target(out: str | Path, storage: str) -> Path:
    """The folder to write; what can be told before a model is looked for.

    Raises:
        ConfigError: an unknown storage.
        InputFileError: `out` is there already.
    """
    check_storage(storage)
    target = Path(out)
    if target.exists():
        raise InputFileError(f"{target} exists already: name a new folder to export to.")
    return target


def check_libraries() -> None:
    """Raise MissingExtraError where the extra [export] is not installed."""
    for library in ("onnx", "onnxscript", "torch", "transformers"):
        require(library, "the export to ONNX")


def check_source(folder: ModelFolder) -> None:
    """Raise ConfigError for a model without weights that torch could run."""
    if folder.has_weights and folder.config.words is None:
        return
    exported = folder.config.words is None or folder.concepts is not None
    what = "is exported already" if exported else "has no network to export, and needs neither torch nor onnxruntime"
    raise ConfigError(f"model {folder.name!r} {what}: use it as it is, or copy its folder {folder.path}.")


def write_exported_folder(
    folder: ModelFolder, tokenizer_json: str, runtime: Runtime, query_runtime: Runtime, out: str | Path, storage: Storage
) -> Path:
    """Export the network of `runtime` (torch) into the new folder `out`, and check the graph against it.

    A network of the queries' own (`query_runtime`, else the same as `runtime`) goes into the subfolder `query`.

    Raises:
        as check_target(), check_source() and check_libraries() do.
        ConfigError: not the torch runtime.
        ModelError: the graph's activations differ from the network's.
    """
    check_source(folder)
    if {runtime.name, query_runtime.name} != {"torch"}:
        raise ConfigError(f"model {folder.name!r} was loaded as an exported graph: load it with runtime='torch' to export it.")
    target = check_target(out, storage)
    check_libraries()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
        partial = Path(temporary) / "model"
        partial.mkdir()
        _write(folder, tokenizer_json, {"": runtime, QUERY_FOLDER: query_runtime}, partial, storage)
        os.rename(partial, target)
    return target


def _write(folder: ModelFolder, tokenizer_json: str, runtimes: dict[str, Runtime], out: Path, storage: Storage) -> None:
    config = folder.config.model_copy(update={"onnx": _export(folder, runtimes[""], out, storage)})
    if folder.query is not None:
        onnx = _export(folder.query, runtimes[QUERY_FOLDER], out / QUERY_FOLDER, storage)
        config = config.model_copy(update={"query": config.query.model_copy(update={"onnx": onnx})})
    config.write(out)
    (out / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
    for source, name in ((folder.query_table, folder.config.query.file), (folder.path / "README.md", "README.md")):
        if source and name and source.is_file():
            shutil.copyfile(source, out / name)


def _export(folder: ModelFolder, runtime: Runtime, out: Path, storage: Storage) -> OnnxSettings:
    """Write the graph of one network into `out`, compare the two, and describe the graph."""
    from .onnx_graph import export_onnx
    from .quantization import round_model

    if not isinstance(runtime, TorchRuntime):
        raise ConfigError(f"cannot export from {type(runtime).__name__}.")
    out.mkdir(exist_ok=True)
    source = folder.weights_sha256()
    round_model(runtime.model, storage)
    export_onnx(runtime.model, out / ONNX_FILE, storage=storage)
    sha256 = sha256_of([out / ONNX_FILE])
    onnx = OnnxSettings.of_export(sha256, source if storage == "float32" else sha256)
    _compare(runtime, ModelFolder(folder.name, out, folder.config.model_copy(update={"onnx": onnx})), TOLERANCE[storage])
    return onnx


def _compare(runtime: Runtime, exported: ModelFolder, tolerance: float) -> None:
    """Run both on a batch with padding; the longest row is half the model's limit."""
    random = np.random.default_rng(0)
    length = max(4, exported.config.max_length_document // 2)
    ids = random.integers(0, exported.config.vocab_size, (3, length))
    mask = (np.arange(length) < np.array([[length], [length // 2], [3]])).astype(np.int64)
    difference = np.abs(runtime.activations(ids, mask) - OnnxRuntime(exported).activations(ids, mask)).max()
    if not difference <= tolerance:
        raise ModelError(f"the exported graph differs from the model by {difference:.2g}, more than {tolerance:g}: it was not saved.")
