"""What the retrievers and vector stores of every framework share of hybrid search: a store, and maybe an embedding model beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from .dense import checked_vectors
from .errors import ConfigError
from .records import Record
from .stores.base import Filter, Hit, Store, check_top_k
from .stores.engines import DENSE_ENGINES
from .stores.fusion import check_fusion
from .stores.search import check_best


class Embeddings(Protocol):
    """An embedding model by the names that LangChain has for it."""

    def embed_documents(self, texts: list[str], /) -> list[list[float]]: ...
    async def aembed_documents(self, texts: list[str], /) -> list[list[float]]: ...
    def embed_query(self, text: str, /) -> list[float]: ...
    async def aembed_query(self, text: str, /) -> list[float]: ...


class Searcher(NamedTuple):
    """Searches a store, and makes records ready for it: with a model hybrid, without one by its sparse vectors alone.

    Attributes:
        store: an open store.
        dense: the model of its dense vectors.
        prefetch, dense_weight, rrf_k: how the two searches are fused; see Store.search_hybrid.
        best: without a model, by how many of its best passages a document is ranked; see Store.search.
    """

    store: Store
    dense: Embeddings | None = None
    prefetch: int | None = None
    dense_weight: float | None = None
    rrf_k: int | None = None
    best: int = 1

    def hits(
        self, query: str, top_k: int, *, filter: Filter | None, min_score: float | None = None, embedding: Sequence[float] | None = None
    ) -> list[Hit]:
        """The best hits, best first; `embedding` is that of the query, where it has been made already."""
        if self.dense is None:
            return self.store.search(query, top_k, filter=filter, min_score=min_score, best=self.best)
        embedding = self.dense.embed_query(query) if embedding is None else embedding
        return self.store.search_hybrid(query, embedding, top_k, filter=filter, min_score=min_score, **self._fusion)

    async def ahits(
        self, query: str, top_k: int, *, filter: Filter | None, min_score: float | None = None, embedding: Sequence[float] | None = None
    ) -> list[Hit]:
        """hits() without blocking the event loop."""
        if self.dense is None:
            return await self.store.asearch(query, top_k, filter=filter, min_score=min_score, best=self.best)
        embedding = await self.dense.aembed_query(query) if embedding is None else embedding
        return await self.store.asearch_hybrid(query, embedding, top_k, filter=filter, min_score=min_score, **self._fusion)

    def embedded(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records, with a model each with a dense vector; one that has its own keeps it. Raises ModelFormatError."""
        texts = self._to_embed(records)
        if self.dense is None or not texts:
            return records
        return _with_vectors(records, self.dense.embed_documents(texts), len(texts))

    async def aembedded(self, records: Sequence[Record]) -> Sequence[Record]:
        """embedded() without blocking the event loop."""
        texts = self._to_embed(records)
        if self.dense is None or not texts:
            return records
        return _with_vectors(records, await self.dense.aembed_documents(texts), len(texts))

    def check(self) -> None:
        """Raise ConfigError for settings that no hybrid search takes, and for a model whose vectors the store has no place for."""
        check_fusion(self.dense_weight, self.rrf_k)
        check_best(self.best)
        if self.dense is not None and self.best > 1:
            raise ConfigError(f"best is {self.best!r}, and hybrid searches take the best passage: leave best at 1, or dense out.")
        if self.prefetch is not None:
            check_top_k("prefetch", self.prefetch)
        unused = next((name for name, value in self._fusion.items() if value is not None), None)
        if self.dense is None and unused is not None:
            raise ConfigError(
                f"{unused} is {self._fusion[unused]!r}, and without dense there is no dense search to fuse: give the model of the store's "
                f"dense vectors as dense, or leave {unused} out."
            )
        if self.dense is not None and self.store.dense_size is None:
            raise ConfigError(
                f"dense is given, and the store {self.store.url} keeps no dense vectors: create one on {DENSE_ENGINES} with the "
                "setting dense_size, how many numbers a vector of the model has, or leave dense out."
            )

    @property
    def _fusion(self) -> dict[str, Any]:
        return {"prefetch": self.prefetch, "dense_weight": self.dense_weight, "rrf_k": self.rrf_k}

    def _to_embed(self, records: Sequence[Record]) -> list[str]:
        return [record.content for record in records if record.dense is None]


def check_is_model(model: object, kind: type, framework: str, example: str) -> None:
    """Raise ConfigError unless this is the embedding model that a framework knows, or None."""
    if model is not None and not isinstance(model, kind):
        raise ConfigError(f"dense is a {type(model).__name__}: it must be an embedding model of {framework}, such as {example}.")


def _with_vectors(records: Sequence[Record], given: Any, number: int) -> list[Record]:
    vectors = iter(checked_vectors(given, number))
    return [record if record.dense is not None else replace(record, dense=tuple(next(vectors))) for record in records]
