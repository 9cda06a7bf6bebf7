"""What can be saved of a damaged edge store: every document that is as it was written, in a new shard."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import qdrant_edge as edge

from ...errors import StoreCorruptError, StoreNotFoundError, StoreWriteError
from ..model_stamp import StoreDescription, read_sidecar, store_folder
from ..payloads import PASSAGES_FIELD
from .checks import checked_payload, checked_vector, hex_id
from .contents import SHARD, Contents, count, documents_only, every_record, index_passages
from .creation import open_shard
from .engine import EdgeEngine, translated
from .points import ONLY_NAMES, stale_tails, tails_of
from .settings import VECTOR, EdgeSettings, stored_settings
from .store import EdgeStore

_BATCH = 500
_REPAIRED = "shard.repaired"


class Repair(NamedTuple):
    """What repair() did.

    Attributes:
        documents: how many are there now.
        set_aside: the shard as it was, for you to keep or delete; None: there was nothing to repair.
        damaged: documents that were found, but not as they were written; they were left out.
    """

    documents: int
    set_aside: Path | None = None
    damaged: int = 0


def repair(path: str | Path) -> Repair:
    """Make a store open again after a StoreCorruptError: what can be read and is as it was written goes into a new shard.

    Run the last ingest again for the rest. The old shard is renamed, not deleted; a store that opens is left as it is.

    Raises:
        StoreCorruptError: the engine cannot read the shard, not even without its log; nothing was changed, ingest into a new folder.
        StoreLockedError, StoreNotFoundError: in use, or not an edge store.
    """
    folder = store_folder(str(path), str(path), EdgeStore.engine)
    with translated(str(folder), "repair"):
        description = read_sidecar(folder, EdgeStore.engine)
        if description is None or not ((folder / SHARD).is_dir() or (folder / _REPAIRED).is_dir()):
            raise StoreNotFoundError(f"{folder} is not an edge store: nothing to repair.")
    try:
        engine, contents = open_shard(folder, str(folder))
    except StoreCorruptError:  # what else may be raised (locked, no permission) is not for a repair to force
        return _repaired(folder, description)
    with contextlib.closing(engine), contextlib.closing(contents), engine.use("count") as shard:
        return Repair(_documents(shard, contents))


def _repaired(folder: Path, description: StoreDescription) -> Repair:
    contents = Contents(folder, str(folder), damaged=True)
    with contextlib.closing(contents), translated(str(folder), "repair"):
        set_aside, damaged = _free_name(folder / "shard.set-aside"), 0
        if (folder / SHARD).exists():  # if not, a repair was cut off between the two renames
            damaged = _salvage(folder, description)
            (folder / SHARD).rename(set_aside)
        (folder / _REPAIRED).rename(folder / SHARD)
        engine = EdgeEngine(folder / SHARD, str(folder))
        with contextlib.closing(engine):
            contents.accept(engine)
            with engine.use("count") as shard:
                return Repair(_documents(shard, contents), set_aside, damaged)


def _salvage(folder: Path, description: StoreDescription) -> int:
    """Copy every sound document into `shard.repaired`; returns how many were not."""
    new, url, damaged = folder / "shard.repairing", str(folder), 0
    for left in (new, folder / _REPAIRED):  # by a repair that was cut off
        shutil.rmtree(left, ignore_errors=True)
    with _readable(folder / SHARD, url) as old:
        EdgeEngine.create(new, EdgeSettings(**stored_settings(description.settings)).config(), url)
        with contextlib.closing(EdgeEngine(new, url)) as target, old.use("read") as source, target.use("write") as shard:
            for ids in _pages(record.id for record in every_record(source, False, page=_BATCH)):
                sound = [record for record in _retrieved(old, source, ids) if _is_sound(record, url)]
                damaged += len(ids) - len(sound)
                shard.update(edge.UpdateOperation.upsert_points([edge.Point(each.id, each.vector, each.payload) for each in sound]))
            _drop_incomplete(shard)
            shard.optimize()
    new.rename(folder / _REPAIRED)
    return damaged


def _drop_incomplete(shard: Any) -> None:
    """Delete documents of which passages are missing, which the next ingest would take for unchanged, and passages without a document."""
    several = False
    for heads in _pages(record for record in every_record(shard, ONLY_NAMES, page=_BATCH) if PASSAGES_FIELD in record.payload):
        several = True
        tails = {tail: head for head in heads for tail in tails_of(head)}
        there = {hex_id(record.id) for record in shard.retrieve(list(tails), False, False)}
        lost = {hex_id(head.id) for tail, head in tails.items() if tail not in there}
        shard.update(edge.UpdateOperation.delete_points([*lost, *[tail for tail, head in tails.items() if hex_id(head.id) in lost]]))
    for stale in stale_tails(shard):  # of heads that are lost, and of a write that was cut off
        several = True
        shard.update(edge.UpdateOperation.delete_points(list(stale)))
    if several:
        index_passages(shard)


def _documents(shard: Any, contents: Contents) -> int:
    return count(shard, documents_only(None)) if contents.passages else count(shard)


@contextlib.contextmanager
def _readable(shard: Path, url: str) -> Iterator[EdgeEngine]:
    """The damaged shard, without its log if need be; as it was when the block ends."""
    try:
        engine = EdgeEngine(shard, url)
    except StoreCorruptError:
        with _without_log(shard), contextlib.closing(EdgeEngine(shard, url)) as engine:
            yield engine
        return
    with contextlib.closing(engine):
        yield engine


@contextlib.contextmanager
def _without_log(shard: Path) -> Iterator[None]:
    log, aside = shard / "wal", _free_name(shard / "wal.set-aside")
    had_one = log.exists()
    if had_one:
        log.rename(aside)
    try:
        yield
    finally:
        shutil.rmtree(log, ignore_errors=True)
        if had_one:
            aside.rename(log)


def _retrieved(engine: EdgeEngine, shard: Any, ids: list[Any]) -> list[Any]:
    """Those of these records that the engine can read: one that it cannot makes it fail for all it is asked for at once."""
    try:
        with engine.use("read"):
            found: list[Any] = shard.retrieve(ids, True, True)
        return found
    except StoreWriteError:  # a panic is another error, after which nothing can be read
        half = len(ids) // 2
        return [*_retrieved(engine, shard, ids[:half]), *_retrieved(engine, shard, ids[half:])] if half else []


def _is_sound(record: Any, url: str) -> bool:
    try:
        checked_payload(record, url, checked_vector(record, VECTOR, url))
    except StoreCorruptError:
        return False
    return True


def _pages(records: Iterable[Any]) -> Iterator[list[Any]]:
    page: list[Any] = []
    for record in records:
        page.append(record)
        if len(page) == _BATCH:
            yield page
            page = []
    if page:
        yield page


def _free_name(path: Path) -> Path:
    return next(name for n in range(1, 10_000) if not (name := path.with_name(f"{path.name}-{n}")).exists())
