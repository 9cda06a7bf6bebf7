"""ingest(): read -> check -> skip what is unchanged -> encode -> load, with bounded memory and an account of every record."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

from ..errors import ConfigError, IngestError
from ..sources import Source, open_source
from ..stores.base import Store
from .checkpoint import Checkpoint, Progress, Run
from .dead_letter import DeadLetter
from .encoding import with_vectors
from .items import Item, read_items, without_unchanged
from .progress import Display, Hook, IngestProgress
from .report import IngestReport
from .writer import Batch, Writer

__all__ = ["IngestReport", "ingest"]


def ingest(
    records: Iterable[Any] | str | Path,
    store: Store,
    *,
    checkpoint: str | Path | None = None,
    dead_letter: str | Path | None = None,
    restart: bool = False,
    batch_size: int = 256,
    max_batch_bytes: int = 8 * 2**20,
    progress: Hook | bool | None = None,
) -> IngestReport:
    """Encode records and load them into a store. Running it again changes nothing and encodes nothing.

    Args:
        records: mappings {"_id", "title", "text", ...}, Record objects, a source (sources.py), or the path of a file.
        store: where to; its encoder makes the vectors.
        checkpoint: file by which a run that was killed goes on where it stopped; removed when the run completes.
        dead_letter: JSONL file for rejected records: {"line", "reason", "record"}.
        restart: begin anew although there is a checkpoint.
        batch_size, max_batch_bytes: a batch is sent when it reaches either.
        progress: a callable given IngestProgress, or True/False for a bar; None draws one if stderr is a terminal.

    Returns: the counts; read = written + unchanged + rejected.

    Raises:
        IngestError: a checkpoint or dead-letter file that does not fit this run.
        InputFileError: the input ends within damaged data; what came before it is in the store.
        StoreError: the store failed; what it acknowledged before stays, and the checkpoint says so.
    """
    started = time.monotonic()
    _check_sizes(batch_size=batch_size, max_batch_bytes=max_batch_bytes)
    source = _as_source(records)
    files = _distinct_files(source, checkpoint, dead_letter)
    run = Run(store.encoder.name, store.encoder.fingerprint, store.url, store.identity)
    saved = Checkpoint(files["checkpoint"], run, source.identity if isinstance(source, Source) else {"path": type(source).__name__})
    start = saved.load(restart=restart)
    rejected = DeadLetter(files["dead_letter"], keep_bytes=start.dead_letter_bytes)
    display = Display(progress, len(source) if isinstance(source, Sized) else None)
    try:
        stream = _Stream(source, start, saved)
        saved.save(start, time.monotonic())  # whether it can be written is better known now than in a second
        writer = Writer(store, rejected, saved, start)
        try:
            with store.loading():
                _pump(stream, writer, store, display, started, batch_size, max_batch_bytes)
                stream.raise_stored()
            store.finish_loading()
        except BaseException:
            writer.abandon()
            raise
        saved.remove()
    finally:
        rejected.close()
        display.close()
    path = str(rejected.path) if rejected.path and rejected.length else None
    return writer.counts.report(time.monotonic() - started, path, start.position)


def _pump(stream: _Stream, writer: Writer, store: Store, display: Display, started: float, batch_size: int, max_batch_bytes: int) -> None:
    """Items through the encoder into the writer, until the input ends."""
    batch = Batch()
    for item in with_vectors(without_unchanged(stream, store, batch_size), store.encoder.encode_documents):
        batch.add(item)
        stream.passed(item)
        if batch.is_full(batch_size, max_batch_bytes):
            writer.put(stream.sealed(batch))
            display.show(_now(writer, started))
            batch = Batch()
    writer.put(stream.sealed(batch))
    writer.finish()
    display.show(_now(writer, started))


class _Stream:
    """The items of an input behind the part that an earlier run dealt with, and the digest over all that passed.

    An error of the input ends the stream and is kept: what came before it is still to be written.
    """

    def __init__(self, source: Iterable[Any], start: Progress, checkpoint: Checkpoint) -> None:
        self._items = read_items(self._until_error(source))
        self._error: Exception | None = None
        self._digest = hashlib.blake2b(digest_size=16)
        self._position = 0
        if start.position:
            self._skip(start, checkpoint)

    def __iter__(self) -> Iterator[Item]:
        return self._items

    def passed(self, item: Item) -> None:
        """Take an item into the digest, in the order of the input."""
        self._digest.update(item.mark.encode() + b"\n")
        self._position += 1

    def sealed(self, batch: Batch) -> Batch:
        """Note in the batch how far the input is after it."""
        batch.position, batch.prefix = self._position, self._digest.hexdigest()
        return batch

    def raise_stored(self) -> None:
        """Raise the error that ended the input, if any."""
        if self._error is not None:
            raise self._error

    def _until_error(self, source: Iterable[Any]) -> Iterator[Any]:
        try:
            yield from source
        except Exception as error:
            self._error = error

    def _skip(self, start: Progress, checkpoint: Checkpoint) -> None:
        # read again rather than sought: the ids count for duplicates, and the digest proves that it is the same input
        for item in self._items:
            self.passed(item)
            if self._position == start.position:
                break
        if self._digest.hexdigest() != start.prefix:
            self.raise_stored()
            raise checkpoint.other_input()


def _now(writer: Writer, started: float) -> IngestProgress:
    counts = writer.counts
    return IngestProgress(counts.read, counts.written, counts.unchanged, counts.rejected, time.monotonic() - started)


def _as_source(records: Iterable[Any] | str | Path) -> Iterable[Any]:
    if isinstance(records, str | Path):
        return open_source(records)
    if isinstance(records, Mapping) or not isinstance(records, Iterable):
        raise ConfigError(f"records is {type(records).__name__}: it must be an iterable of records, a source, or the path of a file.")
    return records


def _check_sizes(**sizes: object) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} is {value!r}: it must be an integer of at least 1.")


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
