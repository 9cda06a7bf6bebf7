"""One side of `python -m benchmarks embedded`, in a process of its own: it imports nothing but the package that PYTHONPATH names.

python benchmarks/embedded_worker.py load URL VECTORS CHECKPOINT    prints how many documents were written, in how many seconds
python benchmarks/embedded_worker.py search URL VECTORS ROUNDS      prints milliseconds as JSON
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from splade_ptbr_connectors import SparseVector, ingest, open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.vectors import SparseBatch

WORDS = "a lei de acesso que os prazos para recorrer da decisão são contados em dias úteis conforme o código do processo civil".split()
TOP_KS = (10, 1000)


class NoModel:
    """What a store is opened with when there are only vectors."""

    name, vocab_size, fingerprint = "made-up", 2**20, hashlib.sha256(b"made-up").hexdigest()
    load_arguments: ClassVar[dict[str, Any]] = {"model": "made-up"}

    def encode_documents(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        """Documents come with their vectors: there are no texts."""
        return iter([SparseVector([], []) for _ in texts])


def opened(url: str, **arguments: Any) -> Store:
    """The store of a URL."""
    return open_store(url, encoder=NoModel(), **arguments)  # type: ignore[arg-type]


def batch_of(folder: Path, name: str) -> SparseBatch:
    """Vectors, mapped from files."""
    return SparseBatch(*(np.load(folder / f"{name}-{part}.npy", mmap_mode="r") for part in ("indptr", "term_ids", "weights")))


def records(vectors: SparseBatch) -> Iterator[tuple[str, SparseVector, dict[str, Any]]]:
    """Ids in no order, and payloads of about 400 characters."""
    words = " ".join(WORDS * 8)
    for row, vector in enumerate(vectors):
        text = words[row % 97 : row % 97 + 250 + row * 7919 % 300]
        yield f"doc-{row * 2_654_435_761 % 2**32:010}", vector, {"title": f"Parágrafo {row}", "text": text, "n": row}


def load(url: str, folder: Path, checkpoint: str) -> None:
    """Load all documents; the same command again resumes where a killed one stopped."""
    with opened(url) as store:
        started = time.perf_counter()
        report = ingest(records(batch_of(folder, "documents")), store, checkpoint=checkpoint, vectors=True, progress=_say)
        sys.stdout.write(json.dumps({"written": report.written, "seconds": time.perf_counter() - started, "count": store.count()}) + "\n")


def _say(progress: Any) -> None:
    sys.stdout.write(f"{progress.read}\n")
    sys.stdout.flush()


def search(url: str, folder: Path, rounds: int) -> None:
    """Opening with a first search, and the mean over the queries of their best times."""
    queries = list(batch_of(folder, "queries"))
    opened(url, create=False).close()  # what is compiled and cached is not what is measured
    first = [_opening(url, queries[0]) for _ in range(5)]
    with opened(url, create=False) as store:
        times = {top_k: min_over_rounds(store, queries, top_k, rounds) for top_k in TOP_KS}
    sys.stdout.write(json.dumps({"open_ms": min(first), **{f"top_{top_k}_ms": value for top_k, value in times.items()}}) + "\n")


def min_over_rounds(store: Store, queries: list[SparseVector], top_k: int, rounds: int) -> float:
    """Milliseconds."""
    best = np.full(len(queries), np.inf)
    for _ in range(rounds + 1):
        for n, query in enumerate(queries):
            started = time.perf_counter()
            store.search(query, top_k)
            best[n] = min(best[n], time.perf_counter() - started)
    return float(best.mean() * 1000)


def _opening(url: str, query: SparseVector) -> float:
    started = time.perf_counter()
    with opened(url, create=False) as store:
        store.search(query, 10)
        return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    what, address, place, last = sys.argv[1:]
    if what == "load":
        load(address, Path(place), last)
    else:
        search(address, Path(place), int(last))
