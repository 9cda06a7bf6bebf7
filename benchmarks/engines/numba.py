"""ImpactIndex, the index of `numba:` stores by itself: exact, or with weights rounded to 8 bits."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Any, ClassVar

import splade_ptbr_connectors
from benchmarks.engines.base import Engine, Hits, Query
from benchmarks.engines.slices import slices
from splade_ptbr_connectors.stores.numba import ImpactIndex
from splade_ptbr_connectors.stores.numba.index import joined
from splade_ptbr_connectors.stores.numba.postings import WINDOW
from splade_ptbr_connectors.stores.numba.window import Window
from splade_ptbr_connectors.vectors import SparseBatch

BATCH = 8192


class Numba(Engine):
    """All bits of a weight."""

    exact: ClassVar[bool] = True

    def build(self) -> None:
        batches = (part for _, part in slices(self.workload.documents, BATCH, f"{self.name}: build"))
        ImpactIndex.create(self.home / "index", batches, exact=self.exact)

    def open(self) -> None:
        self._index = ImpactIndex.open(self.home / "index")

    def search(self, query: Query, top_k: int) -> Hits:
        return Hits(*self._index.search(query.vector, top_k))

    def search_batch(self, queries: Sequence[Query], top_k: int, threads: int) -> list[Hits]:
        batch = SparseBatch.from_vectors(query.vector for query in queries)
        rows, scores, sizes = self._index.search_batch(batch, top_k, threads=threads)
        return [Hits(of_rows[:size], of_scores[:size]) for of_rows, of_scores, size in zip(rows, scores, sizes.tolist(), strict=True)]

    def close(self) -> None:
        del self._index

    def facts(self) -> dict[str, Any]:
        compiler = importlib.metadata.version("numba")
        return {"version": splade_ptbr_connectors.__version__, "numba": compiler, "weights": "float32" if self.exact else "8 bits"}


class NumbaRounded(Numba):
    """Weights rounded to 255 steps of the largest weight that the term has within a window of 65,536 rows."""

    exact: ClassVar[bool] = False

    def quantized(self, vectors: SparseBatch) -> SparseBatch:
        return joined([Window.build(part, exact=False).batch() for _, part in slices(vectors, WINDOW)])
