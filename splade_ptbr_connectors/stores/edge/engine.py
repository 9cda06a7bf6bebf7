"""Calls into qdrant-edge: one at a time, and whatever goes wrong in it comes out as an error of this package."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from ...errors import (
    SpladeConnectorsError,
    StoreClosedError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreNotFoundError,
    StoreWriteError,
)
from .checks import ADVICE
from .ledger import ONE_PROCESS, locked_error

RESERVE_BYTES = 32 * 2**20  # left free on the disk
_LOCKED = re.compile("WouldBlock")
_REFUSED = re.compile(r"os error (1|13|28|30)\b|PermissionDenied|StorageFull|ReadOnlyFilesystem|No space left|Permission denied|Read-only")


class EdgeEngine:
    """An open shard behind a lock.

    Edge holds the interpreter lock during its calls, so two threads gain nothing by calling at once; the lock is for
    writes, which the engine expects one after the other. A forked child cannot use it: its threads are gone, and what it
    writes, or flushes when it frees the shard, overwrites what the parent wrote.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self._lock = threading.RLock()
        self._shard: Any = None
        self._opened_by = os.getpid()
        with self._guard("open"):
            self._place = _identity(folder)
            self._shard = edge.EdgeShard.load(str(folder))
        _ENGINES.add(self)

    @staticmethod
    def create(folder: Path, config: Any, url: str) -> None:
        """Make an empty shard in `folder`, complete or not at all."""
        temporary = folder.with_name(f"{folder.name}.new")
        with translated(url, "create"):
            shutil.rmtree(temporary, ignore_errors=True)  # of a process that died while it created the store
            edge.EdgeShard.create(str(temporary), config).close()
            temporary.rename(folder)

    @contextlib.contextmanager
    def use(self, doing: str) -> Iterator[Any]:
        """The shard, locked; `doing` is for messages."""
        with self.held():
            if self._shard is not None:
                self._check_place()
            with self._guard(doing):
                if self._shard is None:
                    raise StoreClosedError(f"the store {self.url} is closed: open it again with open_store().")
                yield self._shard

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Several calls of use() between which no other thread writes; what is raised between them does not close the shard."""
        if self.inherited:
            raise StoreLockedError(
                f"the store {self.url} was opened by process {self._opened_by}, of which this one is a forked child: open stores after the "
                f"fork. {ONE_PROCESS}"
            )
        with self._lock:
            yield

    def check_space(self, expected_bytes: int) -> None:
        """Raise StoreWriteError before a write for which the disk has no room.

        Edge writes through sparse memory maps: on a full disk the system kills the process (SIGBUS), no error is raised.
        """
        check_space(self.folder, expected_bytes + RESERVE_BYTES)

    def has_space(self, expected_bytes: int) -> bool:
        """Whether check_space() would let a write of this size pass."""
        return shutil.disk_usage(self.folder).free >= expected_bytes + RESERVE_BYTES

    def reload(self) -> None:
        """Close the shard and load it again."""
        with self.use("close") as shard:
            self._shard = None
            shard.close()
            self._shard = edge.EdgeShard.load(str(self.folder))

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child, and the shard its parent's."""
        return self._opened_by != os.getpid()

    @property
    def replaced(self) -> bool:
        """Whether another folder has the path: what the engine writes by its path would go into another store."""
        return _identity(self.folder) not in (self._place, None)

    def _check_place(self) -> None:
        found = _identity(self.folder)
        if found is None:
            raise _removed(self.folder, self.url)
        if found != self._place:
            raise StoreCorruptError(f"{self.folder} of the store {self.url} was replaced while it was open: close it, and open it again.")

    @property
    def loaded(self) -> bool:
        """Whether there is a shard: not after close(), nor after a panic."""
        return self._shard is not None

    def close(self) -> None:
        """Flush and release the shard, or only forget one in whose place there is another. Closing twice is not an error."""
        with self._lock, self._guard("close"):
            shard, self._shard = self._shard, None
            if shard is not None and self.replaced:
                _never_free(shard)
            elif shard is not None:
                shard.close()

    @contextlib.contextmanager
    def _guard(self, doing: str) -> Iterator[None]:
        try:
            with translated(self.url, doing):
                yield
        except StoreCorruptError:
            self._abandon()
            raise

    def _abandon(self) -> None:
        shard, self._shard = self._shard, None
        if shard is None:
            return
        try:
            shard.close()  # flushes what was good before the panic to disk
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a second panic changes nothing
            return


def _keep_inherited() -> None:
    """In a forked child: never free the parent's shards, not even when the process ends."""
    for engine in _ENGINES:
        if engine._shard is not None:
            _never_free(engine._shard)


def _never_free(shard: Any) -> None:
    """A shard flushes when it is freed."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(shard))


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder has this path now; None for none."""
    try:
        found = os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


_ENGINES: weakref.WeakSet[EdgeEngine] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_inherited)


def check_space(folder: Path, wanted_bytes: int) -> None:
    """Raise StoreWriteError when the disk of `folder` has less than this free."""
    free = shutil.disk_usage(folder).free
    if free < wanted_bytes:
        raise StoreWriteError(
            f"only {free / 2**20:,.0f} MiB are free at {folder}, {wanted_bytes / 2**20:,.0f} MiB are needed (with a reserve): "
            "free some space and run it again, what was acknowledged is kept."
        )


@contextlib.contextmanager
def translated(url: str, doing: str) -> Iterator[None]:
    """Turn what Edge and the system raise into errors of this package. A Rust panic is a BaseException."""
    try:
        yield
    except (SpladeConnectorsError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except Exception as error:
        raise _typed(error, url, doing) from error
    except BaseException as error:
        raise _corrupt(error, url, doing) from error


def _typed(error: Exception, url: str, doing: str) -> StoreError:
    text = str(error)
    if _LOCKED.search(text):
        return locked_error(url)
    if isinstance(error, FileNotFoundError):
        return _removed(error.filename, url)
    if isinstance(error, OSError) or _REFUSED.search(text):
        return StoreWriteError(
            f"cannot {doing} the store {url}: {_first_line(error)}; check free space and write permission (searching needs it too)."
        )
    if doing == "open":
        return _corrupt(error, url, doing)
    return StoreError(f"the engine could not {doing} the store {url}: {_first_line(error)}.")


def _removed(path: object, url: str) -> StoreNotFoundError:
    return StoreNotFoundError(f"{path} of the store {url} was removed while it was open: restore it from a backup, or ingest anew.")


def _corrupt(error: BaseException, url: str, doing: str) -> StoreCorruptError:
    return StoreCorruptError(
        f"the engine of {url} gave up while it was asked to {doing} ({_first_line(error)}); the store is closed; {ADVICE}"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
