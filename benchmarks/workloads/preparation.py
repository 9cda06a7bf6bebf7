"""Prepares a workload: encodes a collection part by part, each on the disk before the next; what was interrupted goes on."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.workloads.workload import About, Workload, read_vectors, write_strings, write_vectors
from splade_ptbr_connectors.atomic import write_atomically
from splade_ptbr_connectors.batches import batched
from splade_ptbr_connectors.encoding.protocol import Encoder
from splade_ptbr_connectors.errors import ConfigError, InputError
from splade_ptbr_connectors.evaluation.collections import Collection
from splade_ptbr_connectors.vectors import SparseBatch

PART = 2_000  # documents encoded between two states on the disk
_SETTINGS = "settings.json"


def prepare(collection: Collection, encoder: Encoder, folder: Path) -> Workload:
    """The workload of a collection in `folder`, which may hold it already, or a part of it.

    Raises:
        ConfigError: the folder holds another collection or the vectors of another model.
        InputError: no document, or no query.
    """
    settings = {"collection": collection.name, "model": encoder.fingerprint, "queries": len(collection.queries), "part": PART}
    _claim(folder, settings)
    if (folder / "workload.json").exists():
        return Workload(folder)
    if not collection.queries:
        raise InputError(f"{collection.name} has no queries: there is nothing to search for.")
    _encode_documents(collection, encoder, folder)
    texts = list(collection.queries.values())
    _write_part(folder / "queries", list(collection.queries), texts, SparseBatch.from_vectors(encoder.encode_queries(texts)))
    np.save(folder / "queries/seconds.npy", list(map(partial(_seconds, encoder), texts)), allow_pickle=False)
    about = About(collection.name, f"{encoder.name} {encoder.fingerprint[:12]}", encoder.vocab_size, collection.notes, settings)
    return Workload.finish(folder, about, collection.qrels)


def write_ready(folder: Path, name: str, make: Callable[[], tuple[SparseBatch, SparseBatch]]) -> Workload:
    """A workload of ready vectors (documents, queries) without texts or judgments.

    Raises:
        ConfigError: the folder holds something else.
    """
    settings = {"collection": name}
    _claim(folder, settings)
    if not (folder / "workload.json").exists():
        made = dict(zip(("documents", "queries"), make(), strict=True))
        for part, vectors in made.items():
            write_strings(folder / part / "ids.txt", (str(row) for row in range(len(vectors))))
            write_vectors(folder / part, vectors)
        vocab_size = 1 + max(int(vectors.term_ids.max(initial=0)) for vectors in made.values())
        Workload.finish(folder, About(name, "ready vectors", vocab_size, (), settings), {})
    return Workload(folder)


def _claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write what the folder is for, or compare with what it is for already."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be made ({error.strerror or error}): name another one with --out.") from error
    path = folder / _SETTINGS
    if not path.exists():
        write_atomically(path, json.dumps(settings, ensure_ascii=False))
        return
    held = json.loads(path.read_text(encoding="utf-8"))
    for name, value in settings.items():
        if held.get(name) != value:
            raise ConfigError(f"{folder} was begun with {name} {held.get(name)!r}, not {value!r}: name another folder, or delete this one.")


def _encode_documents(collection: Collection, encoder: Encoder, folder: Path) -> None:
    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    documents = tqdm(collection.documents(), f"encode {collection.name}", unit=" documents", disable=None)
    names: list[Path] = []
    for pairs in batched(documents, PART):
        names.append(parts / f"{len(names):06}")
        if not names[-1].exists():
            temporary = names[-1].with_suffix(".new")
            ids, texts = [doc_id for doc_id, _ in pairs], [text for _, text in pairs]
            _write_part(temporary, ids, texts, SparseBatch.from_vectors(encoder.encode_documents(texts)))
            temporary.rename(names[-1])
    if not names:
        raise InputError(f"{collection.name} has no documents.")
    _join(names, folder / "documents")
    shutil.rmtree(parts)


def _seconds(encoder: Encoder, query: str) -> float:
    """What it takes to encode a query that comes alone, as it does where people search."""
    started = time.perf_counter()
    encoder.encode_query(query)
    return time.perf_counter() - started


def _write_part(folder: Path, ids: list[str], texts: list[str], vectors: SparseBatch) -> None:
    write_strings(folder / "ids.txt", ids)
    write_strings(folder / "texts.txt", texts)
    write_vectors(folder, vectors)


def _join(parts: list[Path], target: Path) -> None:
    """One folder out of several; memory holds one part at a time."""
    target.mkdir(exist_ok=True)
    lengths = [np.diff(read_vectors(part).indptr) for part in parts]
    np.save(target / "indptr.npy", np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64))
    postings = sum(int(length.sum()) for length in lengths)
    for name, kind in (("term_ids", np.uint32), ("weights", np.float32)):
        joined, begin = np.lib.format.open_memmap(target / f"{name}.npy", "w+", kind, (postings,)), 0
        for array in (getattr(read_vectors(part), name) for part in parts):
            joined[begin : begin + len(array)] = array
            begin += len(array)
        joined.flush()
    for name in ("ids.txt", "texts.txt"):
        with open(target / name, "wb") as file:
            for part in parts:
                with open(part / name, "rb") as source:
                    shutil.copyfileobj(source, file)
