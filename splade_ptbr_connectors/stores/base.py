"""Store: what every engine offers, and the checks that are the same for all of them.

A store adapter implements the methods named with an underscore; the public ones validate first, so that no engine
ever sees a bad vector, id, filter or top_k.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeVar

from ..errors import ConfigError, StoreClosedError, VectorError
from ..filters import Condition, parse_filter
from ..records import check_doc_id
from ..vectors import SparseVector
from .payloads import check_payload

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder

T = TypeVar("T")
Filter = Mapping[str, Any] | tuple[Condition, ...] | Any  # a mapping of filters.py, its parsed form, or the engine's own
MAX_TOP_K = 10_000  # OpenSearch's result window; the same everywhere


class Hit(NamedTuple):
    """One search result. `score` is the plain dot product as the engine computed it, never rescaled."""

    doc_id: str
    score: float
    payload: Mapping[str, Any]


class Entry(NamedTuple):
    """One document as a store keeps it. `content_hash` is None when it was written without one."""

    doc_id: str
    vector: SparseVector
    payload: Mapping[str, Any] = {}
    content_hash: str | None = None


class Store(ABC):
    """A collection of sparse vectors in one engine, bound to the encoder that made them.

    Attributes:
        encoder: turns texts into vectors; its fingerprint is the one the store was filled with.
        url: what open_store() was given, without secrets.
        batch_size: entries sent to the engine at once.
    """

    engine: ClassVar[str]

    def __init__(self, url: str, encoder: Encoder, *, batch_size: int = 256) -> None:
        self.url = url
        self.encoder = encoder
        self.batch_size = batch_size
        self._closed = False

    @property
    def identity(self) -> str:
        """Names this very collection, for checkpoints: a store deleted and made anew under the same URL is another one."""
        return self.url

    # -- reading ---------------------------------------------------------------------------------------------------

    def search(self, query: str | SparseVector, top_k: int = 10, *, filter: Filter | None = None) -> list[Hit]:
        """The `top_k` documents with the largest dot product, best first; ties by document id.

        Documents that share no term with the query are no hits, so fewer than top_k may come back.

        Args:
            query: a text (encoded as a query) or a ready vector.
            top_k: 1..10,000.
            filter: see `splade_ptbr_connectors.filters`, or the engine's own filter object.
        """
        self._check_open()
        check_top_k("top_k", top_k)
        vector = query if isinstance(query, SparseVector) else self.encoder.encode_query(query)
        vector.check_vocabulary(self.encoder.vocab_size)
        if not len(vector):
            return []
        conditions = parse_filter(filter) if isinstance(filter, Mapping) else filter
        return self._search(vector, top_k, conditions)

    def get(self, doc_ids: Sequence[str]) -> dict[str, Entry]:
        """The stored entries of these documents; ids that are not stored are left out."""
        self._check_open()
        return self._get([check_doc_id(doc_id) for doc_id in doc_ids]) if doc_ids else {}

    def content_hashes(self, doc_ids: Sequence[str]) -> dict[str, str]:
        """The content hashes of those of these documents that are stored with one."""
        self._check_open()
        return self._content_hashes(list(doc_ids)) if doc_ids else {}

    def count(self) -> int:
        """Number of stored documents, exact."""
        self._check_open()
        return self._count()

    # -- writing ---------------------------------------------------------------------------------------------------

    def upsert_vectors(self, entries: Iterable[tuple[Any, ...]]) -> int:
        """Insert or replace documents; durable when it returns. Returns how many were written.

        Args:
            entries: (doc_id, SparseVector) pairs, (doc_id, SparseVector, payload) triples, or Entry objects; any
                iterable. Each batch is validated whole before any of it is sent.

        Raises:
            VectorError, RecordError, TextError: for the first bad entry; the batches before it are stored, its own is not.
        """
        self._check_open()
        written = 0
        for batch in _batches(map(self._check_entry, entries), self.batch_size):
            self._upsert(batch)
            written += len(batch)
        return written

    def delete(self, doc_ids: Iterable[str]) -> int:
        """Delete documents by id; ids that are not stored are no error. Returns how many were deleted."""
        self._check_open()
        return sum(self._delete(batch) for batch in _batches(map(check_doc_id, doc_ids), self.batch_size))

    def flush(self) -> None:  # noqa: B027 (optional)
        """Put what was acknowledged on the medium, so that it survives a power cut too. A checkpoint is written after it."""

    def finish_loading(self) -> None:  # noqa: B027 (optional)
        """Called once after a bulk load: lets the engine build or merge its index. Optional, never changes results."""

    # -- life cycle ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the engine. Closing twice is no error; any other use afterwards is a StoreClosedError."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, model={self.encoder.name!r}{', closed' if self._closed else ''})"

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError(f"the store {self.url} is closed: open it again with open_store().")

    def _check_entry(self, entry: tuple[Any, ...]) -> Entry:
        if not isinstance(entry, (tuple, list)) or not 2 <= len(entry) <= 4:
            raise VectorError(f"expected (doc_id, SparseVector) or (doc_id, SparseVector, payload), got {entry!r:.80}.")
        checked = entry if isinstance(entry, Entry) else Entry(*entry)
        check_doc_id(checked.doc_id)
        if not isinstance(checked.vector, SparseVector):
            raise VectorError(f"the vector of {checked.doc_id!r} is {type(checked.vector).__name__}: it must be a SparseVector.")
        checked.vector.check_vocabulary(self.encoder.vocab_size)
        check_payload(checked.doc_id, checked.payload)
        return checked

    # -- what an engine implements -----------------------------------------------------------------------------------

    @abstractmethod
    def _search(self, query: SparseVector, top_k: int, filter: tuple[Condition, ...] | Any | None) -> list[Hit]: ...

    @abstractmethod
    def _get(self, doc_ids: list[str]) -> dict[str, Entry]: ...

    @abstractmethod
    def _content_hashes(self, doc_ids: list[str]) -> dict[str, str]: ...

    @abstractmethod
    def _count(self) -> int: ...

    @abstractmethod
    def _upsert(self, entries: list[Entry]) -> None: ...

    @abstractmethod
    def _delete(self, doc_ids: list[str]) -> int: ...

    @abstractmethod
    def _close(self) -> None: ...


def check_top_k(name: str, value: object) -> int:
    """Return `value` if a store can be asked for so many hits, else raise ConfigError; `name` is what the caller calls it."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TOP_K:
        raise ConfigError(f"{name} is {value!r}: it must be an integer from 1 to {MAX_TOP_K:,}.")
    return value


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
