"""SpladeVectorStore: a store of this package as LangChain's VectorStore."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from ..encoding.protocol import Encoder
from ..errors import ConfigError
from ..hybrid import Searcher, check_is_model
from ..ingestion.add import aadd, add
from ..records import unique
from ..retrieval import CALL_ARGUMENTS, check_arguments, visible_filter
from ..stores import open_store
from ..stores.base import Entry, Hit, Store, check_is_store, check_top_k
from ..stores.search import LARGEST
from ..strict import shown
from .diversity import check_lambda, diverse
from .documents import View, check_documents, to_records

DIVERSE_ARGUMENTS = ("k", "fetch_k", "lambda_mult", "filter")  # of a search for documents that are not all alike


class SpladeVectorStore(VectorStore):
    """Add, delete, look up and search documents; works with LangChain's `index()` and a record manager.

    A document that is added comes back equal, by search as by id. A "title" among its metadata is encoded in front of its text. Ids are any
    strings; without one a document gets an id made of its text and metadata, so that adding it again changes nothing. A document that
    shares no term with the query is not a hit, so that fewer than k may come back.

    Search types of as_retriever(): "similarity", "mmr", and "similarity_score_threshold", whose relevance is score / (score +
    relevance_pivot): 0.5 for a score of `relevance_pivot`. It grows with the score and does not reach 1. Scores have no upper bound, and
    what is a good one depends on the model: measure it on queries of your own. Of a hybrid search the relevance is the fused score itself.

    Args:
        store: an open store; it brings its encoder. It stays yours to close.
        content_key: payload field that becomes `page_content`; documents that are added have it in "text".
        content, neighbours: what `page_content` is of a document of several passages, see SpladeRetriever; here by default all of it.
        relevance_pivot: the score whose relevance is 0.5.
        dense: an embedding model, for a store with dense vectors: what is added is kept with its vector, and searches are hybrid, as a
            SpladeRetriever's. A document is then a hit without a term of the query as well.
        prefetch, dense_weight, rrf_k: how the two searches are fused; see Store.search_hybrid.

    Large collections are loaded faster by splade_ptbr_connectors.ingest(), whose records are found here too.

    Raises:
        ConfigError: not an open store, one without dense vectors for `dense`, or an argument that is not accepted, here and in calls.
    """

    def __init__(
        self,
        store: Store,
        *,
        content_key: str = "text",
        content: str = "document",
        neighbours: int = 1,
        relevance_pivot: float = 10.0,
        dense: Embeddings | None = None,
        prefetch: int | None = None,
        dense_weight: float | None = None,
        rrf_k: int | None = None,
    ) -> None:
        check_is_store(store)
        check_is_model(dense, Embeddings, "LangChain", "E5Embeddings()")
        if isinstance(relevance_pivot, bool) or not isinstance(relevance_pivot, int | float) or not 0 < relevance_pivot <= LARGEST:
            raise ConfigError(f"relevance_pivot is {shown(relevance_pivot)}: it must be a positive number.")
        self.store = store
        self.relevance_pivot = relevance_pivot
        self._view = View(content_key, content, neighbours)
        self._searcher = Searcher(store, dense, prefetch, dense_weight, rrf_k)
        self._searcher.check()

    @property
    def embeddings(self) -> Embeddings | None:
        """The embedding model of the dense vectors."""
        return self._searcher.dense  # type: ignore[return-value]  # checked to be one

    # -- writing ---------------------------------------------------------------------------------------------------

    def add_texts(  # type: ignore[override]  # a misspelt argument is an error
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Insert or replace texts; durable and found when it returns. Returns their ids.

        All are checked before the first is stored. `batch_size`, which LangChain's index() hands over, has no effect: batches are the
        store's.

        Raises:
            RecordError, TextError: a text or metadata that cannot be stored, or two different texts of one id; nothing was stored.
            ModelFormatError: the embedding model gave something else than a vector for each text; nothing was stored.
            StoreRefusedError: the encoder or the engine refused single documents; the others are stored.
        """
        records = to_records(texts, metadatas, ids)
        add(self._searcher.embedded(unique(records)), self.store)
        return [record.doc_id for record in records]

    async def aadd_texts(  # type: ignore[override]
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """add_texts() without blocking the event loop."""
        records = await asyncio.to_thread(to_records, texts, metadatas, ids)
        await aadd(await self._searcher.aembedded(unique(records)), self.store)
        return [record.doc_id for record in records]

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """add_texts() of documents with their metadata and ids. Raises ConfigError for what is no list of documents."""
        return super().add_documents(check_documents(documents), **kwargs)

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """add_documents() without blocking the event loop."""
        return await super().aadd_documents(check_documents(documents), **kwargs)

    def delete(self, ids: Sequence[str] | None = None) -> bool:  # type: ignore[override]
        """Delete documents by id, as LangChain wants it all of them without ids; ids that are not stored are not an error. Returns True."""
        self.store.delete(self._every_id() if ids is None else ids)
        return True

    async def adelete(self, ids: Sequence[str] | None = None) -> bool:  # type: ignore[override]
        """delete() without blocking the event loop."""
        await self.store.adelete(await asyncio.to_thread(self._every_id) if ids is None else ids)
        return True

    @classmethod
    def from_texts(  # type: ignore[override]
        cls,
        texts: Iterable[str],
        embedding: Encoder | str | None = None,
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        store: Store | str,
        **arguments: Any,
    ) -> Self:
        """Add texts to a store, and return it as a vector store; from_documents() takes the same arguments.

        Args:
            embedding: the encoder, or the name of its model, where `store` is a URL. LangChain's embeddings go
                into `dense`.
            store: an open store, or the URL of one, which is opened, or created if nothing is there.
            arguments: of the constructor.
        """
        made = cls(_opened(store, embedding), **arguments)
        made.add_texts(texts, metadatas, ids=ids)
        return made

    @classmethod
    async def afrom_texts(  # type: ignore[override]
        cls,
        texts: Iterable[str],
        embedding: Encoder | str | None = None,
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        store: Store | str,
        **arguments: Any,
    ) -> Self:
        """from_texts() without blocking the event loop."""
        made = cls(await asyncio.to_thread(_opened, store, embedding), **arguments)
        await made.aadd_texts(texts, metadatas, ids=ids)
        return made

    # -- reading ---------------------------------------------------------------------------------------------------

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents of these ids, whole, in their order; ids that are not stored are left out."""
        return _whole(ids, self.store.get(ids), self._view)

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """get_by_ids() without blocking the event loop."""
        return _whole(ids, await self.store.aget(ids), self._view)

    def similarity_search(
        self, query: str, k: int = 4, *, filter: Any | None = None, min_score: float | None = None, **unknown: Any
    ) -> list[Document]:
        """The k best documents, in the store's order.

        Args:
            k: 1..10,000.
            filter: see `splade_ptbr_connectors.filters`; its names are those of `metadata`.
            min_score: documents with a smaller score are left out.
        """
        return [document for document, _ in self.similarity_search_with_score(query, k, filter=filter, min_score=min_score, **unknown)]

    async def asimilarity_search(
        self, query: str, k: int = 4, *, filter: Any | None = None, min_score: float | None = None, **unknown: Any
    ) -> list[Document]:
        """similarity_search() without blocking the event loop."""
        found = await self.asimilarity_search_with_score(query, k, filter=filter, min_score=min_score, **unknown)
        return [document for document, _ in found]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Any | None = None, min_score: float | None = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """similarity_search() with the store's scores: plain dot products, of a hybrid search the fused scores; larger is better."""
        check_arguments("the search", unknown, CALL_ARGUMENTS)
        return self._scored(self._searcher.hits(query, check_top_k("k", k), filter=visible_filter(filter), min_score=min_score))

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Any | None = None, min_score: float | None = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """similarity_search_with_score() without blocking the event loop."""
        check_arguments("the search", unknown, CALL_ARGUMENTS)
        return self._scored(await self._searcher.ahits(query, check_top_k("k", k), filter=visible_filter(filter), min_score=min_score))

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, *, filter: Any | None = None, **unknown: Any
    ) -> list[Document]:
        """Of the `fetch_k` best documents k whose terms are not all alike; see diversity.py. Costs one more read of them from the store.

        Args:
            lambda_mult: from 0 (as different as can be) to 1 (by score alone, as similarity_search() gives them).
        """
        check_arguments("the search", unknown, DIVERSE_ARGUMENTS)
        check_top_k("k", k), check_lambda(lambda_mult)
        hits = self._searcher.hits(query, check_top_k("fetch_k", fetch_k), filter=visible_filter(filter))
        entries = self.store.get([hit.doc_id for hit in hits])
        return [self._view.document(hit) for hit in _diverse(hits, entries, k, lambda_mult)]

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, *, filter: Any | None = None, **unknown: Any
    ) -> list[Document]:
        """max_marginal_relevance_search() without blocking the event loop."""
        check_arguments("the search", unknown, DIVERSE_ARGUMENTS)
        check_top_k("k", k), check_lambda(lambda_mult)
        hits = await self._searcher.ahits(query, check_top_k("fetch_k", fetch_k), filter=visible_filter(filter))
        entries = await self.store.aget([hit.doc_id for hit in hits])
        return [self._view.document(hit) for hit in _diverse(hits, entries, k, lambda_mult)]

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """There is none by a dense vector. Raises ConfigError."""
        raise ConfigError("a SpladeVectorStore searches by texts: call similarity_search(query), or store.search() with a SparseVector.")

    def __repr__(self) -> str:
        return f"SpladeVectorStore({self.store!r})"

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return (lambda score: score / (score + self.relevance_pivot)) if self.embeddings is None else float

    def _scored(self, hits: Sequence[Hit]) -> list[tuple[Document, float]]:
        return [(self._view.document(hit), hit.score) for hit in hits]

    def _every_id(self) -> list[str]:
        return [entry.doc_id for entry in self.store.scan(with_vectors=False)]


def _opened(store: Store | str, encoder: Encoder | str | None) -> Store:
    if isinstance(encoder, Embeddings):
        raise ConfigError(
            f"embedding is a {type(encoder).__name__}: give LangChain's embeddings as dense, and here the encoder, or its model's name."
        )
    if isinstance(store, str):
        return open_store(store, encoder=encoder)
    check_is_store(store)
    if encoder is not None:
        raise ConfigError("embedding and an open store are given: a store brings its encoder, leave embedding out or give the store's URL.")
    return store


def _whole(ids: Sequence[str], entries: Mapping[str, Entry], view: View) -> list[Document]:
    whole = replace(view, content="document")
    found = [entries[doc_id] for doc_id in dict.fromkeys(ids) if doc_id in entries]
    return [whole.document(Hit(entry.doc_id, 0.0, entry.payload)) for entry in found]


def _diverse(hits: Sequence[Hit], entries: Mapping[str, Entry], k: int, lambda_mult: float) -> list[Hit]:
    """Of several passages the one that was found counts. Documents that were deleted meanwhile are left out."""
    there = [hit for hit in hits if hit.doc_id in entries]
    vectors = [entries[hit.doc_id].vectors[hit.place.number if hit.place else 0] for hit in there]
    return [there[number] for number in diverse([hit.score for hit in there], vectors, k, lambda_mult)]
