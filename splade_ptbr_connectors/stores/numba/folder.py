"""The folder of an index: a manifest that names its files and is replaced as a whole, and a lock that one writer holds."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ...atomic import write_atomically
from ...errors import SpladeConnectorsError, StoreCorruptError, StoreFormatError, StoreLockedError, StoreWriteError

MANIFEST, LOCK = "manifest.json", "lock"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """Which files make up the index.

    Attributes:
        parts: name of each part, in order of insertion, and the file of its deleted rows, "" where there are none.
        log: the file of what came after the parts, "" for none.
        following: number for the next file name; names are never used twice.
        exact: False for an index of 8-bit impacts only.
    """

    parts: tuple[tuple[str, str], ...] = ()
    log: str = ""
    following: int = 1
    exact: bool = True

    def write(self, folder: Path) -> None:
        """Commit: from now on this is the index. Raises OSError."""
        content = {"parts": self.parts, "log": self.log, "following": self.following, "exact": self.exact}
        text = json.dumps(content)
        write_atomically(
            folder / MANIFEST, json.dumps({"format_version": FORMAT_VERSION, "crc32": zlib.crc32(text.encode()), "content": text}) + "\n"
        )

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest, None when there is none. Raises StoreCorruptError, StoreFormatError and OSError."""
        path = folder / MANIFEST
        try:
            raw = json.loads(path.read_bytes())
            version, text = raw["format_version"], raw["content"]
            if isinstance(version, int) and version > FORMAT_VERSION:
                raise StoreFormatError(
                    f"{path} has format version {version}, this package reads up to {FORMAT_VERSION}: upgrade splade-ptbr-connectors."
                )
            if zlib.crc32(text.encode()) != raw["crc32"]:
                raise StoreCorruptError(f"{path} was altered: its checksum differs; restore the folder from a backup, or ingest anew.")
            content = json.loads(text)
            parts = tuple((str(name), str(dead)) for name, dead in content["parts"])
            return cls(parts, content["log"], content["following"], content["exact"])
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise StoreCorruptError(
                f"{path} is not a manifest ({type(error).__name__}): restore the folder from a backup, or ingest anew."
            ) from error

    def files(self) -> set[str]:
        """Names of all files that belong to the index, whether they exist or not."""
        parts = {f"{name}.{kind}" for name, _ in self.parts for kind in ("window", "documents")}
        return parts | {dead for _, dead in self.parts if dead} | ({self.log} if self.log else set())


def remove_leftovers(folder: Path, manifest: Manifest) -> None:
    """Delete what a process left behind that died before its commit, or between a commit and this."""
    for path in folder.iterdir():
        ours = path.suffix in (".window", ".documents", ".dead") or path.name.startswith("log-")
        if ours and path.name not in manifest.files():
            path.unlink(missing_ok=True)


class Lock:
    """Held by the one process (and handle) that writes. The system releases it when the process dies."""

    def __init__(self, folder: Path, url: str) -> None:
        """Raises StoreLockedError and OSError."""
        self._file: BinaryIO | None = open(folder / LOCK, "ab")
        try:
            _lock(self._file)
        except OSError as error:
            self.release()
            raise StoreLockedError(
                f"the store {url} is in use by another process (or by another handle in this one): close it there first, "
                "or open it with the setting read_only."
            ) from error

    def release(self) -> None:
        """Let others write. Twice is no error."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _lock(file: BinaryIO) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def translated(url: str, doing: str) -> Iterator[None]:
    """Turn what the system raises into errors of this package."""
    try:
        yield
    except SpladeConnectorsError:
        raise
    except OSError as error:
        raise StoreWriteError(f"cannot {doing} the store {url}: {error}; check free space and permissions.") from error
