"""An encoder as LlamaIndex takes sparse embeddings: a class of its own kind, and the two functions of its Qdrant integration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding, SparseEmbedding
from pydantic import Field

from ..encoding.encoder import as_encoder
from ..encoding.protocol import Encoder
from ..vectors import SparseVector

SparseEncoderCallable = Callable[[list[str]], tuple[list[list[int]], list[list[float]]]]


class SpladeSparseEmbedding(BaseSparseEmbedding):
    """An encoder as LlamaIndex's BaseSparseEmbedding: a text becomes {term id: weight}.

    similarity() is the dot product, by which SPLADE ranks, where LlamaIndex's own is the cosine.

    Args:
        encoder: an encoder, or what SpladeEncoder.load() takes.
        options: fields of BaseSparseEmbedding (embed_batch_size, num_workers).
    """

    encoder: Any = Field(exclude=True, repr=False)

    def __init__(self, encoder: Encoder | str | Path = "mini", **options: Any) -> None:
        loaded = as_encoder(encoder)
        super().__init__(**({"model_name": loaded.name} | options | {"encoder": loaded}))

    @classmethod
    def class_name(cls) -> str:
        """As LlamaIndex calls it where it writes a pipeline down."""
        return "SpladeSparseEmbedding"

    def _get_query_embedding(self, query: str) -> SparseEmbedding:
        vector: SparseVector = self.encoder.encode_query(query)
        return vector.to_dict()

    async def _aget_query_embedding(self, query: str) -> SparseEmbedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> SparseEmbedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> SparseEmbedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[SparseEmbedding]:
        return [vector.to_dict() for vector in self.encoder.encode_documents(texts)]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[SparseEmbedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    def similarity(self, embedding1: SparseEmbedding, embedding2: SparseEmbedding) -> float:
        """The dot product of two embeddings."""
        return SparseVector.from_dict(embedding1).dot(SparseVector.from_dict(embedding2))


def sparse_doc_fn(encoder: Encoder | str | Path = "mini") -> SparseEncoderCallable:
    """`sparse_doc_fn` of LlamaIndex's QdrantVectorStore: documents as term ids and weights.

    Args:
        encoder: an encoder, or what SpladeEncoder.load() takes. A collection does not remember it: always use the one that filled it.
    """
    loaded = as_encoder(encoder)
    return lambda texts: _lists(loaded.encode_documents(texts))


def sparse_query_fn(encoder: Encoder | str | Path = "mini") -> SparseEncoderCallable:
    """`sparse_query_fn` of LlamaIndex's QdrantVectorStore: queries as term ids and weights; see sparse_doc_fn()."""
    loaded = as_encoder(encoder)
    return lambda texts: _lists(loaded.encode_queries(texts))


def _lists(vectors: Iterable[SparseVector]) -> tuple[list[list[int]], list[list[float]]]:
    kept = list(vectors)
    return [vector.term_ids.tolist() for vector in kept], [vector.weights.tolist() for vector in kept]
