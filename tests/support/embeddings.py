"""Dense vectors without a model: how often letters come in a text, as both frameworks ask for embeddings."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings
from llama_index.core.base.embeddings.base import BaseEmbedding

LETTERS = "aeioubcdfg"


def embed(text: str) -> list[float]:
    """How often each of ten letters comes, which has little to do with words; never all zeros."""
    return [1.0 + text.count(letter) for letter in LETTERS]


class LetterEmbeddings(Embeddings):
    """LangChain's interface; remembers which method was called, and how many documents were embedded."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.documents = 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.documents += len(texts)
        return [embed(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.calls.append("embed_query")
        return embed(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append("aembed_documents")
        return self.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        self.calls.append("aembed_query")
        return embed(text)


class LetterEmbedding(BaseEmbedding):
    """LlamaIndex's."""

    def _get_query_embedding(self, query: str) -> list[float]:
        return embed(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return embed(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return embed(text)
