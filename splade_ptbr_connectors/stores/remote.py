"""A store on a server: what its engine can do as operations (calls.py), run on a blocking or an asynchronous client (connection.py)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from ..errors import ModelMismatchError, StoreNotFoundError
from ..filters import Condition
from ..vectors import SparseVector
from .base import Entry, Hit, HybridSearch, ParsedFilter, Refusal, Store
from .calls import Operation
from .connection import Connection, ReadFailure
from .credentials import Credentials
from .engine_methods import no_dense_vectors
from .model_stamp import ModelStamp, StoreDescription, check_passages, passage_settings, resolve_encoder, warn_unknown_origin
from .passages import FetchPoints, Head, Spread, best_documents
from .settings import OpenOptions, ServerSettings

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder

T = TypeVar("T")
SAMPLE = 256  # stored vectors looked at by adopt()


class Operations(ABC):
    """What an engine can do on its server, each act written once, as a generator of the calls that it takes.

    Attributes:
        url: of the store, for messages.
        collection: its name; from open() on that of the collection itself, where it was opened by an alias.
        tenant: whose documents are meant, None: everybody's.
        description: what the collection says of its origin, None: nothing.
        passages: how a collection that is created has long texts split, None: not at all.
    """

    engine: ClassVar[str]

    def __init__(self, url: str, collection: str, tenant: str | None = None) -> None:
        self.url = url
        self.collection = collection
        self.tenant = tenant
        self.description: StoreDescription | None = None
        self.passages: Mapping[str, Any] | None = None

    @property
    def keeps_passages(self) -> bool:
        """Whether the collection may hold documents of several passages: it was created for them."""
        return self.description is not None and self.description.passages is not None

    # -- the collection ------------------------------------------------------------------------------------------------

    def open(self, options: OpenOptions) -> Operation[Encoder]:
        """Find the collection, or create it. Returns the encoder to use it with.

        Raises:
            StoreNotFoundError: it is not there, and is not to be created.
            StoreFormatError, ModelMismatchError, ConfigError: it is not what was asked for.
        """
        encoder, self.passages = options.encoder, passage_settings(options.passages)
        if not (yield from self._is_there()):
            if not options.create:
                raise StoreNotFoundError(f"there is no store at {self.url}: fill one with ingest, or check the address.")
            self.check_creation(options)
            encoder = resolve_encoder(encoder, None, self.url)
            yield from self.create(ModelStamp.of(encoder))
        self.settle()
        if self.description is None:
            warn_unknown_origin(encoder, self.url)
        model = self.description.model if self.description else None
        check_passages(options.passages, self.description.passages if self.description else None, self.url)
        return resolve_encoder(encoder, model, self.url, allow_mismatch=options.allow_mismatch)

    def check_creation(self, options: OpenOptions) -> None:  # noqa: B027 (most engines accept all)
        """Before anything is created, raise ConfigError for what a new collection with these settings cannot be."""

    def adopt(self, encoder: Encoder) -> Operation[None]:
        """Write into a collection that does not say so that this encoder filled it. Said already, nothing happens.

        Raises:
            ModelMismatchError: the collection names another model.
            VectorError: stored vectors hold terms that the model does not have.
        """
        model = ModelStamp.of(encoder)
        yield from self.look()
        if self.description is not None and self.description.model.fingerprint != model.fingerprint:
            raise ModelMismatchError(
                f"the store {self.url} was filled with the model {self.description.model}, not with {model}: it is not adopted."
            )
        for entry in (yield from self.sample(SAMPLE)):
            entry.vector.check_vocabulary(encoder.vocab_size)
        if self.description is None:
            yield from self.describe(StoreDescription(self.engine, model, self.stored_settings()))

    def _is_there(self) -> Operation[bool]:
        try:
            yield from self.look()
        except StoreNotFoundError:
            return False
        return True

    @abstractmethod
    def look(self) -> Operation[None]:
        """Read what the collection is and says of itself. Raises StoreNotFoundError."""

    @abstractmethod
    def create(self, model: ModelStamp) -> Operation[None]:
        """Create the collection, and look; another process may have been faster."""

    @abstractmethod
    def settle(self) -> None:
        """Take over the settings that the collection has fixed. Raises StoreFormatError for others that were asked for."""

    @abstractmethod
    def stored_settings(self) -> dict[str, Any]:
        """The settings that the collection keeps for good, for its description."""

    @abstractmethod
    def describe(self, description: StoreDescription) -> Operation[None]:
        """Write a description into the collection."""

    @abstractmethod
    def point_alias(self, alias: str) -> Operation[str | None]:
        """Let an alias mean the collection, in one step. Returns what it meant before. Raises ConfigError for a collection's name."""

    @abstractmethod
    def info(self) -> Operation[dict[str, Any]]:
        """What the server and the collection are."""

    # -- documents -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def search(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool) -> Operation[list[Hit]]:
        """The hits, best first."""

    def search_passages(
        self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool, group: bool, spread: Spread
    ) -> Operation[list[Hit]]:
        """The same where some documents have several passages."""
        points = self.points(query, filter)
        return (yield from best_documents(points, self.heads, top_k, spread, with_payload=with_payload, group=group))

    def points(self, query: SparseVector, filter: ParsedFilter) -> FetchPoints:
        """Fetches the first of all passages that the query finds. Of engines that keep passages, as heads() and sweep()."""
        raise NotImplementedError(f"{self.engine} keeps whole documents only")

    def heads(self, keys: list[Any], whole: bool) -> Operation[dict[Any, Head]]:
        """Documents by the keys of their heads, with their payloads or without."""
        raise NotImplementedError(f"{self.engine} keeps whole documents only")

    def search_hybrid(self, search: HybridSearch, spread: Spread) -> Operation[list[Hit]]:
        """The hits of both searches, fused."""
        raise no_dense_vectors(self.engine)

    @abstractmethod
    def get(self, doc_ids: Sequence[str]) -> Operation[dict[str, Entry]]:
        """The stored entries."""

    @abstractmethod
    def content_hashes(self, doc_ids: Sequence[str]) -> Operation[dict[str, str]]:
        """The content hashes of those that have one."""

    @abstractmethod
    def count(self, filter: ParsedFilter) -> Operation[int]:
        """How many documents pass the filter, exact."""

    @abstractmethod
    def has_any(self, asked: Condition) -> Operation[bool | None]:
        """Whether a document passes, in few and cheap calls; True as well where they cannot tell. None: there are no documents."""

    @abstractmethod
    def sample(self, size: int) -> Operation[list[Entry]]:
        """Some of the entries, whichever."""

    @abstractmethod
    def scan_page(self, cursor: Any, size: int, with_vectors: bool) -> Operation[tuple[list[Entry], Any]]:
        """Up to `size` entries behind the cursor (None: the start), and the cursor behind them (None: that was all)."""

    @abstractmethod
    def upsert(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        """Write the entries. Returns those that the server refused."""

    @abstractmethod
    def delete(self, doc_ids: Sequence[str]) -> Operation[int]:
        """Delete documents. Returns how many were there."""

    @abstractmethod
    def delete_where(self, filter: ParsedFilter) -> Operation[int]:
        """Delete what passes the filter. Returns how many did."""

    def sweep(self) -> Operation[int]:
        """Delete passages that count no more. Returns how many."""
        raise NotImplementedError(f"{self.engine} keeps whole documents only")


class ServerClients(Protocol):
    """What makes the clients of an engine."""

    @property
    def credentials(self) -> Credentials: ...

    @property
    def settings(self) -> ServerSettings: ...

    def client(self) -> Any:
        """The blocking one."""

    def async_client(self) -> Any:
        """One for the running event loop."""


O = TypeVar("O", bound=Operations)  # noqa: E741


class RemoteStore(Store, Generic[O]):
    """A collection on a server; any number of threads and event loops.

    A store that was opened by an alias stays with the collection that the alias meant then: another one may hold vectors of another model.
    """

    def __init__(
        self, encoder: Encoder, connection: Connection, operations: O, *, max_batch_documents: int = 256, max_in_flight: int = 1
    ) -> None:
        super().__init__(operations.url, encoder, max_batch_documents=max_batch_documents, tenant=operations.tenant)
        self.max_in_flight = max_in_flight
        self._connection = connection
        self._operations = operations
        self._description = operations.description

    @classmethod
    def _connect(cls, clients: ServerClients, read_failure: ReadFailure, operations: O, options: OpenOptions) -> Self:
        """Open or create the collection with clients of this package's own."""
        connection = Connection(
            operations.url,
            clients.client(),
            read_failure,
            clients.settings.policy(),
            new_async_client=clients.async_client,
            credentials=clients.credentials,
        )
        return cls._open(connection, operations, options, max_in_flight=clients.settings.max_in_flight)

    @classmethod
    def _open(cls, connection: Connection, operations: O, options: OpenOptions, *, max_in_flight: int) -> Self:
        """Open or create the collection; the connection is closed if that fails."""
        try:
            encoder = connection.run(operations.open(options))
            return cls(encoder, connection, operations, max_batch_documents=options.max_batch_documents, max_in_flight=max_in_flight)
        except BaseException:
            connection.close()
            raise

    # -- the collection ------------------------------------------------------------------------------------------------

    @property
    def collection(self) -> str:
        """The collection itself, where the store was opened by an alias."""
        return self._operations.collection

    @property
    def identity(self) -> str:
        return f"{self.engine}:{self._description.store_id if self._description else self.url}"

    def info(self) -> dict[str, Any]:
        """Engine, server and collection, and what they lack."""
        self._check_open()
        return {
            **super().info(),
            **self._run(self._operations.info()),
            "documents": self._count(()),
            "described": self._description is not None,
        }

    def adopt(self) -> None:
        """Write into a collection that does not say so that the store's encoder filled it. Said already, nothing happens.

        Raises:
            ModelMismatchError: the collection names another model.
            VectorError: stored vectors hold terms that the model does not have.
        """
        self._check_open()
        self._run(self._operations.adopt(self.encoder))
        self._description = self._operations.description

    def point_alias(self, alias: str) -> str | None:
        """Let an alias mean this collection from now on, in one step. Returns the collection that it meant before, if any.

        Raises:
            ConfigError: a collection has that name.
        """
        self._check_open()
        return self._run(self._operations.point_alias(alias))

    def sweep(self) -> int:
        self._check_open()
        return self._run(self._operations.sweep()) if self._operations.keeps_passages else 0

    async def aclose(self) -> None:
        """Close the asynchronous client of this event loop, then the store."""
        await self._connection.aclose()
        await asyncio.to_thread(self.close)

    def _close(self) -> None:
        self._connection.close()

    # -- documents: each operation on either client --------------------------------------------------------------------

    def _run(self, operation: Operation[T]) -> T:
        return self._connection.run(operation)

    def _search(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool) -> list[Hit]:
        return self._run(self._operations.search(query, top_k, filter, with_payload))

    async def _asearch(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool) -> list[Hit]:
        return await self._connection.run_async(self._operations.search(query, top_k, filter, with_payload))

    def _search_passages(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool, group: bool) -> list[Hit]:
        return self._run(self._operations.search_passages(query, top_k, filter, with_payload, group, self._spread))

    async def _asearch_passages(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool, group: bool) -> list[Hit]:
        return await self._connection.run_async(self._operations.search_passages(query, top_k, filter, with_payload, group, self._spread))

    def _search_hybrid(self, search: HybridSearch) -> list[Hit]:
        return self._run(self._operations.search_hybrid(search, self._spread))

    async def _asearch_hybrid(self, search: HybridSearch) -> list[Hit]:
        return await self._connection.run_async(self._operations.search_hybrid(search, self._spread))

    def _get(self, doc_ids: list[str]) -> dict[str, Entry]:
        return self._run(self._operations.get(doc_ids))

    async def _aget(self, doc_ids: list[str]) -> dict[str, Entry]:
        return await self._connection.run_async(self._operations.get(doc_ids))

    def _content_hashes(self, doc_ids: list[str]) -> dict[str, str]:
        return self._run(self._operations.content_hashes(doc_ids))

    def _count(self, filter: ParsedFilter) -> int:
        return self._run(self._operations.count(filter))

    def _has_any(self, asked: Condition) -> bool | None:
        return self._run(self._operations.has_any(asked))

    async def _ahas_any(self, asked: Condition) -> bool | None:
        return await self._connection.run_async(self._operations.has_any(asked))

    async def _acount(self, filter: ParsedFilter) -> int:
        return await self._connection.run_async(self._operations.count(filter))

    def _scan_page(self, cursor: Any, size: int, with_vectors: bool) -> tuple[list[Entry], Any]:
        return self._run(self._operations.scan_page(cursor, size, with_vectors))

    def _upsert(self, entries: list[Entry]) -> list[Refusal]:
        return self._connection.without_secrets(self._run(self._operations.upsert(entries)))

    async def _aupsert(self, entries: list[Entry]) -> list[Refusal]:
        refusals = await self._connection.run_async(self._operations.upsert(entries), in_threads=True)
        return self._connection.without_secrets(refusals)

    def _delete(self, doc_ids: list[str]) -> int:
        return self._run(self._operations.delete(doc_ids))

    async def _adelete(self, doc_ids: list[str]) -> int:
        return await self._connection.run_async(self._operations.delete(doc_ids))

    def _delete_where(self, filter: ParsedFilter) -> int:
        return self._run(self._operations.delete_where(filter))
