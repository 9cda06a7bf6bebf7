"""Models for tests of engines, named as a user names them: without weights, without a network, some of them faulty."""

from __future__ import annotations

import zlib
from typing import Any

from langchain_core.embeddings import DeterministicFakeEmbedding
from pydantic import Field

DIMENSION = 16
embeddings = DeterministicFakeEmbedding(size=DIMENSION)


def make_embeddings() -> DeterministicFakeEmbedding:
    """A model that is made when it is needed."""
    return embeddings


class Reranker:
    """sentence-transformers' interface: a score that depends on both texts."""

    def predict(self, pairs: list[tuple[str, str]]) -> list[float]:
        return [score(*pair) for pair in pairs]


class LangChainReranker:
    """LangChain's interface."""

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [score(*pair) for pair in text_pairs]


def score(query: str, document: str) -> float:
    """Repeatable, and unlike any other ranking."""
    return zlib.crc32(f"{query}\n{document}".encode()) / 2**32 - 0.5


reranker = Reranker()


class Failing(DeterministicFakeEmbedding):
    """Gives `calls` batches and then what `failure` says: an error, or vectors that cannot be used."""

    calls: int = 1_000_000
    failure: str = "error"
    seen: list[int] = Field(default_factory=list)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.seen.append(len(texts))
        vectors = super().embed_documents(texts)
        return vectors if len(self.seen) <= self.calls else self._spoil(vectors)

    def _spoil(self, vectors: list[list[float]]) -> Any:
        if self.failure == "error":
            raise ConnectionError("the service is gone")
        return {
            "NaN": [[float("nan")] * len(vectors[0]), *vectors[1:]],
            "negative": [[-number for number in vector] for vector in vectors],
            "fewer": vectors[:-1],
            "dimension": [vector[:-1] for vector in vectors],
            "ragged": [vectors[0][:-1], *vectors[1:]],
            "text": [["a"] for _ in vectors],
        }[self.failure]
