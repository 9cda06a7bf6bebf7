"""One file of named arrays: a JSON head with types, sizes and checksums, then the arrays, mapped into memory when read."""

from __future__ import annotations

import json
import math
import mmap
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreCorruptError, StoreFormatError

MAGIC = b"SPLADEIX"
FORMAT_VERSION = 3
ALIGNMENT = 64  # bytes; a cache line
DTYPES = ("uint8", "uint16", "uint32", "uint64", "int32", "int64", "float32")
MAX_HEAD_BYTES = 1 << 20
BLOCK_BYTES = 4096  # summed up as one
Arrays = dict[str, NDArray[Any]]


class ArrayFile(NamedTuple):
    """What read_arrays() found: the arrays, what write_arrays() was told about them, and the checksum that it returned."""

    arrays: Arrays
    about: Mapping[str, Any]
    checksum: int


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any] | None = None) -> int:
    """Write the file and flush it to disk. Returns a checksum of all of it. Raises OSError."""
    entries, offset = [], 0
    for name, array in arrays.items():
        entries.append(_entry(name, array, offset))
        offset += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    content = {"format_version": FORMAT_VERSION, "about": about or {}, "bytes": offset, "arrays": entries}
    head = json.dumps(content).encode()
    checksum = zlib.crc32(head)
    prefix = MAGIC + len(head).to_bytes(4, "little") + checksum.to_bytes(4, "little") + head
    with open(path, "wb") as file:
        file.write(prefix.ljust(_padded(len(prefix)), b"\0"))
        for array in arrays.values():
            file.write(_bytes(array))
            file.write(bytes(_padded(array.nbytes) - array.nbytes))
        file.flush()
        os.fsync(file.fileno())
    return checksum


def read_arrays(path: Path, *, verify: bool = False) -> ArrayFile:
    """The arrays of a file, read-only and mapped into memory.

    Args:
        verify: compare every array with its checksum, which reads the whole file; head and sizes are always checked.

    Raises:
        StoreCorruptError: missing, truncated or altered.
        StoreFormatError: of another kind, or of another format version.
        OSError: it cannot be read.
    """
    content = _mapped(path)
    head, checksum, body = _head(path, content)
    if len(content) != body + head["bytes"]:
        raise StoreCorruptError(f"{path} has {len(content):,} bytes, {body + head['bytes']:,} were written: {_ADVICE}.")
    arrays: Arrays = {}
    for entry in head["arrays"]:
        size = math.prod(entry["shape"])
        kind = np.dtype(entry["dtype"])
        array = np.frombuffer(content, kind, size, body + entry["offset"]) if size else np.empty(0, kind)
        if verify and _checksum(array) != entry["checksum"]:
            raise StoreCorruptError(f"{path} was altered: the checksum of {entry['name']!r} differs; {_ADVICE}.")
        arrays[entry["name"]] = array.reshape(entry["shape"])
        arrays[entry["name"]].flags.writeable = False
    return ArrayFile(arrays, head["about"], checksum)


_ADVICE = "restore the folder from a backup, or build it anew"


def _entry(name: str, array: NDArray[Any], offset: int) -> dict[str, Any]:
    return {"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "offset": offset, "checksum": _checksum(array)}


def _checksum(array: NDArray[Any]) -> int:
    """The sum of the 64-bit words of every 4 KiB, and CRC-32 of these sums: as fast as memory is read; no changed bit goes unnoticed."""
    raw = np.frombuffer(_bytes(array), np.uint8)
    whole = len(raw) // BLOCK_BYTES * BLOCK_BYTES
    sums = np.add.reduce(raw[:whole].view(np.uint64).reshape(-1, BLOCK_BYTES // 8), axis=1)
    return zlib.crc32(raw[whole:].data, zlib.crc32(sums.data))


def _bytes(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _mapped(path: Path) -> mmap.mmap | bytes:
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else b""
    except FileNotFoundError as error:
        raise StoreCorruptError(f"{path} is missing: {_ADVICE}.") from error


def _head(path: Path, content: mmap.mmap | bytes) -> tuple[dict[str, Any], int, int]:
    """The head, its checksum, and where the arrays start."""
    if content[: len(MAGIC)] != MAGIC:
        raise StoreFormatError(f"{path} is not a file of an inverted index: {_ADVICE}.")
    length, checksum = (int.from_bytes(content[at : at + 4], "little") for at in (8, 12))
    raw = content[16 : 16 + min(length, MAX_HEAD_BYTES)]
    if len(raw) != length or zlib.crc32(raw) != checksum:
        raise StoreCorruptError(f"{path} is cut short or altered: the checksum of its head differs; {_ADVICE}.")
    head: dict[str, Any] = json.loads(raw)  # as it was written: its checksum is right
    if head["format_version"] != FORMAT_VERSION:
        todo = "upgrade splade-ptbr-connectors" if head["format_version"] > FORMAT_VERSION else "build it anew"
        raise StoreFormatError(f"{path} has format version {head['format_version']}, this package reads {FORMAT_VERSION}: {todo}.")
    if any(entry["dtype"] not in DTYPES or _beyond(entry, head["bytes"]) for entry in head["arrays"]):
        raise StoreCorruptError(f"{path} describes arrays that it cannot hold: {_ADVICE}.")
    return head, checksum, _padded(16 + length)


def _beyond(entry: Mapping[str, Any], size: int) -> bool:
    needed = math.prod(entry["shape"]) * np.dtype(entry["dtype"]).itemsize
    return bool(min([entry["offset"], *entry["shape"]]) < 0 or entry["offset"] + needed > size)
