"""How much memory it takes to build an index: from vectors on the disk, as a stream, in a process of its own.

python -m benchmarks.index.build_memory VECTORS INDEX DOCUMENTS
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness.memory import status_bytes
from benchmarks.workloads.workload import read_vectors
from splade_ptbr_connectors.vectors import SparseBatch

CHUNK = 8192  # documents that come at a time
_PAUSE_S = 0.005  # between two looks at the memory


def peak_bytes(vectors: Path, folder: Path, documents: int) -> float | None:
    """Largest anonymous memory of a process that builds from the first documents; None where the system does not tell (not Linux).

    Pages of mapped files are left out: the system takes them back as it likes.
    """
    if status_bytes("RssAnon") is None:
        return None
    arguments = [sys.executable, "-m", "benchmarks.index.build_memory", str(vectors.resolve()), str(folder.resolve()), str(documents)]
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    return float(done.stdout)


def chunks(batch: SparseBatch, documents: int, size: int = CHUNK) -> Iterator[SparseBatch]:
    """The first documents in batches."""
    for begin in range(0, min(documents, len(batch)), size):
        rows = batch.indptr[begin : min(begin + size, documents, len(batch)) + 1]
        yield SparseBatch(rows - rows[0], batch.term_ids[rows[0] : rows[-1]], batch.weights[rows[0] : rows[-1]])


def _main(vectors: Path, folder: Path, documents: int) -> None:
    from splade_ptbr_connectors.stores.numba import ImpactIndex

    done, peaks = threading.Event(), [0]

    def watch() -> None:
        while not done.wait(_PAUSE_S):
            peaks[0] = max(peaks[0], status_bytes("RssAnon") or 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        ImpactIndex.create(folder, chunks(read_vectors(vectors), documents))
    finally:
        done.set()
        watcher.join()
    sys.stdout.write(f"{peaks[0]}\n")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
