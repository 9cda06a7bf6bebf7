"""A store on a server: operations (calls.py) run on a blocking or an asynchronous client, with retries."""

from __future__ import annotations

import asyncio
import weakref
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import tenacity

from ..filters import Condition
from ..vectors import SparseVector
from .base import Entry, Hit, Refusal, Store
from .calls import Call, Operation, drive_async
from .performing import Performer
from .retrying import AttemptFailed, RetryPolicy

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder

T = TypeVar("T")


class RemoteStore(Performer, Store):
    """The part that all servers share. An engine gives operations, two clients, and reads what a client raised.

    An asynchronous client belongs to one event loop, so that each loop gets its own, closed by aclose() in that loop.
    """

    def __init__(
        self, url: str, encoder: Encoder, client: Any, *, batch_size: int, tenant: str | None, max_in_flight: int, policy: RetryPolicy
    ) -> None:
        super().__init__(url, encoder, batch_size=batch_size, tenant=tenant)
        self.max_in_flight = max_in_flight
        self._client = client
        self._policy = policy
        self._async_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()

    # -- running operations ------------------------------------------------------------------------------------------

    async def _run_async(self, operation: Operation[T]) -> T:
        return await drive_async(operation, self._perform_async)

    async def _perform_async(self, call: Call) -> Any:
        return await tenacity.AsyncRetrying(**self._policy.arguments(patient=call.patient, retry=call.retry))(self._attempt_async, call)

    async def _attempt_async(self, call: Call) -> Any:
        try:
            return await call.on(self._async_client())
        except Exception as error:
            raise AttemptFailed(self._read_failure(error, call)) from error

    def _async_client(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._async_clients:
            self._async_clients[loop] = self._new_async_client()
        return self._async_clients[loop]

    async def aclose(self) -> None:
        """Close the asynchronous client of this event loop, then the store."""
        client = self._async_clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()
        self.close()

    def _close(self) -> None:
        self._client.close()

    # -- the operations, blocking and not ------------------------------------------------------------------------------

    def _search(self, query: SparseVector, top_k: int, filter: tuple[Condition, ...] | Any | None, with_payload: bool) -> list[Hit]:
        return self._run(self._search_operation(query, top_k, filter, with_payload))

    async def _asearch(self, query: SparseVector, top_k: int, filter: tuple[Condition, ...] | Any | None, with_payload: bool) -> list[Hit]:
        return await self._run_async(self._search_operation(query, top_k, filter, with_payload))

    def _get(self, doc_ids: list[str]) -> dict[str, Entry]:
        return self._run(self._get_operation(doc_ids))

    async def _aget(self, doc_ids: list[str]) -> dict[str, Entry]:
        return await self._run_async(self._get_operation(doc_ids))

    def _content_hashes(self, doc_ids: list[str]) -> dict[str, str]:
        return self._run(self._content_hashes_operation(doc_ids))

    def _count(self, filter: tuple[Condition, ...] | Any | None) -> int:
        return self._run(self._count_operation(filter))

    def _scan_page(self, cursor: Any, size: int, with_vectors: bool) -> tuple[list[Entry], Any]:
        return self._run(self._scan_page_operation(cursor, size, with_vectors))

    def _upsert(self, entries: list[Entry]) -> list[Refusal]:
        return self._run(self._upsert_operation(entries))

    async def _aupsert(self, entries: list[Entry]) -> list[Refusal]:
        return await self._run_async(self._upsert_operation(entries))

    def _delete(self, doc_ids: list[str]) -> int:
        return self._run(self._delete_operation(doc_ids))

    def _delete_where(self, filter: tuple[Condition, ...] | Any) -> int:
        return self._run(self._delete_where_operation(filter))

    # -- what an engine implements -----------------------------------------------------------------------------------

    @abstractmethod
    def _new_async_client(self) -> Any: ...

    @abstractmethod
    def _search_operation(
        self, query: SparseVector, top_k: int, filter: tuple[Condition, ...] | Any | None, with_payload: bool
    ) -> Operation[list[Hit]]: ...

    @abstractmethod
    def _get_operation(self, doc_ids: Sequence[str]) -> Operation[dict[str, Entry]]: ...

    @abstractmethod
    def _content_hashes_operation(self, doc_ids: Sequence[str]) -> Operation[dict[str, str]]: ...

    @abstractmethod
    def _count_operation(self, filter: tuple[Condition, ...] | Any | None) -> Operation[int]: ...

    @abstractmethod
    def _scan_page_operation(self, cursor: Any, size: int, with_vectors: bool) -> Operation[tuple[list[Entry], Any]]: ...

    @abstractmethod
    def _upsert_operation(self, entries: list[Entry]) -> Operation[list[Refusal]]: ...

    @abstractmethod
    def _delete_operation(self, doc_ids: Sequence[str]) -> Operation[int]: ...

    @abstractmethod
    def _delete_where_operation(self, filter: tuple[Condition, ...] | Any) -> Operation[int]: ...
