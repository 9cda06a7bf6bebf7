"""What stores, ingestion and retrievers need of an encoder; SpladeEncoder is the one this package ships."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from ..vectors import SparseVector

Addition = Literal["thesaurus", "concepts", "network"]


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

    @property
    def load_arguments(self) -> Mapping[str, Any]:
        """What SpladeEncoder.load takes to get this encoder again: JSON values, with "model" among them."""
        ...

    def token(self, term_id: int) -> str:
        """How the term reads."""
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


@runtime_checkable
class CountsTokens(Protocol):
    """What an encoder has beside, that splits long texts by the tokens of its model."""

    @property
    def document_room(self) -> int:
        """Tokens of a document that the model takes at once, beside special ones and a prompt."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many of these tokens each of these documents has."""
        ...


@runtime_checkable
class ShowsPieces(Protocol):
    """What an encoder has beside, whose scores are explained by the words of a text."""

    def pieces(self, text: str) -> Sequence[tuple[int, int, int]]:
        """(term id, start, end) of every token of a text, in characters of the text as it was given; one may have several terms."""
        ...


@runtime_checkable
class NamesAdditions(Protocol):
    """What an encoder has beside, whose queries are explained by what it adds to their words."""

    def added_by(self, term_id: int) -> Addition:
        """What gives this term to a query without a word that has it."""
        ...
