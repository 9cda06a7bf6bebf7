"""Where an ingest keeps its own files (checkpoint, rejected records) when the caller names no place for them.

An edge store has a folder, and they go there. A server, or a store that several processes fill at once, has none for each of them: they
go to the user's state folder, into a folder named by
the collection's identity, the tenant and the input, so that the same command run again finds them, from wherever it is run.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import IngestError
from .options import PREFIX

if TYPE_CHECKING:
    from ..sources import Source
    from ..stores.base import Store

CHECKPOINT = "ingest-checkpoint{}.json"
REJECTED = "ingest-rejected{}.jsonl"
STATE = PREFIX + "STATE"


@dataclass(frozen=True)
class RunFiles:
    """The files of one run, whoever named them."""

    checkpoint: Path
    dead_letter: Path


@contextmanager
def run_files(store: Store, source: Source, *, checkpoint: Path | None = None, dead_letter: Path | None = None) -> Iterator[RunFiles]:
    """The files of a run, those named by the caller as they are; no other run of the same kind has them meanwhile.

    Raises:
        IngestError: the state folder cannot be written, or the same input is being loaded into the same collection already.
    """
    if store.engine == "edge":  # which has a lock of its own
        folder, mark = Path(store.url.partition(":")[2].removeprefix("//")).expanduser(), _mark(store.tenant)
        yield RunFiles(checkpoint or folder / CHECKPOINT.format(mark), dead_letter or folder / REJECTED.format(mark))
    elif checkpoint and dead_letter:
        yield RunFiles(checkpoint, dead_letter)
    else:
        with held_folder(state_folder() / _folder_name(store, source)) as folder:
            yield RunFiles(checkpoint or folder / CHECKPOINT.format(""), dead_letter or folder / REJECTED.format(""))


def state_folder() -> Path:
    """SPLADE_PTBR_STATE, else the user's state folder by the platform's custom."""
    if given := os.environ.get(STATE):
        return Path(given).expanduser()
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "splade-ptbr"
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "splade-ptbr"


def _folder_name(store: Store, source: Source) -> str:
    """Readable first, then a digest over what must be the same for a run to go on."""
    key = "\0".join((store.identity, store.tenant or "", str(source.identity["path"])))
    name = re.sub(r"[^\w.-]+", "-", store.url.partition("?")[0].rpartition("/")[2])[:60]
    return f"{name}-{hashlib.blake2b(key.encode('utf-8', 'surrogateescape'), digest_size=8).hexdigest()}"


def _mark(tenant: str | None) -> str:
    return "" if tenant is None else "-" + hashlib.blake2b(tenant.encode(), digest_size=8).hexdigest()


@contextmanager
def held_folder(folder: Path) -> Iterator[Path]:
    """The folder, made and held by this process; removed at the end if nothing is left in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY) if os.name != "nt" else None
    except OSError as error:
        raise IngestError(
            f"cannot keep a checkpoint in {folder} ({error.strerror or error}): set {STATE} to a folder, or give --checkpoint and "
            "--dead-letter."
        ) from error
    try:
        if handle is not None:
            _lock(handle, folder)
        yield folder
        if not any(folder.iterdir()):
            folder.rmdir()
    finally:
        if handle is not None:
            os.close(handle)  # gives the lock back; so does the death of the process


def _lock(handle: int, folder: Path) -> None:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise IngestError(
            f"another run of the same kind is going on (it holds {folder}): wait for it, or give this one files of its own."
        ) from error
