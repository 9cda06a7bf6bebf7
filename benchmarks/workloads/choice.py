"""Which workload is meant: a collection to encode, synthetic vectors, or ready ones in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.workloads.preparation import prepare, write_ready
from benchmarks.workloads.synthetic import make_collection
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.errors import InputFileError
from splade_ptbr_connectors.evaluation.collections import Options, open_collection
from splade_ptbr_connectors.vectors import SparseBatch

SYNTHETIC_QUERIES = 250
_ARRAYS = ("ptr", "term", "weight")


def workload_of(
    collection: str,
    folder: Path,
    model: str,
    *,
    split: str | None = None,
    source: Path | None = None,
    queries_from: Path | None = None,
    keep_without_relevant: bool = False,
    documents: int = 528_032,
) -> Workload:
    """The workload in `folder`, prepared first where it is not finished.

    Args:
        collection: "synthetic", a .npz file (see read_npz), or what open_collection() takes.
    """
    if collection == "synthetic":
        return write_ready(folder, f"synthetic, {documents:,} documents", lambda: _made(documents))
    if collection.endswith(".npz"):
        return write_ready(folder, Path(collection).name, lambda: read_npz(Path(collection)))
    options: Options = {}
    if source is not None:
        options["folder"] = source
    if queries_from is not None:
        options["queries_from"] = queries_from
    if keep_without_relevant:
        options["keep_without_relevant"] = True
    return prepare(open_collection(collection, split=split, **options), SpladeEncoder.load(model), folder)


def _made(documents: int) -> tuple[SparseBatch, SparseBatch]:
    made, queries = make_collection(documents, SYNTHETIC_QUERIES)
    return made, SparseBatch.from_vectors(queries)


def read_npz(path: Path) -> tuple[SparseBatch, SparseBatch]:
    """(documents, queries) of a file with the CSR arrays {document,query}_{ptr,term,weight}.

    Raises:
        InputFileError: no such file, or another kind of file.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            parts = [[held[f"{part}_{name}"] for name in _ARRAYS] for part in ("document", "query")]
    except (OSError, ValueError, KeyError) as error:
        names = ", ".join(f"document_{name}, query_{name}" for name in _ARRAYS)
        raise InputFileError(f"{path} is not a file of vectors ({error}): it needs the arrays {names}.") from error
    documents, queries = (
        SparseBatch(ptr.astype(np.int64), term.astype(np.uint32), weight.astype(np.float32)) for ptr, term, weight in parts
    )
    return documents, queries
