"""Files that are either the old one or the new one, never half of it, and never one that another folder shares."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A UTF-8 text file that takes the name `path` when the block ends well, and is on disk by then.

    Raises OSError; the old file then stays, and nothing is left beside it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` (UTF-8). Raises OSError; the old file then stays."""
    with replacing(path) as file:
        file.write(text)


def unshare(path: Path) -> None:
    """Give a file with several names (hard links, as `cp -al` makes them) content of its own under this one.

    Before it is changed in place, which would change the copy as well. Raises OSError.
    """
    if not path.is_file() or path.stat().st_nlink < 2:
        return
    place = path.resolve()
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        shutil.copy2(place, temporary)
        os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename within `folder` survive a power cut, where the system can do that."""
    if os.name == "nt":
        return  # folders cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
