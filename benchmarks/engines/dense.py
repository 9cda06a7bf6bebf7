"""One dense vector per document, by any embedding model, searched exactly: the products with all of them, by numpy."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engines.base import Hits, Query
from benchmarks.engines.dense_vectors import SearchesDense
from benchmarks.engines.embedding import join
from benchmarks.engines.inner_products import largest
from splade_ptbr_connectors.errors import StoreNotFoundError

TOGETHER = 32  # queries multiplied at once


class Dense(SearchesDense):
    """vectors.npy in `home`, [N, D] float32: an index of nearest neighbours would be faster, and could only find less."""

    def build(self) -> None:
        join(self._dense.documents(), self.home / "vectors.npy", (len(self.workload.documents), self._dense.size))

    def open(self) -> None:
        try:
            self._vectors = np.load(self.home / "vectors.npy", mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise StoreNotFoundError(f"{self.home} holds no vectors: build the index first.") from error

    def search(self, query: Query, top_k: int) -> Hits:
        return self._search([query], top_k)[0]

    def search_batch(self, queries: Sequence[Query], top_k: int, threads: int) -> list[Hits]:
        parts = [queries[begin : begin + TOGETHER] for begin in range(0, len(queries), TOGETHER)]
        with ThreadPoolExecutor(threads) as pool:
            return [each for part in pool.map(lambda part: self._search(part, top_k), parts) for each in part]

    def close(self) -> None:
        del self._vectors

    def query_seconds(self) -> NDArray[np.float64]:
        return self._dense.seconds()

    def facts(self) -> dict[str, Any]:
        known = {"dimension": self._dense.size, "search": f"exact, numpy {np.__version__}"}
        return {**self._dense.model, **known, **self.options.model_dump()}

    def _search(self, queries: Sequence[Query], top_k: int) -> list[Hits]:
        rows, scores = largest(self._vectors, np.array(list(map(self._dense.of, queries))), top_k)
        return [Hits(*each) for each in zip(rows, scores.astype(np.float64), strict=True)]
