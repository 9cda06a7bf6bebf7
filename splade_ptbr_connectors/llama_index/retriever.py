"""SpladeRetriever: a store of this package as LlamaIndex's retriever, sparse alone or hybrid with a dense embedding."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from ..hybrid import Searcher, check_is_model
from ..retrieval import awords_metadata, check_arguments, words_metadata
from ..stores.base import Hit, Store, check_is_store, check_top_k
from ..stores.search import check_min_score
from ..validation import check
from .dense_embedding import ByLangChainsNames
from .filters import translate_filters
from .nodes import View


class SpladeRetriever(BaseRetriever):
    """Nodes of a store for a query, best first: the store's own order and scores.

    Args:
        store: an open store; it brings its encoder.
        similarity_top_k: number of nodes, 1..10,000.
        filters: MetadataFilters or, with the same names of a node's metadata, the filter mapping of
            `splade_ptbr_connectors.filters`, or the engine's own filter object.
        min_score: nodes with a smaller score are left out.
        best: a document's score is the mean of so many of its best passages, see Store.search; by default it is that of its best one, whose
            text is shown in any case. With `dense` it has to be 1.
        content_key: payload field that becomes the node's text.
        dense: an embedding model makes the search hybrid: the store's sparse search and a search of its dense vectors, which
            must be of this model, fused. The score is then the fused one.
        prefetch, dense_weight, rrf_k: how the two searches are fused; see Store.search_hybrid.
        content: what a node's text is of a document of several passages: the "passage" that was found, the whole "document", or
            "neighbours": the passage with `neighbours` of them before and behind it. A part has its offsets as `start_char_idx` and
            `end_char_idx`; its metadata hold start, end and number of the passage, which prompts and embeddings leave out.
        explain: True puts the words that made the passage match into the metadata, as "matched_words": see retrieval.words_metadata();
            "places" are characters of the node's text, "title_places" of the title. It costs one more read of the documents from the
            store, one more encoding of the query, and cutting each passage into tokens. Of a hybrid search it explains the sparse score,
            not the fused one. Prompts and embeddings leave these metadata out.
        kwargs: what LlamaIndex's BaseRetriever takes (callback_manager, object_map, objects, verbose).

    A node that SpladeVectorStore has stored comes back as it was: class, relationships, offsets, excluded keys and all. Any other document
    is a TextNode whose `node_id` is the document's id and whose metadata are the rest of the payload. The score is in NodeWithScore, not
    in a node: two queries that find the same node give equal ones. No filter reaches beyond the tenant that the store was opened with.
    Pickled, it holds no store but how to open it; see Store.

    Raises:
        ConfigError: not an open store, an argument that is unknown or not accepted, or a filter that cannot be translated.
    """

    def __init__(
        self,
        store: Store,
        similarity_top_k: int = 10,
        filters: MetadataFilters | Mapping[str, Any] | Any | None = None,
        *,
        min_score: float | None = None,
        best: int = 1,
        content_key: str = "text",
        dense: BaseEmbedding | None = None,
        prefetch: int | None = None,
        dense_weight: float | None = None,
        rrf_k: int | None = None,
        content: str = "passage",
        neighbours: int = 1,
        explain: bool = False,
        **kwargs: Any,
    ) -> None:
        check_arguments(type(self).__name__, kwargs, _ARGUMENTS)
        super().__init__(**kwargs)
        check_is_store(store)
        self.store = store
        self.similarity_top_k = check_top_k("similarity_top_k", similarity_top_k)
        check_min_score(min_score)
        self.min_score = min_score
        self.best = best
        self.content_key = content_key
        check_is_model(dense, BaseEmbedding, "LlamaIndex", "E5Embedding()")
        self.dense = dense
        self.prefetch, self.dense_weight, self.rrf_k = prefetch, dense_weight, rrf_k
        self._searcher.check()
        View(content_key, content, neighbours)  # ConfigError now, not at the first query
        self.content, self.neighbours = content, neighbours
        check("explain", explain, bool)
        self.explain = explain
        self._filter = translate_filters(filters)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._hits(query_bundle)
        return self._nodes(hits, words_metadata(self.store, query_bundle.query_str, hits, self.explain))

    # The base class would call _retrieve on the event loop and block it.
    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = await self._ahits(query_bundle)
        return self._nodes(hits, await awords_metadata(self.store, query_bundle.query_str, hits, self.explain))

    def _hits(self, bundle: QueryBundle) -> list[Hit]:
        return self._searcher.hits(bundle.query_str, self.similarity_top_k, embedding=bundle.embedding, **self._limits)

    async def _ahits(self, bundle: QueryBundle) -> list[Hit]:
        return await self._searcher.ahits(bundle.query_str, self.similarity_top_k, embedding=bundle.embedding, **self._limits)

    @property
    def _searcher(self) -> Searcher:
        return Searcher(self.store, ByLangChainsNames.of(self.dense), self.prefetch, self.dense_weight, self.rrf_k, self.best)

    @property
    def _limits(self) -> dict[str, Any]:
        return {"filter": self._filter, "min_score": self.min_score}

    def _nodes(self, hits: list[Hit], words: list[dict[str, Any]]) -> list[NodeWithScore]:
        view = View(self.content_key, self.content, self.neighbours)
        return [view.node(hit, added) for hit, added in zip(hits, words, strict=True)]


_ARGUMENTS = [name for face in (SpladeRetriever, BaseRetriever) for name in inspect.signature(face).parameters if name != "kwargs"]
