"""Dense vectors of a workload, made once for all engines that search them: dense/KEY/ in its folder, one KEY for each model.

model.json      which model made them
documents/      [N, D] float32, in files of up to embedding.PART rows
seconds.npy     [Q] float64, what embedding each query took
queries.npy     [Q, D] float32; written last: a folder without it is not finished
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from benchmarks.engines import missing
from benchmarks.engines.base import Engine, Query, Settings
from benchmarks.engines.embedding import Vectors, checked, embed_documents, embed_queries, save, scaled
from benchmarks.engines.models import load_model
from benchmarks.engines.options import Options
from benchmarks.engines.texts import check_texts
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.atomic import write_atomically
from splade_ptbr_connectors.errors import StoreNotFoundError

E5 = "splade_ptbr_connectors.langchain:E5Embeddings"
METHODS = ("embed_documents", "embed_query")


class DenseOptions(Options):
    """batch: texts given to the model at once. metric: "cosine" brings all vectors to length 1, "dot" takes them as they are."""

    batch: PositiveInt = 64
    metric: Literal["cosine", "dot"] = "cosine"


class SearchesDense(Engine):
    """An engine over them."""

    sparse: ClassVar[bool] = False
    accepted: ClassVar[type[Options]] = DenseOptions
    options: DenseOptions

    @cached_property
    def _dense(self) -> DenseVectors:
        return DenseVectors(self.workload, self.settings, self.options)

    def prepare(self) -> None:
        """Raises InputError without texts, and what DenseVectors.embed() raises."""
        check_texts(self.workload, self.name)
        self._dense.embed()


class DenseVectors:
    """Of a workload, by the model that the settings name: E5 unless they say otherwise.

    Attributes:
        model: what names the model, see Settings.models.
    """

    def __init__(self, workload: Workload, settings: Settings, options: DenseOptions) -> None:
        self.model = {"dense": E5} | {name: value for name, value in settings.models.items() if name.startswith("dense")}
        named = json.dumps(self.model, sort_keys=True)
        self._workload, self._options = workload, options
        self._folder = workload.folder / "dense" / hashlib.blake2b(named.encode(), digest_size=8).hexdigest()

    def embed(self) -> None:
        """Embed what is not there yet: all of it, or what an interrupted call has left to do.

        Raises:
            ConfigError, MissingExtraError: there is no such model, or it cannot be asked.
            ModelError: an endpoint fails.
            ModelFormatError: the model does not give one finite vector for each text, all of one length.
        """
        if (self._folder / "queries.npy").exists():
            return
        (self._folder / "documents").mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / "model.json", json.dumps(self.model))
        count = len(self._workload.documents)
        embed_documents(self._embeddings, self._workload.texts(), count, self._folder / "documents", self._options.batch)
        queries, seconds = embed_queries(self._embeddings, self._workload.query_texts, self.size)
        save(self._folder / "seconds.npy", seconds)
        save(self._folder / "queries.npy", queries)

    def documents(self) -> Iterator[Vectors]:
        """[n, D] by row, a file at a time."""
        return (self._scaled(np.load(path, allow_pickle=False)) for path in sorted((self._folder / "documents").glob("*.npy")))

    @property
    def size(self) -> int:
        """Numbers in a vector."""
        first: Vectors = np.load(self._folder / "documents/000000000.npy", mmap_mode="r", allow_pickle=False)
        return int(first.shape[1])

    def of(self, query: Query) -> Vectors:
        """[D]; a query that is not of the workload is embedded now. Raises StoreNotFoundError before embed()."""
        known = self._queries.get((query.query_id, query.text))
        return self._scaled(checked([self._embeddings.embed_query(query.text)], 1, self.size))[0] if known is None else known

    def seconds(self) -> NDArray[np.float64]:
        """[Q] What it took to embed each query."""
        found: NDArray[np.float64] = np.load(self._folder / "seconds.npy", allow_pickle=False)
        return found

    @cached_property
    def _queries(self) -> dict[tuple[str, str], Vectors]:
        try:
            vectors = self._scaled(np.load(self._folder / "queries.npy", allow_pickle=False))
        except FileNotFoundError as error:
            raise StoreNotFoundError(f"{self._folder} holds no vectors of queries: build the index first.") from error
        return dict(zip(zip(self._workload.query_ids, self._workload.query_texts, strict=True), vectors, strict=True))

    @cached_property
    def _embeddings(self) -> Any:
        if "dense-url" not in self.model:
            return load_model(self.model, "dense", METHODS)
        try:
            from benchmarks.engines.endpoint import Endpoint
        except ModuleNotFoundError as error:
            raise missing("--dense-url", error) from error
        name = self.model["dense"]
        return Endpoint(self.model["dense-url"], name, self.model.get("dense-query", name))

    def _scaled(self, vectors: Vectors) -> Vectors:
        return scaled(vectors) if self._options.metric == "cosine" else vectors
