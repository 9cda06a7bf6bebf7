"""What stores, ingestion and retrievers need of an encoder; SpladeEncoder is the one this package ships."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from ..vectors import SparseVector


class Encoder(Protocol):
    """Turns texts into sparse vectors over one vocabulary."""

    @property
    def name(self) -> str:
        """What the user called the model: for messages only."""
        ...

    @property
    def fingerprint(self) -> str:
        """sha256 (64 hex digits): equal fingerprints mean equal vectors for equal texts."""
        ...

    @property
    def vocab_size(self) -> int:
        """Term ids are smaller than this."""
        ...

    def encode_query(self, text: str) -> SparseVector:
        """Encode one query."""
        ...

    def encode_queries(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        """Encode a stream of queries, in order, with bounded memory."""
        ...

    def encode_documents(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        """Encode a stream of documents, in order, with bounded memory."""
        ...
