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
from splade_ptbr_connectors.stores.base import Entry, Hit, ParsedFilter, Refusal
from splade_ptbr_connectors.stores.calls import Call, Operation
from splade_ptbr_connectors.stores.connection import Connection
from splade_ptbr_connectors.stores.remote import Operations, RemoteStore
from splade_ptbr_connectors.stores.retries import Failure, RetryPolicy
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.stores import MemoryStore

RETRIED = ("reset", "timeout", "invalid JSON", "429", "502", "503", "504")
POLICY = RetryPolicy(first_wait_s=0.001, longest_wait_s=0.005, load_deadline_s=60.0, longest_retry_after_s=0.05)


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


def all_at_once(count: int) -> Plan:
    """The first `count` writes wait for each other."""
    meeting = threading.Barrier(count, timeout=60)

    def plan(number: int, entries: Sequence[Entry]) -> None:
        if number <= count:
            meeting.wait()

    return plan


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


class FaultyOperations(Operations):
    """What a MemoryStore can do, as operations."""

    engine: ClassVar[str] = "faulty"

    def __init__(self, url: str) -> None:
        super().__init__(url, "")
        self.loading_threads: set[int] = set()

    def upsert(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        self.loading_threads.add(threading.get_ident())
        return (yield Call(lambda server: server.write(entries=entries), patient=True))

    def search(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool) -> Operation[list[Hit]]:
        return (yield Call(lambda server: server._search(query=query, top_k=top_k, filter=filter, with_payload=with_payload)))

    def get(self, doc_ids: Sequence[str]) -> Operation[dict[str, Entry]]:
        return (yield Call(lambda server: server._get(doc_ids=doc_ids)))

    def content_hashes(self, doc_ids: Sequence[str]) -> Operation[dict[str, str]]:
        return (yield Call(lambda server: server._content_hashes(doc_ids=doc_ids)))

    def count(self, filter: ParsedFilter) -> Operation[int]:
        return (yield Call(lambda server: server._count(filter=filter)))

    def has_any(self, asked: Condition) -> Operation[bool | None]:
        return (yield Call(lambda server: server._has_any(asked=asked), retry=False))

    def sample(self, size: int) -> Operation[list[Entry]]:
        return (yield from self.scan_page(None, size, True))[0]

    def scan_page(self, cursor: Any, size: int, with_vectors: bool) -> Operation[tuple[list[Entry], Any]]:
        return (yield Call(lambda server: server._scan_page(cursor=cursor, size=size, with_vectors=with_vectors)))

    def delete(self, doc_ids: Sequence[str]) -> Operation[int]:
        return (yield Call(lambda server: server._delete(doc_ids=doc_ids)))

    def delete_where(self, filter: ParsedFilter) -> Operation[int]:
        return (yield Call(lambda server: server._delete_where(filter=filter)))

    def _none(self, *_: Any) -> Any:
        raise NotImplementedError

    look = create = settle = stored_settings = describe = point_alias = info = _none


class FaultyStore(RemoteStore[FaultyOperations]):
    """A store on a FaultyServer, with the retries of every server's store."""

    engine: ClassVar[str] = "faulty"

    def __init__(
        self,
        encoder: Encoder,
        server: FaultyServer | None = None,
        *,
        max_in_flight: int = 4,
        max_batch_documents: int = 32,
        policy: RetryPolicy = POLICY,
        url: str = "faulty:",
    ) -> None:
        self.server = server or FaultyServer(encoder)
        self.async_server = AsyncServer(self.server)
        connection = Connection(url, self.server, read_failure, policy, new_async_client=lambda: self.async_server)
        super().__init__(encoder, connection, FaultyOperations(url), max_batch_documents=max_batch_documents, max_in_flight=max_in_flight)
        self.flushes = 0

    @property
    def loading_threads(self) -> set[int]:
        return self._operations.loading_threads

    def flush(self) -> None:
        self.flushes += 1


def read_failure(error: Exception, url: str) -> Failure:
    if not isinstance(error, ServerError):
        raise error
    kinds = {"413": StoreRequestTooLargeError, "404": StoreNotFoundError}
    kind = StoreUnavailableError if error.fault.kind in RETRIED else kinds.get(error.fault.kind, StoreError)
    return Failure(kind(f"the server answered {error.fault.kind}."), error.fault.kind in RETRIED, error.fault.retry_after_s)
