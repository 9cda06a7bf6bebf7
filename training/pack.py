"""Packing: a trained model as the folder that the package loads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.export import export_onnx, round_model
from splade_ptbr_connectors.encoding.folder import ONNX_FILE, sha256_of
from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from splade_ptbr_connectors.errors import ConfigError
from training.config import Recipe
from training.model import TableEncoder
from training.validation import Limits
from training.vocabulary import build_tokenizer, special_ids

QUERY_FILE = "query_weights.safetensors"


def splade_settings(recipe: Recipe, vocabulary: Sequence[str]) -> dict[str, Any]:
    """The content of `splade.json`."""
    lexical = {
        "k1": recipe.model.k1,
        "b": recipe.model.b,
        "average_length": recipe.model.average_length,
        "special_ids": sorted(special_ids(vocabulary)),
    }
    return {
        "format_version": 1,
        "pooling": "max",
        "vocab_size": len(vocabulary),
        "max_length_query": recipe.data.max_length_query,
        "max_length_document": recipe.data.max_length_document,
        "text": {"normalization": "NFC", "lowercase": True},
        "query": {"kind": "table", "file": QUERY_FILE},
        "lexical": lexical,
        "max_active_terms_query": None,
        "max_active_terms_document": recipe.max_active_terms_document,
        "min_weight_query": 0.0,
        "min_weight_document": recipe.min_weight_document,
    }


@torch.no_grad()
def prepare(model: TableEncoder, *, expansion: bool, storage: str) -> None:
    """Rounds the weights to what the folder stores and folds the learned traits into the query table."""
    round_model(model.splade, storage)
    model.query_table.copy_(model.query_weights() if storage == "float32" else model.query_weights().half().float())
    model.query_traits.zero_()
    model.splade.contextual, model.splade.expansion, model.splade.search_dtype = True, expansion, torch.float32


def pack(model: TableEncoder, recipe: Recipe, vocabulary: Sequence[str], folder: Path) -> None:
    """Writes the folder of a prepared model beside its place, then moves it there: whole or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    settings = splade_settings(recipe, vocabulary)
    tokenizer = build_tokenizer(vocabulary)
    tokenizer.no_truncation()
    tokenizer.save(str(partial / "tokenizer.json"), pretty=False)
    save_file({"weights": model.query_weights().detach().contiguous()}, str(partial / QUERY_FILE))
    model.splade.save_folder(partial, dtype=None if recipe.storage == "float32" else torch.float16)
    export_onnx(model.splade, partial / ONNX_FILE, storage=recipe.storage)
    weights = sha256_of([*sorted(partial.glob("model*.safetensors")), *sorted(partial.glob("lexical.safetensors"))])
    settings["onnx"] = {"sha256": sha256_of([partial / ONNX_FILE]), "source_sha256": weights}
    EncoderConfig.model_validate(settings).write(partial)
    _put(partial, folder)


def _put(partial: Path, folder: Path) -> None:
    """Moves every file of `partial` into `folder`; other files of the folder stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(partial.iterdir()):
        os.replace(file, folder / file.name)
    partial.rmdir()


def load_packed(folder: Path) -> tuple[TableEncoder, list[str], Limits]:
    """(model, vocabulary, limits) of a packed folder, by the torch runtime."""
    file = folder / "splade.json"
    if not file.is_file():
        raise ConfigError(f"{folder} holds no splade.json: give a folder that `train` wrote")
    settings = json.loads(file.read_text(encoding="utf-8"))
    if settings["query"].get("kind") != "table":
        raise ConfigError(f"{folder}: the query side is {settings['query']}; accepted here: a table")
    config = SimpleNamespace(pooling=settings["pooling"], lexical=None)
    if settings["lexical"] is not None:
        config.lexical = SimpleNamespace(**settings["lexical"])
    words = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    vocabulary = sorted(words, key=words.__getitem__)
    weights = load_file(str(folder / settings["query"]["file"]))["weights"]
    model = TableEncoder(SpladeModel.from_folder(folder, config), weights, special_ids(vocabulary), torch.zeros(len(vocabulary), 1))
    limits = Limits(
        settings["max_length_query"],
        settings["max_length_document"],
        settings["min_weight_document"],
        settings["max_active_terms_document"],
    )
    return model, vocabulary, limits
