"""A pretrained network to start from: a folder or a hub id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from splade_ptbr_connectors.encoding.torch_model import load_backbone
from splade_ptbr_connectors.errors import ModelFormatError, ModelNotFoundError

PICKLED = "pytorch_model.bin"
SAFE = "model.safetensors"
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", PICKLED]


@dataclass(frozen=True)
class Pretrained:
    """A network and the folder that its tokenizer lies in."""

    backbone: PreTrainedModel
    folder: Path


def load_pretrained(path: str, *, revision: str | None = None, data_dir: Path | None = None) -> Pretrained:
    """The network of a folder (also relative to the data folder) or of a hub id.

    Raises:
        ModelNotFoundError: neither a folder nor on the hub.
        ModelFormatError: not a masked language model or a T5 encoder.
    """
    folder = _local(path, data_dir) or _download(path, revision)
    if not (folder / SAFE).is_file() and (folder / PICKLED).is_file():
        _convert(folder)
    return Pretrained(load_backbone(folder), folder)


def _local(path: str, data_dir: Path | None) -> Path | None:
    for folder in (Path(path).expanduser(), (data_dir or Path()) / path):
        if folder.is_dir():
            return folder
    return None


def _download(path: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path, revision=revision, allow_patterns=_FILES))
    except Exception as error:  # the hub client raises many unrelated types (HTTP, validation, offline, OS)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelNotFoundError(
            f"no pretrained model {path!r}: no folder of that name, and the hub did not give it ({type(error).__name__}: {reason:.200}). "
            "Give a folder with config.json, tokenizer and weights, or a hub id that can be reached."
        ) from error


def _convert(folder: Path) -> None:
    """Older checkpoints (BERTimbau among them) have pickled weights only: read as tensors alone, which runs no code, and kept safe."""
    try:
        state = torch.load(folder / PICKLED, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors
        raise ModelFormatError(f"{folder / PICKLED} cannot be read as plain tensors ({error}): use a revision with {SAFE}") from error
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, str(folder / SAFE), metadata={"format": "pt"})
