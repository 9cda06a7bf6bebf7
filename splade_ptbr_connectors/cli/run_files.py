"""Where an ingest keeps its own files (checkpoint, rejected records) when the caller names no place for them.

An edge store has a folder, and they go there. A server, or a store that several processes fill at once, has no folder for each of
them: there the files go to the user's state folder, into a folder named after the collection's identity, the tenant and the input,
so that the same command run again finds them, from wherever it is run.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import IngestError
from ..stores import engine_of
from .options import PREFIX

if TYPE_CHECKING:
    from ..sources import Source
    from ..stores.base import Store

CHECKPOINT = "ingest-checkpoint{}.json"
REJECTED = "ingest-rejected{}.jsonl"
LOCK = "run.lock"
STATE = PREFIX + "STATE"


@dataclass(frozen=True)
class RunFiles:
    """The files of one run, named by the caller or not."""

    checkpoint: Path
    dead_letter: Path


@contextmanager
def run_files(store: Store, source: Source, *, checkpoint: Path | None = None, dead_letter: Path | None = None) -> Iterator[RunFiles]:
    """The files of a run, those named by the caller as they are; no other run of the same kind can use them at the same time.

    Raises:
        IngestError: the state folder cannot be written, or the same input is already being loaded into the same collection.
    """
    if engine_of(store.url).one_process:  # its lock is the run's
        folder, suffix = Path(store.url.partition(":")[2].removeprefix("//")).expanduser(), _suffix(store.tenant)
        yield RunFiles(checkpoint or folder / CHECKPOINT.format(suffix), dead_letter or folder / REJECTED.format(suffix))
    elif checkpoint and dead_letter:
        yield RunFiles(checkpoint, dead_letter)
    else:
        with held_folder(state_folder() / _folder_name(store, source)) as folder:
            yield RunFiles(checkpoint or folder / CHECKPOINT.format(""), dead_letter or folder / REJECTED.format(""))


def state_folder() -> Path:
    """SPLADE_PTBR_STATE, else the user's state folder of the platform."""
    from platformdirs import user_state_path

    given = os.environ.get(STATE)
    return Path(given).expanduser() if given else user_state_path("splade-ptbr", appauthor=False)


def _folder_name(store: Store, source: Source) -> str:
    """Readable first, then a digest over what must be the same for a run to resume."""
    key = "\0".join((store.identity, store.tenant or "", str(source.identity["path"])))
    name = re.sub(r"[^\w.-]+", "-", store.url.partition("?")[0].rpartition("/")[2])[:60]
    return f"{name}-{hashlib.blake2b(key.encode('utf-8', 'surrogateescape'), digest_size=8).hexdigest()}"


def _suffix(tenant: str | None) -> str:
    return "" if tenant is None else "-" + hashlib.blake2b(tenant.encode(), digest_size=8).hexdigest()


@contextmanager
def held_folder(folder: Path) -> Iterator[Path]:
    """The folder, created and held by this process; removed at the end if nothing is left in it.

    Raises:
        IngestError: it cannot be written, or another run holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise IngestError(f"another run of the same kind is in progress (it holds {folder}): wait for it, or name other files.") from error
    except OSError as error:
        raise IngestError(
            f"cannot keep a checkpoint in {folder} ({error.strerror or error}): set {STATE} to a folder, or give --checkpoint and "
            "--dead-letter."
        ) from error
    try:
        yield folder
        _remove_if_empty(folder)
    finally:
        lock.release()  # the death of the process releases it too


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder in which only the lock is left, while it is held: nobody else can have begun to use the folder."""
    if all(file.name == LOCK for file in folder.iterdir()):
        with suppress(OSError):  # Windows removes no open file
            (folder / LOCK).unlink()
            folder.rmdir()
