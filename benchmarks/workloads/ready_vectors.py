"""ReadyVectors: what a store is opened with when there is no model, only vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from splade_ptbr_connectors.vectors import SparseVector

VOCABULARY = 29_794  # of the benchmarks' own vectors, as many terms as BERTimbau has


class ReadyVectors:
    """Stands in for the model: its name and its vocabulary, and no text to encode."""

    load_arguments: ClassVar[Mapping[str, Any]] = {"model": "ready-vectors"}

    def __init__(self, name: str = "made-up", vocab_size: int = VOCABULARY) -> None:
        self.name = name
        self.vocab_size = vocab_size
        self.fingerprint = hashlib.sha256(name.encode()).hexdigest()

    def token(self, term_id: int) -> str:
        """The term's number."""
        return str(term_id)

    def encode_query(self, text: str) -> SparseVector:
        """Queries come with their vectors."""
        raise NotImplementedError

    def encode_queries(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        """The same."""
        return map(self.encode_query, texts)

    encode_documents = encode_queries
