"""Workload: a collection as every engine gets it. Ready vectors, texts and judgments in a folder, mapped into memory.

workload.json        name, model, how many, notes; written last: a folder without it is not finished
documents/           indptr.npy, term_ids.npy, weights.npy (CSR), ids.txt (one JSON string a line), texts.txt (the same; may be absent)
queries/             the same, and seconds.npy: what encoding each of them took (may be absent)
qrels.tsv            BEIR's; absent where nothing is judged
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.errors import InputFileError
from splade_ptbr_connectors.evaluation.qrels import Qrels, read_qrels, write_qrels
from splade_ptbr_connectors.vectors import SparseBatch

_ARRAYS = ("indptr", "term_ids", "weights")


@dataclass(frozen=True)
class About:
    """What a report says of a workload.

    Attributes:
        model: the name of the model and its fingerprint, or "synthetic".
        notes: see Collection.notes.
        settings: what the folder was made from; another run may use it only if these are the same.
    """

    name: str
    model: str
    vocab_size: int
    notes: tuple[str, ...]
    settings: Mapping[str, Any]


class Workload:
    """A finished folder, opened for reading.

    Attributes:
        documents, queries: vectors, rows in the order of the collection; their arrays are mapped, not read.
    """

    def __init__(self, folder: Path) -> None:
        """Raises InputFileError: not a finished workload."""
        self.folder = folder
        try:
            content = json.loads((folder / "workload.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputFileError(f"{folder} holds no finished workload: prepare it again.") from error
        self.about = About(**{**content, "notes": tuple(content["notes"])})
        self.documents = read_vectors(folder / "documents")
        self.queries = read_vectors(folder / "queries")

    @cached_property
    def doc_ids(self) -> list[str]:
        """Document ids by row."""
        return list(_lines(self.folder / "documents/ids.txt"))

    @cached_property
    def query_ids(self) -> list[str]:
        """Query ids by row."""
        return list(_lines(self.folder / "queries/ids.txt"))

    @property
    def has_texts(self) -> bool:
        """Whether there are texts: a synthetic collection has none."""
        return (self.folder / "documents/texts.txt").exists()

    def texts(self) -> Iterator[str]:
        """Contents of the documents by row, from the disk."""
        return _lines(self.folder / "documents/texts.txt")

    @cached_property
    def query_texts(self) -> list[str]:
        """Texts of the queries by row; empty ones where there are none."""
        path = self.folder / "queries/texts.txt"
        return list(_lines(path)) if path.exists() else [""] * len(self.queries)

    @cached_property
    def query_seconds(self) -> NDArray[np.float64] | None:
        """[Q] What it took to encode each query by itself; None: it was not measured, as of ready vectors."""
        path = self.folder / "queries/seconds.npy"
        return np.load(path, allow_pickle=False) if path.exists() else None

    @cached_property
    def qrels(self) -> Qrels:
        """Judgments; empty where nothing is judged."""
        path = self.folder / "qrels.tsv"
        return read_qrels(path) if path.exists() else {}

    @classmethod
    def finish(cls, folder: Path, about: About, qrels: Qrels) -> Self:
        """Declare a folder whose documents/ and queries/ are written finished."""
        if qrels:
            write_qrels(folder / "qrels.tsv", qrels)
        temporary = folder / "workload.json.new"
        temporary.write_text(json.dumps(asdict(about), ensure_ascii=False, indent=2), encoding="utf-8")
        temporary.replace(folder / "workload.json")
        return cls(folder)


def read_vectors(folder: Path) -> SparseBatch:
    """Map the three arrays of a folder."""
    return SparseBatch(*(np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)) for name in _ARRAYS))


def write_vectors(folder: Path, vectors: SparseBatch) -> None:
    """Write the three arrays of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", getattr(vectors, name), allow_pickle=False)


def batches(vectors: SparseBatch, size: int = 8192) -> Iterator[SparseBatch]:
    """The same vectors in batches that share their memory."""
    for begin in range(0, len(vectors), size):
        rows = vectors.indptr[begin : begin + size + 1]
        yield SparseBatch(rows - rows[0], vectors.term_ids[rows[0] : rows[-1]], vectors.weights[rows[0] : rows[-1]])


def write_strings(path: Path, values: list[str] | Iterator[str]) -> None:
    """One JSON string a line: texts may hold line ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            value: str = json.loads(line)
            yield value
