"""SpladeRetriever: a store of this package as LangChain's retriever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from pydantic import ConfigDict, Field, field_validator, model_validator

from ..filters import parse_filter
from ..hybrid import Searcher, check_is_model
from ..retrieval import CALL_ARGUMENTS, awords_metadata, check_arguments, check_content, combine_filters, words_metadata
from ..stores.base import Hit, Store, check_is_store, check_top_k
from ..stores.fusion import check_fusion
from ..stores.search import check_best, check_min_score
from .documents import View


class SpladeRetriever(BaseRetriever):
    """Documents of a store for a query, best first: the store's own order and scores.

    Attributes:
        store: an open store; it brings its encoder. Left out of repr() and of serialisation.
        k: number of documents, 1..10,000; `invoke(query, k=3)` overrides it for one call.
        filter: see `splade_ptbr_connectors.filters`. A filter given to `invoke` must hold as well: it narrows this one. No filter
            reaches beyond the tenant that the store was opened with.
        min_score: documents with a smaller score are left out; `invoke(query, min_score=12.5)` overrides it for one call.
        best: a document's score is the mean of so many of its best passages, see Store.search; by default it is that of its best one, whose
            content is shown in any case. With `dense` it has to be 1.
        dense: an embedding model makes the search hybrid: the store's sparse search and a search of its dense vectors, which
            must be of this model, fused. The score is then the fused one.
        prefetch, dense_weight, rrf_k: how the two searches are fused; see Store.search_hybrid.
        score_key: name under which the score (the plain dot product, not 0..1) goes into a document's metadata. By default it does not:
            documents that several queries find would differ by it, and LangChain's MultiQueryRetriever and ensembles would take them for
            different ones. search_with_scores() gives the scores beside the documents.
        content_key: payload field that becomes `page_content`.
        title: True puts the title, where there is one, and a blank line in front of `page_content`: of a passage of a long law a language
            model then reads which law it is. By default `page_content` is what was stored. The title is in the metadata anyway.
        content: what `page_content` is of a document of several passages: the "passage" that was found, the whole "document", or
            "neighbours": the passage with `neighbours` of them before and behind it. Of a part, the metadata hold start and end
            ("passage_start", "passage_end"), in characters of the document's text, and the number of the passage ("passage_number").
        explain: True puts the words that made the passage match into the metadata, as "matched_words": see retrieval.words_metadata();
            "places" are characters of `page_content`, "title_places" of the title. It costs one more read of the k documents from the
            store, one more encoding of the query, and cutting each passage into tokens. Of a hybrid search it explains the sparse score,
            not the fused one. Documents then differ by query.

    A document's `id` is the caller's id; its metadata is the rest of the payload, with the nested "metadata" mapping merged in flat.
    Pickled, it holds no store but how to open it; see Store.

    Raises:
        ConfigError: not an open store; an unknown argument; k out of range, at construction or in a call; an invalid filter or content;
            no `content_key` in a payload, or a field that is called as `score_key`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    store: Store = Field(exclude=True, repr=False)
    k: int = 4
    filter: Any | None = None
    min_score: float | None = None
    best: int = 1
    dense: Embeddings | None = Field(default=None, exclude=True, repr=False)
    prefetch: int | None = None
    dense_weight: float | None = None
    rrf_k: int | None = None
    score_key: str | None = None
    content_key: str = "text"
    title: bool = False
    content: str = "passage"
    neighbours: int = 1
    explain: bool = False

    @field_validator("k", mode="before")
    @classmethod
    def _check_k(cls, value: object) -> int:
        return check_top_k("k", value)

    @field_validator("prefetch", mode="before")
    @classmethod
    def _check_prefetch(cls, value: object) -> int | None:
        return None if value is None else check_top_k("prefetch", value)

    @field_validator("min_score", mode="before")
    @classmethod
    def _check_min_score(cls, value: Any) -> Any:
        check_min_score(value)
        return value

    @field_validator("best", mode="before")
    @classmethod
    def _check_best(cls, value: Any) -> Any:
        check_best(value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _check_together(cls, values: Any) -> Any:
        if isinstance(values, Mapping):  # else pydantic says what it expects
            check_arguments(cls.__name__, values, cls.model_fields)
            check_is_store(values.get("store"))
            check_is_model(values.get("dense"), Embeddings, "LangChain", "E5Embeddings()")
            check_fusion(values.get("dense_weight"), values.get("rrf_k"))
        return values

    @field_validator("content", mode="before")
    @classmethod
    def _check_content(cls, value: object) -> object:
        check_content(value, 0)
        return value

    @field_validator("neighbours", mode="before")
    @classmethod
    def _check_neighbours(cls, value: object) -> object:
        check_content("neighbours", value)
        return value

    @field_validator("filter")
    @classmethod
    def _check_filter(cls, value: Any | None) -> Any | None:
        if isinstance(value, Mapping):
            parse_filter(value)
        return value

    @model_validator(mode="after")
    def _check_searcher(self) -> Self:
        self._searcher.check()
        return self

    def search_with_scores(
        self, query: str, k: int | None = None, filter: Any | None = None, min_score: float | None = None
    ) -> list[tuple[Document, float]]:
        """What invoke() returns, each document with its score; no callbacks are called."""
        hits = self._hits(query, self._k(k), combine_filters(self.filter, filter), min_score)
        return self._documents(hits, words_metadata(self.store, query, hits, self.explain))

    async def asearch_with_scores(
        self, query: str, k: int | None = None, filter: Any | None = None, min_score: float | None = None
    ) -> list[tuple[Document, float]]:
        """search_with_scores() without blocking the event loop."""
        hits = await self._ahits(query, self._k(k), combine_filters(self.filter, filter), min_score)
        return self._documents(hits, await awords_metadata(self.store, query, hits, self.explain))

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: Any | None = None,
        min_score: float | None = None,
        **unknown: Any,
    ) -> list[Document]:
        check_arguments("invoke()", unknown, CALL_ARGUMENTS)
        return [document for document, _ in self.search_with_scores(query, k, filter, min_score)]

    # The base class would drop k and filter of ainvoke(): both methods must name them.
    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: Any | None = None,
        min_score: float | None = None,
        **unknown: Any,
    ) -> list[Document]:
        check_arguments("ainvoke()", unknown, CALL_ARGUMENTS)
        return [document for document, _ in await self.asearch_with_scores(query, k, filter, min_score)]

    def _hits(self, query: str, k: int, filter: Any | None, min_score: float | None) -> list[Hit]:
        return self._searcher.hits(query, k, filter=filter, min_score=self.min_score if min_score is None else min_score)

    async def _ahits(self, query: str, k: int, filter: Any | None, min_score: float | None) -> list[Hit]:
        return await self._searcher.ahits(query, k, filter=filter, min_score=self.min_score if min_score is None else min_score)

    @property
    def _searcher(self) -> Searcher:
        return Searcher(self.store, self.dense, self.prefetch, self.dense_weight, self.rrf_k, self.best)

    def _k(self, k: int | None) -> int:
        return self.k if k is None else check_top_k("k", k)

    def _documents(self, hits: list[Hit], words: list[dict[str, Any]]) -> list[tuple[Document, float]]:
        view = View(self.content_key, self.content, self.neighbours, self.title, self.score_key)
        return [(view.document(hit, added), hit.score) for hit, added in zip(hits, words, strict=True)]

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = self.store.engine
        params["ls_embedding_provider"] = "splade_ptbr_connectors"
        params["ls_embedding_model"] = self.store.encoder.name
        return params
