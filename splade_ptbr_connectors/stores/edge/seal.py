"""The seal of a closed shard: a checksum of each of its files, since the engine has none for most of what it keeps."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHUNK = 2**18
READ_WHOLE = 2**26  # bytes on the disk up to which opening reads all of a shard: some hundredths of a second
LARGE = 2**22  # in a larger shard, files of this size whose size and time of change are as sealed are not read again
_ZEROS = bytes(CHUNK)


def sealed(folder: Path) -> dict[str, str]:
    """Size, checksum and time of change of every file below `folder`, by relative path. Raises OSError."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(files, pool.map(_described, files.values()), strict=True))


def broken(folder: Path, seal: Mapping[str, str]) -> str | None:
    """What differs from the seal, None when nothing does. Raises OSError."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    for name in sorted(files.keys() ^ seal.keys()):
        return f"{name} is missing" if name in seal else f"{name} is not part of it"
    whole = sum(_disk_bytes(path) for path in files.values()) <= READ_WHOLE
    suspects = [name for name, path in files.items() if whole or _disk_bytes(path) < LARGE or not _untouched(path, seal[name])]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(_described, [files[name] for name in suspects])
    for name, description in zip(suspects, found, strict=True):
        if description.split()[:2] != seal[name].split()[:2]:
            return f"{name} has changed"
    return None


def _described(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size} {_checksum(path, stat.st_size):08x} {stat.st_mtime_ns}"


def _untouched(path: Path, description: str) -> bool:
    stat = path.stat()
    return [str(stat.st_size), str(stat.st_mtime_ns)] == description.split()[::2]


def _disk_bytes(path: Path) -> int:
    stat = path.stat()
    return getattr(stat, "st_blocks", stat.st_size // 512) * 512


def _checksum(path: Path, size: int) -> int:
    """CRC-32 of the chunks that are not all zero, with their places: the same whether zeros are a hole in the file or written."""
    crc = 0
    with open(path, "rb", buffering=0) as file:
        for place in _occupied(file.fileno(), size):
            file.seek(place)
            chunk = file.read(CHUNK)
            if chunk != _ZEROS[: len(chunk)]:
                crc = zlib.crc32(chunk, zlib.crc32(place.to_bytes(8, "little"), crc))
    return crc


def _occupied(file: int, size: int) -> Iterator[int]:
    """Starts of the chunks that are not within a hole, ascending: the engine's files are mostly holes."""
    place = 0
    while place < size:
        if hasattr(os, "SEEK_DATA"):
            try:
                place = os.lseek(file, place, os.SEEK_DATA) // CHUNK * CHUNK
            except OSError:  # a hole up to the end
                return
        yield place
        place += CHUNK
