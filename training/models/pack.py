"""Packing: a trained model as the folder that the package loads, and sentence-transformers where it can."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from splade_ptbr_connectors.encoding.config import EncoderConfig, OnnxSettings
from splade_ptbr_connectors.encoding.fingerprint import network_sha256, sha256_of
from splade_ptbr_connectors.encoding.folder import ONNX_FILE, QUERY_FOLDER
from splade_ptbr_connectors.encoding.onnx_graph import export_onnx
from splade_ptbr_connectors.encoding.sentence_transformers_writer import (
    sentence_transformers_can_read,
    write_reference_to_this_package,
    write_sentence_transformers_files,
)
from training.data.tokens import TextTokens
from training.models.base import BiEncoder
from training.models.queries import QUERY_FILE
from training.recipe.file import recipe_table
from training.recipe.sections import LexicalModel, Recipe, SeparateQueries, TableQueries

logger = logging.getLogger(__name__)
RECIPE_FILE = "recipe.json"


def splade_settings(recipe: Recipe, model: BiEncoder, tokens: TextTokens) -> dict[str, Any]:
    """The content of `splade.json`."""
    section, encoding = recipe.model, recipe.encoding
    settings: dict[str, Any] = {
        "format_version": 1,
        "pooling": getattr(section, "pooling", "max"),
        "vocab_size": model.vocab_size,
        "max_length_query": encoding.max_length_query,
        "max_length_document": encoding.max_length_document,
        "text": {"normalization": encoding.normalization, "lowercase": encoding.lowercase},
        "query": _query_settings(recipe),
        "lexical": _lexical_settings(section, tokens) if isinstance(section, LexicalModel) else None,
        "max_active_terms_query": encoding.max_active_terms_query,
        "max_active_terms_document": encoding.max_active_terms_document,
        "min_weight_query": encoding.min_weight_query,
        "min_weight_document": encoding.min_weight_document,
    }
    if not isinstance(section, LexicalModel):
        settings |= {"activation": section.activation, "pool_special_tokens": section.pool_special_tokens}
    return settings


def _query_settings(recipe: Recipe) -> dict[str, Any]:
    if isinstance(recipe.queries, TableQueries):
        return {"kind": "table", "file": QUERY_FILE}
    return {"kind": "separate" if isinstance(recipe.queries, SeparateQueries) else "same"}


def _lexical_settings(section: LexicalModel, tokens: TextTokens) -> dict[str, Any]:
    return {"k1": section.k1, "b": section.b, "average_length": section.average_length, "special_ids": sorted(tokens.special)}


def pack(model: BiEncoder, recipe: Recipe, tokens: TextTokens, folder: Path) -> None:
    """Writes the folder of a model whose weights are rounded already, beside its place, then moves it there: whole or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tokens.tokenizer.no_truncation()
    tokens.tokenizer.save(str(partial / "tokenizer.json"), pretty=False)
    model.save(partial, storage=recipe.encoding.storage)
    settings = splade_settings(recipe, model, tokens)
    if recipe.encoding.onnx:
        _export(model, partial, recipe.encoding.storage, settings)
    config = EncoderConfig.model_validate(settings)
    config.write(partial)
    reason = sentence_transformers_can_read(config, model_type=model.networks()[0].backbone.config.model_type)
    if reason is None:
        write_sentence_transformers_files(partial, config)
    else:
        logger.info("not written for sentence-transformers: %s", reason)
        write_reference_to_this_package(partial)
    (partial / RECIPE_FILE).write_text(json.dumps(recipe_table(recipe), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    put(partial, folder)


def _export(model: BiEncoder, folder: Path, storage: str, settings: dict[str, Any]) -> None:
    """Writes the graph of each network beside its weights, and into `settings` which file it is and of which weights."""
    places = [(folder, settings), (folder / QUERY_FOLDER, settings["query"])]
    for network, (place, described) in zip(model.networks(), places, strict=False):  # the second is the query network's
        export_onnx(network, place / ONNX_FILE, storage=storage)
        described["onnx"] = OnnxSettings.of_export(sha256_of([place / ONNX_FILE]), network_sha256(place))


def put(partial: Path, folder: Path) -> None:
    """Moves every file of `partial` into `folder`; other files of the folder stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(partial.iterdir()):
        target = folder / file.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(file, target)
    partial.rmdir()
    _make_readable(folder)


def _make_readable(folder: Path) -> None:
    """Files written by safetensors may be read by their owner only: a model is to be shared, as far as the umask lets it."""
    mask = os.umask(0)
    os.umask(mask)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o666 & ~mask)
