"""LlamaIndex retriever over any store of this package: sparse alone, or hybrid with a dense embedding.

>>> from splade_ptbr_connectors import SpladeEncoder, open_store  # doctest: +SKIP
>>> store = open_store("edge:meus-documentos", encoder=SpladeEncoder.load("mini"))  # doctest: +SKIP
>>> SpladeRetriever(store=store, similarity_top_k=10).retrieve("prazo para recorrer da multa")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import ConfigError
from .extras import require
from .filters import Condition, parse_filter
from .retrieval import awords_metadata, check_content, content_and_metadata, words_metadata
from .stores.base import Hit, Store, check_is_store, check_top_k
from .validation import Positive, check

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
    from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
except ModuleNotFoundError:
    require("llama_index.core", "splade_ptbr_connectors.llama_index")  # raises MissingExtraError if that is what is missing
    raise

__all__ = ["SpladeRetriever", "translate_filters"]

_RANGES = {FilterOperator.GT: "gt", FilterOperator.GTE: "gte", FilterOperator.LT: "lt", FilterOperator.LTE: "lte"}
_SCALAR_OPERATORS = (FilterOperator.EQ, FilterOperator.NE)
_LIST_OPERATORS = (FilterOperator.IN, FilterOperator.NIN)
_MAX_NESTED = 100


class SpladeRetriever(BaseRetriever):
    """Nodes of a store for a query, best first: the store's own order and scores.

    Args:
        store: an open store; it brings its encoder.
        similarity_top_k: number of nodes, 1..10,000.
        filters: MetadataFilters (their keys are payload paths such as "metadata.subject"), the filter mapping of
            `splade_ptbr_connectors.filters`, or the engine's own filter object.
        content_key: payload field that becomes the node's text.
        dense: an embedding model makes the search hybrid: the store's sparse search and a search of its dense vectors, which
            must be of this model, fused by reciprocal ranks. The score is then the fused one.
        prefetch, rrf_k: depth and constant of the fusion; see Store.search_hybrid.
        content: what a node's text is of a document of several passages: the "passage" that was found, the whole "document", or
            "neighbours": the passage with `neighbours` of them before and behind it. Its metadata then hold start and end of that text,
            in characters of the document's, and the number of the passage.
        explain: True puts the words that made the passage match into the metadata, as "matched_words": see retrieval.words_metadata().
            It costs one more read of the documents from the store, one more encoding of the query, and cutting each passage into
            tokens. Of a hybrid search it explains the sparse score, not the fused one. Prompts and embeddings leave these metadata out.
        kwargs: what LlamaIndex's BaseRetriever takes (callback_manager, object_map, objects, verbose).

    A node's `node_id` is the caller's document id, its metadata the rest of the payload. No filter reaches beyond the tenant
    that the store was opened with.

    Raises:
        ConfigError: not an open store, similarity_top_k, prefetch, rrf_k or content not accepted, or a filter that cannot be translated.
    """

    def __init__(
        self,
        store: Store,
        similarity_top_k: int = 10,
        filters: MetadataFilters | Mapping[str, Any] | Any | None = None,
        *,
        content_key: str = "text",
        dense: BaseEmbedding | None = None,
        prefetch: int | None = None,
        rrf_k: int = 60,
        content: str = "passage",
        neighbours: int = 1,
        explain: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_is_store(store)
        self.store = store
        self.similarity_top_k = check_top_k("similarity_top_k", similarity_top_k)
        self.content_key = content_key
        self.dense = dense
        self.prefetch = None if prefetch is None else check_top_k("prefetch", prefetch)
        check("rrf_k", rrf_k, Positive)
        self.rrf_k = rrf_k
        check_content(content, neighbours)
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
        query, top_k = bundle.query_str, self.similarity_top_k
        if self.dense is None:
            return self.store.search(query, top_k, filter=self._filter)
        embedded = bundle.embedding or self.dense.get_query_embedding(query)
        return self.store.search_hybrid(query, embedded, top_k, prefetch=self.prefetch, rrf_k=self.rrf_k, filter=self._filter)

    async def _ahits(self, bundle: QueryBundle) -> list[Hit]:
        query, top_k = bundle.query_str, self.similarity_top_k
        if self.dense is None:
            return await self.store.asearch(query, top_k, filter=self._filter)
        embedded = bundle.embedding or await self.dense.aget_query_embedding(query)
        return await self.store.asearch_hybrid(query, embedded, top_k, prefetch=self.prefetch, rrf_k=self.rrf_k, filter=self._filter)

    def _nodes(self, hits: list[Hit], words: list[dict[str, Any]]) -> list[NodeWithScore]:
        return [self._node(hit, added) for hit, added in zip(hits, words, strict=True)]

    def _node(self, hit: Hit, words: dict[str, Any]) -> NodeWithScore:
        content, metadata = content_and_metadata(hit, self.content_key, self.content, self.neighbours)
        unread = list(words)  # a page of numbers is nothing for a prompt
        node = TextNode(
            id_=hit.doc_id,
            text=content,
            metadata=metadata | words,
            excluded_embed_metadata_keys=unread,
            excluded_llm_metadata_keys=unread,
        )
        return NodeWithScore(node=node, score=hit.score)


def translate_filters(filters: MetadataFilters | Mapping[str, Any] | Any | None) -> Any | None:
    """LlamaIndex's filters as conditions of `splade_ptbr_connectors.filters`; an engine's own filter object stays as it is.

    Operators ==, !=, >, >=, <, <=, in and nin, joined by "and", nested up to 100 levels. Raises ConfigError for any other.
    """
    if isinstance(filters, MetadataFilters):
        return tuple(_all_conditions(filters)) or None
    if isinstance(filters, Mapping):
        return parse_filter(filters) or None
    return filters


def _all_conditions(filters: MetadataFilters, depth: int = 0) -> list[Condition]:
    if depth > _MAX_NESTED:
        raise ConfigError(f"the filters are nested more than {_MAX_NESTED} levels deep: join their conditions in one.")
    if filters.condition is not FilterCondition.AND:
        raise ConfigError(f"the filter condition {_value(filters.condition)!r} is not supported: conditions are joined by 'and'.")
    found: list[Condition] = []
    for one in filters.filters:
        found.extend(_all_conditions(one, depth + 1) if isinstance(one, MetadataFilters) else _conditions(one))
    return found


def _conditions(one: MetadataFilter) -> tuple[Condition, ...]:
    operator, is_list = one.operator, isinstance(one.value, list)
    if operator in _RANGES:
        return parse_filter({one.key: {_RANGES[operator]: one.value}})
    if (operator in _SCALAR_OPERATORS and not is_list) or (operator in _LIST_OPERATORS and is_list):
        negated = operator in (FilterOperator.NE, FilterOperator.NIN)
        return parse_filter({one.key: {"not": one.value} if negated else one.value})
    raise ConfigError(
        f"the filter {one.key!r} {_value(operator)} {one.value!r} is not supported: "
        "use ==, !=, >, >=, <, <= with one value, or in and nin with a list."
    )


def _value(member: Any) -> Any:
    return getattr(member, "value", member)
