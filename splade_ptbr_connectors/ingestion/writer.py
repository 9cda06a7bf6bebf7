"""The writer: uploads batches to the store, several at once, and records them in the order of the input."""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from ..errors import IngestError, InputError, StoreRequestTooLargeError
from ..stores.base import Entry, Refusal, Store
from ..stores.calls import drive, drive_async
from ..stores.oversize import load_in_halves
from .checkpoint import Checkpoint, ResumePoint
from .dead_letter import DeadLetter
from .items import REFUSED, Item
from .reconcile import Sample
from .report import IngestCounts

MAX_BATCH_AGE_S = 2.0  # a slow encoder fills a batch in minutes; what is done should be safe sooner
_POLL_S = 0.2


@dataclass
class Batch:
    """Consecutive items. `position` and `prefix` say where in the input the last of them stands."""

    items: list[Item] = field(default_factory=list)
    documents: int = 0
    nbytes: int = 0
    started: float = field(default_factory=time.monotonic)
    position: int = 0
    prefix: str = ""

    def add(self, item: Item) -> None:
        """Append an item."""
        self.items.append(item)
        self.nbytes += item.nbytes
        if item.vector is not None:
            self.documents += 1
            self.nbytes += item.vector_bytes

    def is_full(self, max_documents: int, max_bytes: int) -> bool:
        """Whether it is time to send it."""
        large = self.documents >= max_documents or self.nbytes >= max_bytes or len(self.items) >= 32 * max_documents
        return large or time.monotonic() - self.started >= MAX_BATCH_AGE_S


class Writer:
    """Uploads up to store.max_in_flight batches at once.

    A thread records them one after the other, in the order they were submitted, so that what is acknowledged has no hole however
    the uploads end. Memory is bounded: 2 * max_in_flight + 1 batches may be pending, submitted and not recorded.

    An error is that of the first batch in the input that failed. It is raised by the next submit() or by finish(), after the
    uploads in flight have ended.
    """

    def __init__(
        self, store: Store, pool: UploadPool, dead_letter: DeadLetter, checkpoint: Checkpoint, start: ResumePoint, sample: Sample
    ) -> None:
        self.counts: IngestCounts = start.counts
        self.sample = sample
        self.without_dense = 0  # documents that were written so
        self._store, self._pool = store, pool
        self._dead_letter, self._checkpoint = dead_letter, checkpoint
        self._position, self._prefix, self._last_written = start.position, start.prefix, start.last_written
        self._room = threading.Semaphore(2 * store.max_in_flight + 1)
        self._pending: queue.SimpleQueue[tuple[int, Batch, Future[list[Refusal]]] | None] = queue.SimpleQueue()
        self._submitted = 0
        self._error: BaseException | None = None
        self._saved = True
        self._thread = threading.Thread(target=self._work, name="splade-ingest-writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Hand over a batch; waits while too many are pending."""
        while self._error is None and not self._room.acquire(timeout=_POLL_S):
            continue
        if self._error is not None:
            self.finish()
        entries = [item.to_entry() for item in batch.items if item.vector is not None]
        self._pending.put((self._submitted, batch, self._pool.submit(self._submitted, entries)))
        self._submitted += 1

    def finish(self) -> None:
        """Wait until everything submitted is in the store."""
        self._end()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """After an error or Ctrl-C: let submitted batches be written, and record them in the checkpoint. Raises nothing itself."""
        self._end()
        try:
            self._save()
        except Exception:  # the error that stopped the run is the one to report; the last checkpoint still holds
            return

    def _end(self) -> None:
        self._pending.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (taken := self._pending.get()) is not None:
            number, batch, upload = taken
            try:
                refusals = upload.result()
                if self._error is None:
                    self._record(batch, refusals)
            except BaseException as error:
                self._fail(number, error)
            finally:
                self._room.release()

    def _fail(self, number: int, error: BaseException) -> None:
        self._pool.fail(number)
        if self._error is None:
            self._error = IngestError("an upload was skipped: run it again.") if isinstance(error, UploadSkipped) else error

    def _record(self, batch: Batch, refusals: list[Refusal]) -> None:
        _reject_refused(batch, refusals)
        self._dead_letter.append(item.dead_letter_line for item in batch.items if item.reason)
        for position, item in enumerate(batch.items, batch.position - len(batch.items) + 1):
            if item.reason:
                self.counts.reject(item.reason)
            elif item.vector is None:
                self.counts.unchanged += 1
            else:
                self.counts.written += 1
                self.without_dense += item.lacks_dense
                self._last_written = position
            self.sample.record(item)
        self._position, self._prefix = batch.position, batch.prefix
        self._saved = False
        if self._checkpoint.due:
            self._save()

    def _save(self) -> None:
        if self._checkpoint.path is None or self._saved:
            return
        started = time.monotonic()
        self._store.flush()
        self._dead_letter.sync()
        point = ResumePoint(self._position, self._prefix, self.counts, self._dead_letter.length, self._last_written)
        self._checkpoint.save(point, started)
        self._saved = True


def _reject_refused(batch: Batch, refusals: list[Refusal]) -> None:
    """Mark the items that the store refused as rejected."""
    reasons = dict(refusals)
    for item in batch.items:
        if reasons and item.record is not None and item.record.doc_id in reasons:
            item.reject(f"{REFUSED}: {reasons.pop(item.record.doc_id)}")
    if reasons:
        raise IngestError(f"the store refused a document that it was not given: {next(iter(reasons))!r}.")


# -- the uploads, each in a thread or as a task of an event loop -------------------------------------------------------


_REFUSED = (StoreRequestTooLargeError, InputError)  # of a whole batch, which may be one document's fault: a dense vector of another length


class UploadSkipped(Exception):
    """An upload was not started, because one before it in the input had failed."""


class UploadPool(ABC):
    """Runs at most `store.max_in_flight` uploads at once, started in the order in which they were submitted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._failed: float = math.inf

    def submit(self, number: int, entries: list[Entry]) -> Future[list[Refusal]]:
        """Upload a batch; `number` is its place in the input. After a failure no later batch is started."""
        if not entries:
            done: Future[list[Refusal]] = Future()
            done.set_result([])
            return done
        return self._start(number, entries)

    def fail(self, number: int) -> None:
        """Start no batch after this one."""
        self._failed = min(self._failed, number)

    def close(self) -> None:  # noqa: B027 (optional)
        """Release what runs the uploads."""

    def _check(self, number: int) -> None:
        if number > self._failed:
            raise UploadSkipped

    @abstractmethod
    def _start(self, number: int, entries: list[Entry]) -> Future[list[Refusal]]: ...


class ThreadUploadPool(UploadPool):
    """A thread for each upload in flight."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._threads = ThreadPoolExecutor(store.max_in_flight, "splade-ingest-upload")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, number: int, entries: list[Entry]) -> Future[list[Refusal]]:
        return self._threads.submit(self._upload, number, entries)

    def _upload(self, number: int, entries: list[Entry]) -> list[Refusal]:
        self._check(number)
        try:
            return drive(load_in_halves(entries, _whole, _REFUSED), self._store.load)
        except BaseException:
            self.fail(number)
            raise


class LoopUploadPool(UploadPool):
    """Tasks of an event loop, submitted from another thread."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(store)
        self._loop = loop
        self._free = asyncio.Semaphore(store.max_in_flight)

    def _start(self, number: int, entries: list[Entry]) -> Future[list[Refusal]]:
        return asyncio.run_coroutine_threadsafe(self._upload(number, entries), self._loop)

    async def _upload(self, number: int, entries: list[Entry]) -> list[Refusal]:
        async with self._free:
            self._check(number)
            try:
                return await drive_async(load_in_halves(entries, _whole, _REFUSED), self._store.aload)
            except BaseException:
                self.fail(number)
                raise


def _whole(entries: Sequence[Entry]) -> Generator[Sequence[Entry], list[Refusal], list[Refusal]]:
    """The operation of uploading one batch: the store's load() or aload() of it."""
    return (yield entries)
