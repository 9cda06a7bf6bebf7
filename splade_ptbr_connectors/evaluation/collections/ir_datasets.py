"""Any dataset of the library ir_datasets (https://ir-datasets.com), by its id: it downloads, checks and reads."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import ConfigError, InputFileError, TextError
from ...text import check_text
from ..qrels import Qrels
from .assembly import Documents, Judgments, assemble
from .collection import JudgedCollection

_PARTS = ("docs", "queries", "qrels")
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, AssertionError, IndexError, KeyError, TypeError, zlib.error)
"""What its readers raise for files that are missing or broken."""


def open_kind(where: str, data_dir: Path, *, keep_without_relevant: bool = False) -> JudgedCollection:
    """The dataset `where`; a split is part of its id. Texts are what the dataset itself calls its default text."""
    dataset = _load(where)
    missing = [part for part in _PARTS if not dataset.has(part)]
    if missing:
        raise ConfigError(f"dataset {where!r} of ir_datasets has no {' and no '.join(missing)}: name a subset that has, with its split.")
    return assemble(
        where,
        Documents(f"dataset {where!r}", partial(_documents, where, dataset), unit="document"),
        Judgments(_queries(where, dataset), _qrels(where, dataset), f"qrels of {where!r}", f"queries of {where!r}"),
        keep_without_relevant=keep_without_relevant,
    )


def _load(dataset_id: str) -> Any:
    try:
        library: Any = importlib.import_module("ir_datasets")
    except ModuleNotFoundError as error:
        raise ConfigError("collections 'ir_datasets:ID' need the library ir_datasets: pip install ir-datasets.") from error
    try:
        return library.load(dataset_id)
    except KeyError as error:
        raise ConfigError(
            f"ir_datasets has no dataset {dataset_id!r}: `ir_datasets list` and https://ir-datasets.com list them."
        ) from error


def _documents(name: str, dataset: Any) -> Iterator[tuple[int, str, str]]:
    for number, document in _numbered(name, "document", lambda: dataset.docs_iter()):
        yield number, document.doc_id, _text(name, "document", number, document)


def _queries(name: str, dataset: Any) -> dict[str, str]:
    queries: dict[str, str] = {}
    for number, query in _numbered(name, "query", lambda: dataset.queries_iter()):
        text = _text(name, "query", number, query)
        if query.query_id in queries or not text.strip():
            why = "duplicate query id {!r}" if query.query_id in queries else "query {!r} has no text"
            raise InputFileError(f"dataset {name!r}, query {number}: {why.format(query.query_id)}.")
        queries[query.query_id] = text
    return queries


def _qrels(name: str, dataset: Any) -> Qrels:
    qrels: Qrels = {}
    for number, judged in _numbered(name, "judgment", lambda: dataset.qrels_iter()):
        if qrels.setdefault(judged.query_id, {}).setdefault(judged.doc_id, judged.relevance) != judged.relevance:
            raise InputFileError(
                f"dataset {name!r}, judgment {number}: document {judged.doc_id!r} is judged again for query {judged.query_id!r}, "
                "with another relevance."
            )
    if not qrels:
        raise InputFileError(f"dataset {name!r} has no judgment.")
    return qrels


def _numbered(name: str, what: str, start: Any) -> Iterator[tuple[int, Any]]:
    """(number from 1, what the library yields); its errors become ours, with the number of the one that could not be read."""
    number = 0
    try:
        for number, value in enumerate(start(), 1):
            yield number, value
    except _BROKEN as error:
        why = " ".join(str(error).split())[:300]
        raise InputFileError(f"dataset {name!r}, {what} {number + 1} cannot be read: {type(error).__name__}: {why}.") from error


def _text(name: str, what: str, number: int, value: Any) -> str:
    try:
        text: str = value.default_text()
        return check_text(text, max_characters=max(1, len(text)))  # how long a text may be is the encoder's to say
    except TextError as error:
        raise InputFileError(f"dataset {name!r}, {what} {number}: {error}") from error
