"""SpladeVectorStore: a store of this package as LlamaIndex's vector store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from pydantic import ConfigDict, Field, PrivateAttr

from ..errors import ConfigError
from ..filters import parse_filter
from ..hybrid import Searcher, check_is_model
from ..ingestion.add import aadd, add
from ..records import Record, check_doc_id
from ..retrieval import combine_filters
from ..stores.base import Entry, Hit, Store, check_is_store, check_top_k
from ..stores.entries import parsed
from ..stores.payloads import NODE_FIELD
from ..stores.predicates import checked, test_of
from .dense_embedding import ByLangChainsNames
from .filters import translate_filters
from .nodes import ID_PATH, REF_FIELD, View, to_records

_SPARSE = (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH)


class SpladeVectorStore(BasePydanticVectorStore):
    """Add, delete, look up and search nodes: for VectorStoreIndex and IngestionPipeline, sparse alone or hybrid with a dense embedding.

    A node that is added comes back equal, see nodes.py. What is encoded is what LlamaIndex embeds: the text, behind the metadata that are
    not in `excluded_embed_metadata_keys`. Without `dense`, embeddings of nodes are not kept, but LlamaIndex insists on them:
    VectorStoreIndex embeds whatever it adds, and IngestionPipeline leaves out nodes without an embedding. `MockEmbedding(embed_dim=1)` of
    LlamaIndex costs nothing.

    Args:
        store: an open store; it brings its encoder. It stays yours to close, and keeps what is added without persist().
        content_key: payload field that becomes the text of a document that is not a node.
        content, neighbours: what a node's text is where the store has split it, see SpladeRetriever; here by default all of it.
        dense: an embedding model, for a store with dense vectors: nodes are kept with their embedding, which must be of this model and is
            made here where they bring none; searches are hybrid, as a SpladeRetriever's. Give an index or pipeline the same model.
        prefetch, dense_weight, rrf_k: how the two searches are fused; see Store.search_hybrid. A query's `alpha` goes before dense_weight.

    Keys of filters are names of a node's metadata; see translate_filters(). Pickled, it holds no store but how to open it.

    Raises:
        ConfigError: not an open store, one without dense vectors for `dense`, or an argument that is not accepted, here and in calls.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    stores_text: bool = True
    is_embedding_query: bool = False
    store: Store = Field(exclude=True, repr=False)
    content_key: str = "text"
    content: str = "document"
    neighbours: int = 1
    dense: BaseEmbedding | None = Field(default=None, exclude=True, repr=False)
    prefetch: int | None = None
    dense_weight: float | None = None
    rrf_k: int | None = None
    _view: View = PrivateAttr()

    def __init__(
        self,
        store: Store,
        *,
        content_key: str = "text",
        content: str = "document",
        neighbours: int = 1,
        dense: BaseEmbedding | None = None,
        prefetch: int | None = None,
        dense_weight: float | None = None,
        rrf_k: int | None = None,
    ) -> None:
        check_is_store(store)
        check_is_model(dense, BaseEmbedding, "LlamaIndex", "E5Embedding()")
        view = View(content_key, content, neighbours)
        shown: dict[str, Any] = {"content_key": content_key, "content": content, "neighbours": neighbours}
        fused: dict[str, Any] = {"dense": dense, "prefetch": prefetch, "dense_weight": dense_weight, "rrf_k": rrf_k}
        super().__init__(**({"store": store} | shown | fused))
        self._view = view
        self._searcher.check()

    @classmethod
    def class_name(cls) -> str:
        """As LlamaIndex calls it where it writes an index down."""
        return "SpladeVectorStore"

    @property
    def _searcher(self) -> Searcher:
        return Searcher(self.store, ByLangChainsNames.of(self.dense), self.prefetch, self.dense_weight, self.rrf_k)

    @property
    def client(self) -> Store:
        """The store."""
        return self.store

    # -- writing ---------------------------------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode]) -> list[str]:  # type: ignore[override]  # a misspelt argument is an error
        """Insert or replace nodes; durable and found when it returns. Returns their ids.

        Raises:
            RecordError, TextError: a node that cannot be stored, or two different ones of one id; nothing was stored.
            ModelFormatError: an embedding is not a vector of numbers; nothing was stored.
            StoreRefusedError: the encoder or the engine refused single nodes; the others are stored.
        """
        add(self._searcher.embedded(self._records(nodes)), self.store)
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode]) -> list[str]:  # type: ignore[override]
        """add() without blocking the event loop."""
        records = await asyncio.to_thread(self._records, nodes)
        await aadd(await self._searcher.aembedded(records), self.store)
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str) -> None:  # type: ignore[override]
        """Delete the nodes of a document, one that was added whole or by ingest() included; none is not an error."""
        self.store.delete_where({REF_FIELD: check_doc_id(ref_doc_id)})
        if any(NODE_FIELD not in entry.payload for entry in self.store.get([ref_doc_id]).values()):
            self.store.delete([ref_doc_id])

    async def adelete(self, ref_doc_id: str) -> None:  # type: ignore[override]
        """delete() without blocking the event loop."""
        await asyncio.to_thread(self.delete, ref_doc_id)

    def delete_nodes(self, node_ids: Sequence[str] | None = None, filters: MetadataFilters | None = None) -> None:  # type: ignore[override]
        """Delete nodes by id, by filter, or those of these ids that a filter lets pass; ids that are not stored are not an error."""
        if node_ids is not None:
            self.store.delete(node_ids if filters is None else self._passing(node_ids, filters))
        elif filters is None:
            raise ConfigError("delete_nodes() was given neither node_ids nor filters: name the nodes to delete, or call clear().")
        elif conditions := translate_filters(filters):
            self.store.delete_where(conditions)
        else:
            raise ConfigError("delete_nodes() was given filters that let every node pass: name the nodes to delete, or call clear().")

    async def adelete_nodes(  # type: ignore[override]
        self, node_ids: Sequence[str] | None = None, filters: MetadataFilters | None = None
    ) -> None:
        """delete_nodes() without blocking the event loop."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters)

    def clear(self) -> None:
        """Delete every document of the store, with a tenant those of the tenant."""
        self.store.delete([entry.doc_id for entry in self.store.scan(with_vectors=False)])

    async def aclear(self) -> None:
        """clear() without blocking the event loop."""
        await asyncio.to_thread(self.clear)

    # -- reading ---------------------------------------------------------------------------------------------------

    def get_nodes(self, node_ids: Sequence[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """The nodes of these ids, whole, in their order, without those that are not stored; without ids all nodes, in no order.

        With filters, those of them that pass. Without ids every node is read and looked at here, which takes as long as the store is large.
        """
        passing = _test_of(filters)
        if node_ids is None:
            return [self._whole(entry) for entry in self.store.scan() if passing(entry.payload)]
        entries = self.store.get(node_ids)
        found = [entries[node_id] for node_id in dict.fromkeys(node_ids) if node_id in entries]
        return [self._whole(entry) for entry in found if passing(entry.payload)]

    async def aget_nodes(self, node_ids: Sequence[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """get_nodes() without blocking the event loop."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def query(self, query: VectorStoreQuery, *, min_score: float | None = None) -> VectorStoreQueryResult:  # type: ignore[override]
        """The best nodes with the store's scores, for the query's `query_str`; with `dense` hybrid, unless the mode says sparse.

        The query's embedding counts in hybrid searches only, where it is made if there is none. In a sparse search a node that shares no
        term with the query is not a hit, so that fewer than `similarity_top_k` may come back; nor is, in either, one with a score below
        `min_score`, which an index hands over from `vector_store_kwargs`.
        """
        searcher, text, top_k, options = self._asked(query)
        return self._result(searcher.hits(text, top_k, min_score=min_score, **options))

    async def aquery(  # type: ignore[override]
        self, query: VectorStoreQuery, *, min_score: float | None = None
    ) -> VectorStoreQueryResult:
        """query() without blocking the event loop."""
        searcher, text, top_k, options = self._asked(query)
        return self._result(await searcher.ahits(text, top_k, min_score=min_score, **options))

    def _passing(self, node_ids: Sequence[str], filters: MetadataFilters) -> list[str]:
        passing = _test_of(filters)
        return [doc_id for doc_id, entry in self.store.get(node_ids).items() if passing(entry.payload)]

    def _records(self, nodes: Sequence[BaseNode]) -> list[Record]:
        return to_records(nodes, with_dense=self.dense is not None)

    def _asked(self, query: VectorStoreQuery) -> tuple[Searcher, str, int, dict[str, Any]]:
        """Who searches, for which text, for how many nodes, and how else. Raises ConfigError."""
        text, top_k, filter = _read(query, hybrid=self.dense is not None)
        searcher = self._searcher._replace(dense=None) if query.mode in _SPARSE else self._searcher
        if query.alpha is not None:
            searcher = searcher._replace(dense_weight=query.alpha)
        return searcher, text, top_k, {"filter": filter, "embedding": query.query_embedding}

    def _result(self, hits: Sequence[Hit]) -> VectorStoreQueryResult:
        nodes = [self._view.node(hit).node for hit in hits]
        return VectorStoreQueryResult(nodes=nodes, similarities=[hit.score for hit in hits], ids=[hit.doc_id for hit in hits])

    def _whole(self, entry: Entry) -> BaseNode:
        return View(self.content_key, "document").node(Hit(entry.doc_id, 0.0, entry.payload)).node

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("content_key", "content", "neighbours", "dense", "prefetch", "dense_weight", "rrf_k")
        return _again, (type(self), self.store, {name: getattr(self, name) for name in names})


def _again(kind: type[SpladeVectorStore], store: Store, options: dict[str, Any]) -> SpladeVectorStore:
    return kind(store, **options)


def _test_of(filters: MetadataFilters | None) -> Callable[[Mapping[str, Any]], bool]:
    return test_of(checked(parsed(translate_filters(filters))))


def _read(query: VectorStoreQuery, *, hybrid: bool) -> tuple[str, int, Any | None]:
    """Text, number of nodes and filter of a query. Raises ConfigError."""
    modes = (VectorStoreQueryMode.DEFAULT, *_SPARSE, *((VectorStoreQueryMode.HYBRID,) if hybrid else ()))
    if query.mode not in modes:
        mode, accepted = getattr(query.mode, "value", query.mode), ", ".join(each.value for each in modes)
        more = "" if hybrid else "; a SpladeVectorStore with a dense embedding is hybrid"
        raise ConfigError(f"the query mode {mode!r} is not supported: use {accepted}{more}.")
    if query.query_str is None:
        raise ConfigError("the query has no query_str, only an embedding: terms are searched by the text of a query.")
    filter = _narrowed(query.filters, {REF_FIELD: query.doc_ids, ID_PATH: query.node_ids})
    top_k = query.hybrid_top_k if query.mode is VectorStoreQueryMode.HYBRID and query.hybrid_top_k else query.similarity_top_k
    return query.query_str, check_top_k("similarity_top_k", top_k), filter


def _narrowed(filters: Any | None, among: dict[str, Sequence[str] | None]) -> Any | None:
    """Conditions that require the filters, and of each of these fields one of its values; a field without values requires nothing."""
    chosen = parse_filter({field: list(values) for field, values in among.items() if values})
    return combine_filters(translate_filters(filters), chosen)
