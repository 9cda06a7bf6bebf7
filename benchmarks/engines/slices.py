"""A batch of vectors in smaller ones, read from the disk as they are asked for, with a progress bar."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from benchmarks.workloads.workload import batches
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector


def slices(batch: SparseBatch, size: int, doing: str = "") -> Iterator[tuple[int, SparseBatch]]:
    """(first row, its next `size` rows in memory); `doing` names the bar, "" draws none."""
    with tqdm(total=len(batch), desc=doing, unit=" documents", disable=None if doing else True) as bar:
        begin = 0
        for part in batches(batch, size):
            yield begin, SparseBatch(part.indptr, np.array(part.term_ids), np.array(part.weights))
            begin += len(part)
            bar.update(len(part))


def numbered(batch: SparseBatch, size: int, doing: str = "") -> Iterator[list[tuple[int, SparseVector]]]:
    """The same as lists of (row, vector)."""
    for begin, part in slices(batch, size, doing):
        yield list(enumerate(part, begin))
