"""A server that fails on cue, kept in memory, and the store that talks to it through the retries every server's store has."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from splade_ptbr_connectors.encoding.protocol import Encoder
from splade_ptbr_connectors.errors import StoreError, StoreNotFoundError, StoreRequestTooLargeError, StoreUnavailableError
from splade_ptbr_connectors.filters import Condition
from splade_ptbr_connectors.stores.base import Entry, Hit, Refusal
from splade_ptbr_connectors.stores.calls import Call, Operation
from splade_ptbr_connectors.stores.remote import RemoteStore
from splade_ptbr_connectors.stores.retrying import Failure, RetryPolicy
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.stores import MemoryStore

RETRIED = ("reset", "timeout", "invalid JSON", "429", "502", "503", "504")
POLICY = RetryPolicy(first_wait_s=0.001, longest_wait_s=0.005, patient_deadline_s=5.0, longest_retry_after_s=0.05)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one write.

    Attributes:
        kind: an HTTP status, "reset", "timeout", "invalid JSON" or "killed".
        applied: how many of its documents are written all the same.
    """

    kind: str
    applied: int = 0
    retry_after_s: float | None = None


class ServerError(Exception):
    """What the client of the server raises."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault.kind)


Plan = Callable[[int, Sequence[Entry]], Fault | None]


class FaultyServer(MemoryStore):
    """Documents in memory.

    Args:
        plan: called with the number of a write (from 1) and its documents; says what goes wrong with it.
        slowest_s: writes take a random time up to this, so that they end in random order.
        refuse: which documents the server refuses, and why.

    Attributes:
        writes: sizes of the writes asked for, failed ones included.
        most_at_once: largest number of writes that ran at the same time.
        after_write: called under the server's lock when a write has been applied.
    """

    def __init__(
        self,
        encoder: Encoder,
        plan: Plan | None = None,
        *,
        slowest_s: float = 0.0,
        seed: int = 0,
        refuse: Callable[[Entry], str | None] = lambda entry: None,
    ) -> None:
        super().__init__(encoder)
        self.plan, self.refuse = plan, refuse
        self.writes: list[int] = []
        self.after_write: Callable[[], None] = lambda: None
        self._slowest_s = slowest_s
        self._random = random.Random(seed)

    def write(self, entries: Sequence[Entry]) -> list[Refusal]:
        with self._lock:
            self.writes.append(len(entries))
            number, wait = len(self.writes), self._random.random() * self._slowest_s
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        try:
            time.sleep(wait)
            fault = self.plan(number, entries) if self.plan else None
            return self._apply(entries, fault)
        finally:
            with self._lock:
                self._running -= 1

    def _apply(self, entries: Sequence[Entry], fault: Fault | None) -> list[Refusal]:
        refused = [Refusal(entry.doc_id, reason) for entry in entries if (reason := self.refuse(entry))]
        accepted = [entry for entry in entries if not self.refuse(entry)]
        with self._lock:
            self.entries.update({entry.doc_id: entry for entry in (accepted if fault is None else accepted[: fault.applied])})
            self.after_write()
        if fault is not None:
            raise ServerError(fault)
        return refused


class AsyncServer:
    """The server's asynchronous client."""

    def __init__(self, server: FaultyServer) -> None:
        self.server = server
        self.loops: set[asyncio.AbstractEventLoop] = set()

    def __getattr__(self, name: str) -> Any:
        async def call(**arguments: Any) -> Any:
            self.loops.add(asyncio.get_running_loop())
            return await asyncio.to_thread(getattr(self.server, name), **arguments)

        return call

    async def close(self) -> None:
        pass


class FaultyStore(RemoteStore):
    """A store on a FaultyServer, with the retries of every server's store."""

    engine: ClassVar[str] = "faulty"

    def __init__(
        self,
        encoder: Encoder,
        server: FaultyServer | None = None,
        *,
        max_in_flight: int = 4,
        batch_size: int = 32,
        policy: RetryPolicy = POLICY,
        url: str = "faulty:",
    ) -> None:
        self.server = server or FaultyServer(encoder)
        super().__init__(url, encoder, self.server, batch_size=batch_size, tenant=None, max_in_flight=max_in_flight, policy=policy)
        self.async_server = AsyncServer(self.server)
        self.flushes = 0
        self.loading_threads: set[int] = set()

    def flush(self) -> None:
        self.flushes += 1

    def _new_async_client(self) -> Any:
        return self.async_server

    def _read_failure(self, error: Exception, call: Call) -> Failure:
        if not isinstance(error, ServerError):
            raise error
        kinds = {"413": StoreRequestTooLargeError, "404": StoreNotFoundError}
        kind = StoreUnavailableError if error.fault.kind in RETRIED else kinds.get(error.fault.kind, StoreError)
        return Failure(kind(f"the server answered {error.fault.kind}."), error.fault.kind in RETRIED, error.fault.retry_after_s)

    def _upsert_operation(self, entries: list[Entry]) -> Operation[list[Refusal]]:
        self.loading_threads.add(threading.get_ident())
        refusals: list[Refusal] = yield Call("write", {"entries": entries}, patient=True)
        return refusals

    def _search_operation(
        self, query: SparseVector, top_k: int, filter: tuple[Condition, ...] | Any | None, with_payload: bool
    ) -> Operation[list[Hit]]:
        return _one(Call("_search", {"query": query, "top_k": top_k, "filter": filter, "with_payload": with_payload}))

    def _get_operation(self, doc_ids: Sequence[str]) -> Operation[dict[str, Entry]]:
        return _one(Call("_get", {"doc_ids": doc_ids}))

    def _content_hashes_operation(self, doc_ids: Sequence[str]) -> Operation[dict[str, str]]:
        return _one(Call("_content_hashes", {"doc_ids": doc_ids}))

    def _count_operation(self, filter: tuple[Condition, ...] | Any | None) -> Operation[int]:
        return _one(Call("_count", {"filter": filter}))

    def _scan_page_operation(self, cursor: Any, size: int, with_vectors: bool) -> Operation[tuple[list[Entry], Any]]:
        return _one(Call("_scan_page", {"cursor": cursor, "size": size, "with_vectors": with_vectors}))

    def _delete_operation(self, doc_ids: Sequence[str]) -> Operation[int]:
        return _one(Call("_delete", {"doc_ids": doc_ids}))

    def _delete_where_operation(self, filter: tuple[Condition, ...] | Any) -> Operation[int]:
        return _one(Call("_delete_where", {"filter": filter}))


def _one(call: Call) -> Operation[Any]:
    return (yield call)
