"""The writer: loads batches into the store, several at once, and keeps the books in the order of the input."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from ..errors import IngestError
from ..stores.base import CheckedEntry, Entry, Refusal, Store
from .checkpoint import Checkpoint, Progress
from .dead_letter import DeadLetter
from .items import Item
from .lanes import Lanes, LoadSkipped
from .report import Counts
from .sample import Sample

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
            self.nbytes += item.vector.nbytes

    def is_full(self, max_documents: int, max_bytes: int) -> bool:
        """Whether it is time to send it."""
        large = self.documents >= max_documents or self.nbytes >= max_bytes or len(self.items) >= 32 * max_documents
        return large or time.monotonic() - self.started >= MAX_BATCH_AGE_S


class Writer:
    """Loads up to store.max_in_flight batches at once.

    A thread books them one after the other, in the order they were put, so that what is acknowledged has no hole however
    the loads end. Memory is bounded: 2 * max_in_flight + 1 batches may be put and not booked.

    An error is that of the first batch in the input that failed. It is raised by the next put() or by finish(), after the
    loads in flight have ended.
    """

    def __init__(
        self, store: Store, lanes: Lanes, dead_letter: DeadLetter, checkpoint: Checkpoint, start: Progress, sample: Sample
    ) -> None:
        self.counts: Counts = start.counts
        self.sample = sample
        self._store, self._lanes = store, lanes
        self._dead_letter, self._checkpoint = dead_letter, checkpoint
        self._position, self._prefix, self._last_written = start.position, start.prefix, start.last_written
        self._room = threading.Semaphore(2 * store.max_in_flight + 1)
        self._unbooked: queue.SimpleQueue[tuple[int, Batch, Future[list[Refusal]]] | None] = queue.SimpleQueue()
        self._put = 0
        self._error: BaseException | None = None
        self._saved = True
        self._thread = threading.Thread(target=self._work, name="splade-ingest-writer", daemon=True)
        self._thread.start()

    def put(self, batch: Batch) -> None:
        """Hand over a batch; waits while too many are not booked."""
        while self._error is None and not self._room.acquire(timeout=_POLL_S):
            continue
        if self._error is not None:
            self.finish()
        entries = [_entry(item) for item in batch.items if item.vector is not None]
        self._unbooked.put((self._put, batch, self._lanes.submit(self._put, entries)))
        self._put += 1

    def finish(self) -> None:
        """Wait until everything put is in the store."""
        self._end()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """After an error or Ctrl-C: let what was put be written and note it in the checkpoint. Raises nothing of its own."""
        self._end()
        try:
            self._save()
        except Exception:  # the error that stopped the run is the one to report; the last checkpoint still holds
            return

    def _end(self) -> None:
        self._unbooked.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (taken := self._unbooked.get()) is not None:
            number, batch, load = taken
            try:
                refusals = load.result()
                if self._error is None:
                    self._book(batch, refusals)
            except BaseException as error:
                self._fail(number, error)
            finally:
                self._room.release()

    def _fail(self, number: int, error: BaseException) -> None:
        self._lanes.fail(number)
        if self._error is None:
            self._error = IngestError("a load was left out: run it again.") if isinstance(error, LoadSkipped) else error

    def _book(self, batch: Batch, refusals: list[Refusal]) -> None:
        _mark_refused(batch, refusals)
        self._dead_letter.append(item.dead for item in batch.items if item.reason)
        for position, item in enumerate(batch.items, batch.position - len(batch.items) + 1):
            if item.reason:
                self.counts.reject(item.reason)
            elif item.vector is None:
                self.counts.unchanged += 1
            else:
                self.counts.written += 1
                self._last_written = position
            self.sample.booked(item)
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
        progress = Progress(self._position, self._prefix, self.counts, self._dead_letter.length, self._last_written)
        self._checkpoint.save(progress, started)
        self._saved = True


def _mark_refused(batch: Batch, refusals: list[Refusal]) -> None:
    reasons = dict(refusals)
    for item in batch.items:
        if reasons and item.record is not None and item.record.doc_id in reasons:
            reason = reasons.pop(item.record.doc_id)
            item.reject(f"refused by the store: {reason}", item.record.to_mapping())
    if reasons:
        raise IngestError(f"the store refused a document that it was not given: {next(iter(reasons))!r}.")


def _entry(item: Item) -> Entry:
    if item.record is None or item.vector is None:
        raise RuntimeError("an item without record and vector cannot be written")
    return CheckedEntry(item.record.doc_id, item.vector, item.record.payload, item.mark, item.record.dense)
