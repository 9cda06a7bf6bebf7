"""The ledger: what the shard held before and after the last write, so that after a kill it can be told what must be there.

Two slots of one small file are written in turn, each with its own checksum: at every moment one of them is whole. It is as
durable as the engine's log, which survives the death of the process. The lock of the file is the lock of the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from pathlib import Path
from typing import BinaryIO

from ...errors import StoreLockedError
from .checks import Tally

FILE_NAME = "splade-ledger"
SLOT = 256
ONE_PROCESS = (
    "An edge store serves one process at a time, readers too; several processes may use numba:FOLDER, or a Qdrant or OpenSearch server."
)
_LOCK_AT = 2 * SLOT  # Windows locks bytes against reading too


def locked_error(url: str) -> StoreLockedError:
    """For a store that another process, or another handle, has open."""
    return StoreLockedError(
        f"the store {url} is in use by another process (or by another handle in this one): close it there first. {ONE_PROCESS}"
    )


class Ledger:
    """The open file, locked until release()."""

    def __init__(self, folder: Path, url: str) -> None:
        """Raises StoreLockedError and OSError."""
        path = folder / FILE_NAME
        self._file: BinaryIO = open(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644), "r+b", buffering=0)
        self._number = 0
        try:
            _lock(self._file)
        except (BlockingIOError, PermissionError) as error:
            self._file.close()
            raise locked_error(url) from error

    def read(self, store_id: str) -> tuple[Tally, ...]:
        """The tallies that the shard may have: one, or two when a write was cut off. Empty: the ledger is missing or damaged."""
        slots = sorted(filter(None, map(self._slot, (0, 1))))
        if not slots or slots[-1][4] != store_id:
            return ()
        self._number, done, before, after, _ = slots[-1]
        return (Tally(*after),) if done else (Tally(*before), Tally(*after))

    def write(self, store_id: str, before: Tally, after: Tally, *, done: bool) -> None:
        """Say that the store is being written (`done` False) or was. Raises OSError."""
        self._number += 1
        text = json.dumps([self._number, done, before, after, store_id])
        line = f"{zlib.crc32(text.encode()):08x} {text}".ljust(SLOT - 1) + "\n"
        self._file.seek(self._number % 2 * SLOT)
        self._file.write(line.encode())

    def sync(self) -> None:
        """Put it on the disk. Raises OSError."""
        os.fsync(self._file.fileno())

    def release(self) -> None:
        """Let others open the store. Twice is not an error."""
        if not self._file.closed:
            _unlock(self._file)  # by hand: a forked child may have the file open as well
            self._file.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # the file could not be opened
            self._file.close()  # of a store that was never closed; without _unlock(), since this may be a forked child

    def _slot(self, place: int) -> tuple[int, bool, list[int], list[int], str] | None:
        self._file.seek(place * SLOT)
        crc, _, text = self._file.read(SLOT).rstrip(b" \n").partition(b" ")
        return tuple(json.loads(text)) if crc == b"%08x" % zlib.crc32(text) else None


def _lock(file: BinaryIO) -> None:
    if os.name == "nt":
        import msvcrt

        file.seek(_LOCK_AT)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unlock(file: BinaryIO) -> None:
    if os.name != "nt":  # there closing it is enough
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
