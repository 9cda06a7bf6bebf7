"""What the options of commands name: a saved model with its settings, and test collections."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.evaluation.collections import JudgedCollection, collection_from_files
from splade_ptbr_connectors.evaluation.collections.beir import folders_with_split
from splade_ptbr_connectors.evaluation.collections.beir import open_kind as beir_split


def load_encoder(model: str, settings: Sequence[str] = (), *, device: str | None = None, batch_size: int = 32) -> SpladeEncoder:
    """A model by shipped name, folder (ours, sentence-transformers', a plain masked language model) or hub id.

    Args:
        model: as SpladeEncoder.load takes it.
        settings: "key=value" of SpladeEncoder.load, e.g. "max_active_terms_document=128".
        device: "cpu", "cuda", ...
        batch_size: rows per forward pass.

    Raises:
        ConfigError: a setting that is not key=value, not known or not possible.
        ModelNotFoundError, ModelFormatError: no such model, or not a usable one.
    """
    return SpladeEncoder.load(model, device=device, batch_size=batch_size, **read_settings(settings))


def read_settings(settings: Sequence[str]) -> dict[str, Any]:
    """{"key": value} of "key=value" texts; a value is JSON where it can be read as such, else a text."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise ConfigError(f"{setting!r} is not a setting: write key=value, e.g. max_active_terms_document=128.")
        if key in values or key in ("model", "device", "batch_size"):
            raise ConfigError(f"{key} is set twice, or has an option of its own.")
        try:
            values[key] = json.loads(value)
        except (ValueError, RecursionError):
            values[key] = value
    return values


def split_of(folder: Path, split: str) -> JudgedCollection:
    """One split of a BEIR folder; it is named "folder:split". Errors as in `open_collection`."""
    return beir_split(str(folder), Path(), split=split)


def splits_in(data_dir: Path, split: str) -> Iterator[JudgedCollection]:
    """Every BEIR folder of a data folder that has the split, by name. Raises InputError: there is none."""
    yield from (split_of(folder, split) for folder in folders_with_split(data_dir, split))


def files_of(text: str) -> JudgedCollection:
    """A collection of "[name=]collection,queries,qrels": files in any layout that `collection_from_files` takes.

    Raises:
        ConfigError: not three names.
        InputFileError: see `collection_from_files`.
    """
    name, equals, rest = text.partition("=")
    parts = [part.strip() for part in (rest if equals else text).split(",")]
    if len(parts) != 3 or not all(parts):
        raise ConfigError(f"{text!r} names {len(parts)} files: expected collection,queries,qrels (a name and = may stand before them).")
    documents, queries, qrels = parts
    return collection_from_files(name if equals else Path(documents).name, documents=documents, queries=queries, qrels=qrels)


def chosen_collections(data: Path, split: str, folders: Sequence[Path] = (), files: Sequence[str] = ()) -> Iterator[JudgedCollection]:
    """What the options of a command name: single folders and files, or else every collection of `data` that has the split."""
    if not folders and not files:
        yield from splits_in(data, split)
    yield from (split_of(folder, split) for folder in folders)
    yield from (files_of(text) for text in files)
