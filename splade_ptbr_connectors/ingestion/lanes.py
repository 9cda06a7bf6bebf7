"""Lanes: the loads of an ingest that run at once, each in a thread or as a task of an event loop."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from ..stores.base import Entry, Refusal, Store
from ..stores.calls import drive, drive_async
from ..stores.oversize import load_in_halves


class LoadSkipped(Exception):
    """A load was not begun, because one before it in the input had failed."""


class Lanes(ABC):
    """Runs at most `store.max_in_flight` loads at once, begun in the order in which they were submitted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._failed: float = math.inf

    def submit(self, number: int, entries: list[Entry]) -> Future[list[Refusal]]:
        """Load a batch; `number` is its place in the input. After a failure nothing behind it is begun any more."""
        if not entries:
            done: Future[list[Refusal]] = Future()
            done.set_result([])
            return done
        return self._start(number, entries)

    def fail(self, number: int) -> None:
        """Begin no load behind this one."""
        self._failed = min(self._failed, number)

    def close(self) -> None:  # noqa: B027 (optional)
        """Release what runs the loads."""

    def _check(self, number: int) -> None:
        if number > self._failed:
            raise LoadSkipped

    @abstractmethod
    def _start(self, number: int, entries: list[Entry]) -> Future[list[Refusal]]: ...


class ThreadLanes(Lanes):
    """A thread for each load in flight."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._threads = ThreadPoolExecutor(store.max_in_flight, "splade-ingest-load")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, number: int, entries: list[Entry]) -> Future[list[Refusal]]:
        return self._threads.submit(self._load, number, entries)

    def _load(self, number: int, entries: list[Entry]) -> list[Refusal]:
        self._check(number)
        try:
            return drive(load_in_halves(entries, _whole), self._store.load)
        except BaseException:
            self.fail(number)
            raise


class LoopLanes(Lanes):
    """Tasks of an event loop, which another thread submits."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(store)
        self._loop = loop
        self._free = asyncio.Semaphore(store.max_in_flight)

    def _start(self, number: int, entries: list[Entry]) -> Future[list[Refusal]]:
        return asyncio.run_coroutine_threadsafe(self._load(number, entries), self._loop)

    async def _load(self, number: int, entries: list[Entry]) -> list[Refusal]:
        async with self._free:
            self._check(number)
            try:
                return await drive_async(load_in_halves(entries, _whole), self._store.aload)
            except BaseException:
                self.fail(number)
                raise


def _whole(entries: Sequence[Entry]) -> Generator[Sequence[Entry], list[Refusal], list[Refusal]]:
    return (yield entries)
