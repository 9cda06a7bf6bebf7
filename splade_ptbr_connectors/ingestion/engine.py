"""ingest() and aingest(): records into a store, with bounded memory and an account of every record.

read -> check -> skip what is unchanged -> encode -> upload -> check again, the same for every engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pydantic import SkipValidation

from ..errors import IngestError
from ..sources import Source, as_source
from ..stores.base import Store, check_is_store
from ..validation import Arguments, Natural, Positive, renamed
from .checkpoint import Checkpoint, ResumePoint, RunIdentity
from .dead_letter import DeadLetter
from .item_encoder import encode_items
from .items import Item, ReadyVectors, drop_unchanged
from .reconcile import Sample
from .reconcile import reconcile as check_store
from .report import Display, Hook, IngestProgress, IngestReport, Reconciled, warn_without_dense
from .stream import ItemStream
from .writer import Batch, LoopUploadPool, ThreadUploadPool, UploadPool, Writer

__all__ = ["IngestReport", "Reconciled", "aingest", "ingest"]

MAX_BATCH_BYTES = 8 * 2**20


def ingest(
    records: Iterable[Any] | str | Path,
    store: Store,
    *,
    checkpoint: str | Path | None = None,
    dead_letter: str | Path | None = None,
    restart: bool = False,
    max_batch_documents: int | None = None,
    max_batch_bytes: int = MAX_BATCH_BYTES,
    vectors: bool | None = None,
    reconcile: int = 64,
    progress: Hook | bool | None = None,
    batch_size: int | None = None,
) -> IngestReport:
    """Encode records and upload them to a store. Running it again changes nothing and encodes nothing.

    Long texts become passages, as the store splits them (open_store(passages=...)), each encoded with the title in front.

    Up to `store.max_in_flight` batches are uploaded at once, while the next ones are encoded. A batch counts as acknowledged when
    it and every batch before it are.

    Args:
        records: mappings {"_id", "title", "text", ...}, Record objects, a source (sources.py), or the path of a file.
            Records that were encoded elsewhere bring their vector: mappings {"_id", "vector", ...} as `splade-ptbr encode`
            writes them (see records.EncodedRecord), Entry objects, or tuples (doc_id, SparseVector, payload); they are
            stored as they are. A mapping may also hold a "dense" vector. Where it holds a "fingerprint", it must be that of
            the store's model.
        store: where the documents go; its encoder makes the vectors of texts.
        checkpoint: file from which a killed run resumes; removed when the run completes.
        dead_letter: JSONL file for rejected records: {"line", "reason", "record"}. Without one the report keeps the first hundred, and
            a warning is logged.
        restart: start over even if there is a checkpoint.
        max_batch_documents, max_batch_bytes: a batch is sent when it reaches either; by default as many documents as the
            store sends at once.
        vectors: True: every record must bring its vector; False: "vector" and "dense" are fields like any other.
        reconcile: how many of the written documents are read back and searched for at the end; 0 skips that check.
        progress: a callable given IngestProgress, or True/False for a bar; None draws one if stderr is a terminal.
        batch_size: the earlier name of max_batch_documents.

    Returns: the counts; read = written + unchanged + rejected.

    Raises:
        IngestError: a checkpoint or dead-letter file that does not fit this run, or documents that the store acknowledged
            and does not hold.
        InputFileError: the input ends within damaged data; what came before it is in the store.
        ModelMismatchError: a ready vector is of another model.
        StoreError: the store failed; what it acknowledged before stays, and the checkpoint says so.
    """
    options = IngestOptions(
        checkpoint=checkpoint,
        dead_letter=dead_letter,
        restart=restart,
        max_batch_documents=_max_batch_documents(store, max_batch_documents, batch_size),
        max_batch_bytes=max_batch_bytes,
        vectors=vectors,
        reconcile=reconcile,
        progress=progress,
    )
    with closing(ThreadUploadPool(store)) as pool:
        return _run(records, store, options, pool, threading.Event())


async def aingest(
    records: Iterable[Any] | str | Path,
    store: Store,
    *,
    checkpoint: str | Path | None = None,
    dead_letter: str | Path | None = None,
    restart: bool = False,
    max_batch_documents: int | None = None,
    max_batch_bytes: int = MAX_BATCH_BYTES,
    vectors: bool | None = None,
    reconcile: int = 64,
    progress: Hook | bool | None = None,
    batch_size: int | None = None,
) -> IngestReport:
    """ingest() without blocking the event loop: uploads run on it, through store.aload(), all the rest in a separate thread.

    Cancelling acts like Ctrl-C: submitted batches are written and recorded in the checkpoint, then CancelledError is raised.
    `records` is read and `progress` called in that thread.
    """
    options = IngestOptions(
        checkpoint=checkpoint,
        dead_letter=dead_letter,
        restart=restart,
        max_batch_documents=_max_batch_documents(store, max_batch_documents, batch_size),
        max_batch_bytes=max_batch_bytes,
        vectors=vectors,
        reconcile=reconcile,
        progress=progress,
    )
    with closing(LoopUploadPool(store, asyncio.get_running_loop())) as pool:
        return await _run_in_thread(records, store, options, pool)


class IngestOptions(Arguments):
    """The arguments of ingest() and aingest(), explained there."""

    checkpoint: SkipValidation[str | Path | None]
    dead_letter: SkipValidation[str | Path | None]
    restart: bool
    max_batch_documents: Positive
    max_batch_bytes: Positive
    vectors: bool | None
    reconcile: Natural
    progress: SkipValidation[Hook | bool | None]

    def ready_vectors(self, store: Store) -> ReadyVectors | None:
        """Which records may bring their own vector."""
        if self.vectors is False:
            return None
        return ReadyVectors(store.encoder.vocab_size, store.encoder.fingerprint, bool(self.vectors), whole=store.passage_settings is None)


def _max_batch_documents(store: Store, given: int | None, batch_size: int | None) -> int:
    check_is_store(store)
    chosen = renamed("batch_size", batch_size, "max_batch_documents", given)
    return store.max_batch_documents if chosen is None else chosen


async def _run_in_thread(records: Iterable[Any] | str | Path, store: Store, options: IngestOptions, pool: UploadPool) -> IngestReport:
    """Run in a thread of its own: in the loop's default ones it could wait for an upload that waits for a thread."""
    interrupted = threading.Event()
    thread = ThreadPoolExecutor(1, "splade-ingest")
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    work = loop.run_in_executor(thread, lambda: context.run(_run, records, store, options, pool, interrupted))
    try:
        await asyncio.wait([work])
    except asyncio.CancelledError:
        interrupted.set()
        while not work.done():  # cancelled again: finish bookkeeping before exiting anyway
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        work.exception()  # Interrupted, or what came in between: the caller asked for the end, and gets it
        raise
    finally:
        thread.shutdown(wait=False)
    return work.result()


# -- one run ---------------------------------------------------------------------------------------------------------


def _run(
    records: Iterable[Any] | str | Path, store: Store, options: IngestOptions, pool: UploadPool, interrupted: threading.Event
) -> IngestReport:
    """Run an ingest to its end; `interrupted` ends it early, as Ctrl-C does."""
    started = time.monotonic()
    source = as_source(records)
    files = _distinct_files(source, options.checkpoint, options.dead_letter)
    run = RunIdentity(store.encoder.name, store.encoder.fingerprint, store.url, store.identity, store.tenant)
    input = source.identity if isinstance(source, Source) else {"path": type(source).__name__}
    checkpoint = Checkpoint(files["checkpoint"], run, input)
    start = checkpoint.resume_point(restart=options.restart)
    display = Display(options.progress, len(source) if isinstance(source, Sized) else None)
    with closing(display), closing(DeadLetter(files["dead_letter"], keep_bytes=start.dead_letter_bytes)) as rejected:
        stream = ItemStream(source, start, checkpoint, options.ready_vectors(store), interrupted)
        checkpoint.save(start, time.monotonic())  # fail early if not writable
        before = _documents_before(store, checkpoint, start, stream.last_written)
        with _writing(store, pool, rejected, checkpoint, start, options) as writer:
            with store.loading():
                _write_all(stream, writer, store, options, before, lambda: display.show(_progress(writer, started)))
                stream.raise_stored()
            store.finish_loading()
            checked = check_store(store, writer.sample, before, stream.seen, stream.first_line) if options.reconcile else None
        checkpoint.remove()
    path = str(rejected.path) if rejected.path and rejected.length else None
    rejected.warn(writer.counts.rejected, store.url)
    return writer.counts.report(time.monotonic() - started, path, start.position, checked, rejected.kept)


def _documents_before(store: Store, checkpoint: Checkpoint, start: ResumePoint, last: Item | None) -> int:
    """Documents in the store at the beginning; none of those that an earlier run left there, the `last` of all, may be missing."""
    before = store.count()
    if before < start.acknowledged:
        store.finish_loading()  # a server may not count what a killed run has stored, until it is told to
        before = store.count()
    last_id = last.record.doc_id if last and last.record else None
    lost = last is not None and last_id is not None and store.content_hashes([last_id]).get(last_id) != last.content_hash
    checkpoint.check_kept(start, before, last_id if lost else None)
    return before


@contextmanager
def _writing(
    store: Store, pool: UploadPool, rejected: DeadLetter, checkpoint: Checkpoint, start: ResumePoint, options: IngestOptions
) -> Iterator[Writer]:
    """A writer; whatever ends the run, submitted batches are written and recorded, and what they lack is told: no later run reads them."""
    writer = Writer(store, pool, rejected, checkpoint, start, Sample(options.reconcile))
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise
    finally:
        warn_without_dense(store, writer.without_dense)


def _write_all(stream: ItemStream, writer: Writer, store: Store, options: IngestOptions, before: int, show: Callable[[], None]) -> None:
    """Send items through the encoder to the writer, until the input ends."""
    items = drop_unchanged(stream, store, options.max_batch_documents) if before else stream
    batch = Batch()
    for item in encode_items(items, store.encoder.encode_documents, store.splitter):
        batch.add(item)
        stream.passed(item)
        if batch.is_full(options.max_batch_documents, options.max_batch_bytes):
            _submit(batch, stream, writer)
            show()
            batch = Batch()
    _submit(batch, stream, writer)
    writer.finish()
    show()


def _submit(batch: Batch, stream: ItemStream, writer: Writer) -> None:
    batch.position, batch.prefix = stream.place()
    writer.submit(batch)


def _progress(writer: Writer, started: float) -> IngestProgress:
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
