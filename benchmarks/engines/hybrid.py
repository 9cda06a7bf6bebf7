"""Sparse and dense vectors in an `edge:` store of this package, whose search_hybrid() fuses what the two searches find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from benchmarks.engines.base import Query
from benchmarks.engines.dense_vectors import DenseOptions, SearchesDense
from benchmarks.engines.options import Options
from benchmarks.engines.store import StoreEngine
from splade_ptbr_connectors.stores.base import Hit, Store
from splade_ptbr_connectors.stores.entries import Entry


class HybridOptions(DenseOptions):
    """dense_weight: share of the dense score. prefetch: hits of each search that are fused, so that twice as many are found at most."""

    dense_weight: float = Field(0.3, ge=0, le=1)
    prefetch: PositiveInt = 100


class Hybrid(SearchesDense, StoreEngine):
    """In `home`."""

    accepted: ClassVar[type[Options]] = HybridOptions
    options: HybridOptions

    def query_seconds(self) -> NDArray[np.float64] | None:
        """Of both vectors, one after the other."""
        sparse = self.workload.query_seconds
        return None if sparse is None else sparse + self._dense.seconds()

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), **self._dense.model, **self.options.model_dump()}

    def _records(self) -> Iterator[Entry]:
        dense = (tuple(vector) for part in self._dense.documents() for vector in part.tolist())
        for doc_id, sparse, near in zip(self.workload.doc_ids, self.workload.documents, dense, strict=True):
            yield Entry(doc_id, sparse, dense=near)

    def _asked(self, store: Store, query: Query, top_k: int) -> list[Hit]:
        near, options = self._dense.of(query).tolist(), self.options
        return store.search_hybrid(query.vector, near, top_k, prefetch=options.prefetch, dense_weight=options.dense_weight)

    def _url(self, *, create: bool) -> str:
        return f"edge:{self.home / 'store'}"

    def _settings(self) -> dict[str, Any]:
        return {"dense_size": self._dense.size}
