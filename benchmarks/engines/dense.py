"""Any embedding model with LangChain's interface, searched exactly: what one dense vector per document finds.

Queries are embedded by build() too: a search is measured without its model, as those of sparse vectors are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from benchmarks.engines.base import Engine, Hits, Query
from benchmarks.engines.embedding import Vectors, checked, embed_documents, embed_queries, join, scaled
from benchmarks.engines.inner_products import largest
from benchmarks.engines.models import load_model
from benchmarks.engines.options import Options
from benchmarks.engines.texts import check_texts
from splade_ptbr_connectors.atomic import write_atomically
from splade_ptbr_connectors.errors import ConfigError, StoreNotFoundError

TOGETHER = 32  # queries multiplied at once
METHODS = ("embed_documents", "embed_query")


class DenseOptions(Options):
    """batch: texts given to the model at once. metric: "cosine" brings all vectors to length 1, "dot" takes them as they are."""

    batch: PositiveInt = 64
    metric: Literal["cosine", "dot"] = "cosine"


class Dense(Engine):
    """vectors.npy and queries.npy in `home`, [rows, D] float32."""

    sparse: ClassVar[bool] = False
    resumes: ClassVar[bool] = True
    accepted: ClassVar[type[Options]] = DenseOptions
    options: DenseOptions

    def build(self) -> None:
        """Embed all texts. What an interrupted build has embedded is kept.

        Raises:
            InputError: there are no texts.
            ConfigError: no model, or `home` was begun with another one.
            ModelFormatError: the model does not give one finite vector for each text, all of one length.
        """
        check_texts(self.workload, self.name)
        model, parts, count = load_model(self.settings.models, "dense", METHODS), self.home / "parts", len(self.workload.documents)
        self._claim()
        paths = embed_documents(model, self.workload.texts(), count, parts, self.options.batch)
        join(paths, self.home / "vectors.npy", count, unit=self.options.metric == "cosine")
        queries = embed_queries(model, self.workload.query_texts, self._dimension())
        np.save(self.home / "queries.npy", self._scaled(queries), allow_pickle=False)
        shutil.rmtree(parts)

    def open(self) -> None:
        try:
            self._vectors = np.load(self.home / "vectors.npy", mmap_mode="r", allow_pickle=False)
            queries = np.load(self.home / "queries.npy", allow_pickle=False)
        except FileNotFoundError as error:
            raise StoreNotFoundError(f"{self.home} holds no vectors: build the index first.") from error
        names = zip(self.workload.query_ids, self.workload.query_texts, strict=True)
        self._embedded: dict[tuple[str, str], Vectors] = dict(zip(names, queries, strict=True))

    def search(self, query: Query, top_k: int) -> Hits:
        return self._search([query], top_k)[0]

    def search_batch(self, queries: Sequence[Query], top_k: int, threads: int) -> list[Hits]:
        parts = [queries[begin : begin + TOGETHER] for begin in range(0, len(queries), TOGETHER)]
        with ThreadPoolExecutor(threads) as pool:
            return [each for part in pool.map(lambda part: self._search(part, top_k), parts) for each in part]

    def close(self) -> None:
        del self._vectors, self._embedded

    def facts(self) -> dict[str, Any]:
        known = {"model": self.settings.models.get("dense"), "dimension": self._dimension(), "search": f"exact, numpy {np.__version__}"}
        return {**known, **self.options.model_dump()}

    def _search(self, queries: Sequence[Query], top_k: int) -> list[Hits]:
        rows, scores = largest(self._vectors, np.array(list(map(self._vector, queries))), top_k)
        return [Hits(*each) for each in zip(rows, scores.astype(np.float64), strict=True)]

    def _vector(self, query: Query) -> Vectors:
        """[D]; a query that is not of the workload is embedded now."""
        known = self._embedded.get((query.query_id, query.text))
        if known is not None:
            return known
        model = load_model(self.settings.models, "dense", METHODS)
        vector: Vectors = self._scaled(checked([model.embed_query(query.text)], 1, self._vectors.shape[1]))[0]
        return vector

    def _scaled(self, vectors: Vectors) -> Vectors:
        return scaled(vectors) if self.options.metric == "cosine" else vectors

    def _dimension(self) -> int:
        return int(np.load(self.home / "vectors.npy", mmap_mode="r", allow_pickle=False).shape[1])

    def _claim(self) -> None:
        """Note what the folder is for, or compare with what it is for already."""
        about = self.workload.about
        wanted = {"model": self.settings.models.get("dense"), "collection": about.name, "documents": len(self.workload.documents)}
        path = self.home / "dense.json"
        if not path.exists():
            write_atomically(path, json.dumps(wanted))
        elif (held := json.loads(path.read_text(encoding="utf-8"))) != wanted:
            raise ConfigError(f"{self.home} was begun with {held}, not with {wanted}: delete it, or name another folder.")
