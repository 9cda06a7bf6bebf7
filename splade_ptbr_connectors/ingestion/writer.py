"""The writer: a thread that loads batches into the store while the next ones are encoded, and keeps the books."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field

from ..stores.base import Entry, Store
from .checkpoint import Checkpoint, Progress
from .dead_letter import DeadLetter
from .items import Item
from .report import Counts

MAX_BATCH_AGE_S = 2.0  # a slow encoder fills a batch in minutes; what is done should be safe sooner
MAX_QUEUED = 2
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
    """Loads batches in the order they are put, so that what is acknowledged has no hole.

    An error ends the thread and is raised by the next put() or by finish().
    """

    def __init__(self, store: Store, dead_letter: DeadLetter, checkpoint: Checkpoint, start: Progress) -> None:
        self.counts: Counts = start.counts
        self._store = store
        self._dead_letter = dead_letter
        self._checkpoint = checkpoint
        self._position, self._prefix = start.position, start.prefix
        self._queue: queue.Queue[Batch | None] = queue.Queue(MAX_QUEUED)
        self._error: BaseException | None = None
        self._saved = True
        self._thread = threading.Thread(target=self._work, name="splade-ingest-writer", daemon=True)
        self._thread.start()

    def put(self, batch: Batch) -> None:
        """Hand over a batch; waits while MAX_QUEUED are ahead of it."""
        self._put(batch)
        self._raise()

    def finish(self) -> None:
        """Wait until everything put is in the store."""
        self._put(None)
        self._thread.join()
        self._raise()

    def abandon(self) -> None:
        """After an error or Ctrl-C: let what was put be written and note it in the checkpoint. Raises nothing of its own."""
        self._put(None)
        self._thread.join()
        try:
            self._save()
        except Exception:  # the error that stopped the run is the one to report; the last checkpoint still holds
            return

    def _put(self, batch: Batch | None) -> None:
        while self._thread.is_alive():
            try:
                self._queue.put(batch, timeout=_POLL_S)
                return
            except queue.Full:
                continue

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while (batch := self._queue.get()) is not None:
                self._write(batch)
        except BaseException as error:
            self._error = error

    def _write(self, batch: Batch) -> None:
        ready = [item for item in batch.items if item.vector is not None]
        self._store.upsert_vectors([_entry(item) for item in ready])
        self._dead_letter.append(item.dead for item in batch.items if item.reason)
        self.counts.written += len(ready)
        for item in batch.items:
            if item.reason:
                self.counts.reject(item.reason)
            elif item.vector is None:
                self.counts.unchanged += 1
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
        self._checkpoint.save(Progress(self._position, self._prefix, self.counts, self._dead_letter.length), started)
        self._saved = True


def _entry(item: Item) -> Entry:
    if item.record is None or item.vector is None:
        raise RuntimeError("an item without record and vector cannot be written")
    return Entry(item.record.doc_id, item.vector, item.record.payload, item.mark)
