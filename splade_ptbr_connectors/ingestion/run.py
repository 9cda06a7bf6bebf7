"""One run of an ingest: read -> check -> skip what is unchanged -> encode -> load -> check again, the same for every engine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, IngestError
from ..sources import Source
from ..stores.base import Store
from .checkpoint import Checkpoint, Progress, Run
from .dead_letter import DeadLetter
from .encoding import with_vectors
from .items import Item, without_unchanged
from .lanes import Lanes
from .progress import Display, Hook, IngestProgress
from .ready import ReadyVectors
from .reconcile import reconcile
from .report import IngestReport
from .sample import Sample
from .stream import ItemStream, as_source
from .writer import Batch, Writer


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of ingest() and aingest(), which say what they mean."""

    checkpoint: str | Path | None
    dead_letter: str | Path | None
    restart: bool
    batch_size: int
    max_batch_bytes: int
    vectors: bool | None
    reconcile: int
    progress: Hook | bool | None

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("max_batch_bytes", 1), ("reconcile", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is {value!r}: it must be an integer of at least {least}.")
        if self.vectors not in (None, True, False):
            raise ConfigError(f"vectors is {self.vectors!r}: it must be True, False or None.")

    def ready(self, store: Store) -> ReadyVectors | None:
        """Which records may bring their own vector."""
        if self.vectors is False:
            return None
        return ReadyVectors(store.encoder.vocab_size, store.encoder.fingerprint, required=bool(self.vectors))


def run_ingest(
    records: Iterable[Any] | str | Path, store: Store, settings: Settings, lanes: Lanes, interrupted: threading.Event
) -> IngestReport:
    """Run an ingest to its end; `interrupted` ends it early, as Ctrl-C does. See engine.ingest() for the rest."""
    started = time.monotonic()
    source = as_source(records)
    files = _distinct_files(source, settings.checkpoint, settings.dead_letter)
    run = Run(store.encoder.name, store.encoder.fingerprint, store.url, store.identity, store.tenant)
    saved = Checkpoint(files["checkpoint"], run, source.identity if isinstance(source, Source) else {"path": type(source).__name__})
    start = saved.load(restart=settings.restart)
    display = Display(settings.progress, len(source) if isinstance(source, Sized) else None)
    with closing(display), closing(DeadLetter(files["dead_letter"], keep_bytes=start.dead_letter_bytes)) as rejected:
        stream = ItemStream(source, start, saved, settings.ready(store), interrupted)
        saved.save(start, time.monotonic())  # whether it can be written is better known now than in a second
        before = _documents_before(store, saved, start, stream.last_written)
        with _writing(store, lanes, rejected, saved, start, settings) as writer:
            with store.loading():
                _pump(stream, writer, store, settings, before, lambda: display.show(_now(writer, started)))
                stream.raise_stored()
            store.finish_loading()
            checked = reconcile(store, writer.sample, before, stream.seen, stream.first_line) if settings.reconcile else None
        saved.remove()
    path = str(rejected.path) if rejected.path and rejected.length else None
    return writer.counts.report(time.monotonic() - started, path, start.position, checked)


def _documents_before(store: Store, saved: Checkpoint, start: Progress, last: Item | None) -> int:
    """Documents in the store at the beginning; none of those that an earlier run left there, the `last` of all, may be missing."""
    before = store.count()
    if before < start.acknowledged:
        store.finish_loading()  # a server may not count what a killed run has stored, until it is told to
        before = store.count()
    last_id = last.record.doc_id if last and last.record else None
    lost = last is not None and last_id is not None and store.content_hashes([last_id]).get(last_id) != last.mark
    saved.check_kept(start, before, last_id if lost else None)
    return before


@contextmanager
def _writing(store: Store, lanes: Lanes, rejected: DeadLetter, saved: Checkpoint, start: Progress, settings: Settings) -> Iterator[Writer]:
    """A writer; whatever ends the run, what was put is written and noted."""
    writer = Writer(store, lanes, rejected, saved, start, Sample(settings.reconcile))
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise


def _pump(stream: ItemStream, writer: Writer, store: Store, settings: Settings, before: int, show: Any) -> None:
    """Items through the encoder into the writer, until the input ends."""
    items = without_unchanged(stream, store, settings.batch_size) if before else stream
    batch = Batch()
    for item in with_vectors(items, store.encoder.encode_documents):
        batch.add(item)
        stream.passed(item)
        if batch.is_full(settings.batch_size, settings.max_batch_bytes):
            _put(batch, stream, writer)
            show()
            batch = Batch()
    _put(batch, stream, writer)
    writer.finish()
    show()


def _put(batch: Batch, stream: ItemStream, writer: Writer) -> None:
    batch.position, batch.prefix = stream.place()
    writer.put(batch)


def _now(writer: Writer, started: float) -> IngestProgress:
    counts = writer.counts
    return IngestProgress(counts.read, counts.written, counts.unchanged, counts.rejected, time.monotonic() - started)


def _distinct_files(source: Iterable[Any], checkpoint: str | Path | None, dead_letter: str | Path | None) -> dict[str, Path | None]:
    files = {
        "checkpoint": Path(checkpoint).expanduser() if checkpoint else None,
        "dead_letter": Path(dead_letter).expanduser() if dead_letter else None,
    }
    taken = {os.path.realpath(source.path): "the input"} if isinstance(source, Source) and source.path else {}
    for name, path in files.items():
        if path is None:
            continue
        real = os.path.realpath(path)
        if real in taken:
            raise IngestError(f"{name} is {path}, which is {taken[real]}: give it a file of its own.")
        taken[real] = f"the {name}"
    return files
