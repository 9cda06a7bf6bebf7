"""Sparse embeddings for langchain-qdrant: `QdrantVectorStore(..., sparse_embedding=SpladeSparseEmbeddings())`."""

from __future__ import annotations

from pathlib import Path

from ..encoding.encoder import as_encoder
from ..encoding.protocol import Encoder
from ..extras import require
from ..vectors import SparseVector as Vector

require("langchain_qdrant", "SpladeSparseEmbeddings")  # before it is imported below: the error names the extra

from langchain_qdrant import SparseEmbeddings, SparseVector  # noqa: E402


class SpladeSparseEmbeddings(SparseEmbeddings):
    """An encoder as langchain-qdrant takes it, for RetrievalMode.SPARSE and HYBRID; asynchronous methods run in a thread.

    A text is one vector here, however long it is: langchain-qdrant keeps no passages. A collection of langchain-qdrant opens as a store
    with `settings={"layout": "langchain"}`, and one that such a store has filled opens with langchain-qdrant.

    Args:
        encoder: an encoder, or what SpladeEncoder.load() takes. A collection does not remember it: always use the one that filled it.
    """

    def __init__(self, encoder: Encoder | str | Path = "mini") -> None:
        self.encoder = as_encoder(encoder)

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """One vector per text, in order. Raises TextError."""
        return [_to_langchain(vector) for vector in self.encoder.encode_documents(texts)]

    def embed_query(self, text: str) -> SparseVector:
        """The vector of a query, which may be weighed otherwise than a document's. Raises TextError."""
        return _to_langchain(self.encoder.encode_query(text))

    def __repr__(self) -> str:
        return f"SpladeSparseEmbeddings({self.encoder.name!r})"


def _to_langchain(vector: Vector) -> SparseVector:
    return SparseVector(indices=vector.term_ids.tolist(), values=vector.weights.tolist())
