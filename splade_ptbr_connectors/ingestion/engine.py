"""ingest() and aingest(): records into a store, with bounded memory and an account of every record."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..stores.base import Store
from .lanes import Lanes, LoopLanes, ThreadLanes
from .progress import Hook
from .reconcile import Reconciled
from .report import IngestReport
from .run import Settings, run_ingest

__all__ = ["IngestReport", "Reconciled", "aingest", "ingest"]

MAX_BATCH_BYTES = 8 * 2**20


def ingest(
    records: Iterable[Any] | str | Path,
    store: Store,
    *,
    checkpoint: str | Path | None = None,
    dead_letter: str | Path | None = None,
    restart: bool = False,
    batch_size: int | None = None,
    max_batch_bytes: int = MAX_BATCH_BYTES,
    vectors: bool | None = None,
    reconcile: int = 64,
    progress: Hook | bool | None = None,
) -> IngestReport:
    """Encode records and load them into a store. Running it again changes nothing and encodes nothing.

    Up to `store.max_in_flight` batches are loaded at once, beside the encoding. A batch counts as acknowledged when it and
    all before it are.

    Args:
        records: mappings {"_id", "title", "text", ...}, Record objects, a source (sources.py), or the path of a file.
            Records that were encoded elsewhere bring their vector: mappings {"_id", "vector", ...} as `splade-ptbr encode`
            writes them (see records.EncodedRecord), Entry objects, or tuples (doc_id, SparseVector, payload); they are
            stored as they are. A mapping may also hold a "dense" vector. Where it holds a "fingerprint", it must be that of
            the store's model.
        store: where to; its encoder makes the vectors of texts.
        checkpoint: file by which a run that was killed goes on where it stopped; removed when the run completes.
        dead_letter: JSONL file for rejected records: {"line", "reason", "record"}.
        restart: begin anew although there is a checkpoint.
        batch_size, max_batch_bytes: a batch is sent when it reaches either; batch_size is the store's own by default.
        vectors: True: every record must bring its vector; False: "vector" and "dense" are fields like any other.
        reconcile: how many of the written documents are read back and searched for in the end; 0 leaves that check out.
        progress: a callable given IngestProgress, or True/False for a bar; None draws one if stderr is a terminal.

    Returns: the counts; read = written + unchanged + rejected.

    Raises:
        IngestError: a checkpoint or dead-letter file that does not fit this run, or documents that the store acknowledged
            and does not hold.
        InputFileError: the input ends within damaged data; what came before it is in the store.
        ModelMismatchError: a ready vector is of another model.
        StoreError: the store failed; what it acknowledged before stays, and the checkpoint says so.
    """
    settings = _settings(
        store,
        checkpoint=checkpoint,
        dead_letter=dead_letter,
        restart=restart,
        batch_size=batch_size,
        max_batch_bytes=max_batch_bytes,
        vectors=vectors,
        reconcile=reconcile,
        progress=progress,
    )
    with contextlib.closing(ThreadLanes(store)) as lanes:
        return run_ingest(records, store, settings, lanes, threading.Event())


async def aingest(
    records: Iterable[Any] | str | Path,
    store: Store,
    *,
    checkpoint: str | Path | None = None,
    dead_letter: str | Path | None = None,
    restart: bool = False,
    batch_size: int | None = None,
    max_batch_bytes: int = MAX_BATCH_BYTES,
    vectors: bool | None = None,
    reconcile: int = 64,
    progress: Hook | bool | None = None,
) -> IngestReport:
    """ingest() without blocking the event loop: loads run on it, through store.aload(), all the rest in a thread beside it.

    Cancelling it is Ctrl-C: what was put is written and noted in the checkpoint, then CancelledError is raised. `records` is
    read and `progress` called in that thread.
    """
    settings = _settings(
        store,
        checkpoint=checkpoint,
        dead_letter=dead_letter,
        restart=restart,
        batch_size=batch_size,
        max_batch_bytes=max_batch_bytes,
        vectors=vectors,
        reconcile=reconcile,
        progress=progress,
    )
    with contextlib.closing(LoopLanes(store, asyncio.get_running_loop())) as lanes:
        return await _in_thread(records, store, settings, lanes)


async def _in_thread(records: Iterable[Any] | str | Path, store: Store, settings: Settings, lanes: Lanes) -> IngestReport:
    """Run in a thread of its own: in the loop's default ones it could wait for a load that waits for a thread."""
    interrupted = threading.Event()
    thread = ThreadPoolExecutor(1, "splade-ingest")
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    work = loop.run_in_executor(thread, lambda: context.run(run_ingest, records, store, settings, lanes, interrupted))
    try:
        await asyncio.wait([work])
    except asyncio.CancelledError:
        interrupted.set()
        while not work.done():  # cancelled again: there is still only one way to end it with its books in order
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        work.exception()  # Interrupted, or what came in between: the caller asked for the end, and gets it
        raise
    finally:
        thread.shutdown(wait=False)
    return work.result()


def _settings(store: Store, *, batch_size: int | None, **settings: Any) -> Settings:
    return Settings(batch_size=store.batch_size if batch_size is None else batch_size, **settings)
