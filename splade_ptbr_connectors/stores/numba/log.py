"""The log: what was written since the last merge, one checked record a batch, in the order of the writes."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...errors import StoreCorruptError
from ...vectors import SparseBatch
from .documents import Document, Key

HEAD = 12  # bytes: length (8) and checksum (4) of what follows
Operation = tuple[list[Document], SparseBatch] | list[Key]  # documents written, or keys deleted


class Log:
    """Appends; a record is in the system's hands when append() returns, and on the medium after sync()."""

    def __init__(self, path: Path) -> None:
        """Open behind the last whole record; what a dying process left of another one is cut off. Raises OSError."""
        self._file: BinaryIO = open(path, "ab", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def cut(self, size: int) -> None:
        """Forget what stands behind `size`. Raises OSError."""
        self._file.truncate(size)
        self.size = size

    def append(self, operation: Operation) -> None:
        """Write one record, all of it or none. Raises OSError."""
        body = _encoded(operation)
        record = memoryview(len(body).to_bytes(8, "little") + zlib.crc32(body).to_bytes(4, "little") + body)
        try:
            written = 0
            while written < len(record):
                written += self._file.write(record[written:])
        except OSError:
            self._file.truncate(self.size)
            raise
        self.size += len(record)

    def sync(self) -> None:
        """Put it on the medium. Raises OSError."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def replay(path: Path) -> Iterator[tuple[Operation, int]]:
    """Every whole record, and where it ends. A last one that was cut off is left out: it was never acknowledged.

    Raises StoreCorruptError for a record that was altered, and OSError.
    """
    with open(path, "rb") as file:
        size, end = os.fstat(file.fileno()).st_size, 0
        while end + HEAD <= size:
            head = file.read(HEAD)
            length = int.from_bytes(head[:8], "little")
            if end + HEAD + length > size:
                return
            body = file.read(length)
            if zlib.crc32(body) != int.from_bytes(head[8:], "little"):
                raise StoreCorruptError(f"{path} was altered at byte {end:,}: restore the folder from a backup, or ingest anew.")
            end += HEAD + length
            yield _decoded(body), end


def _encoded(operation: Operation) -> bytes:
    if isinstance(operation, list):
        return _framed({"deleted": operation})
    documents, batch = operation
    head = _framed({"written": [[*document.key, document.payload, document.content_hash] for document in documents]})
    return head + b"".join(array.tobytes() for array in (batch.indptr, batch.term_ids, batch.weights))


def _framed(content: dict[str, Sequence[object]]) -> bytes:
    text = json.dumps(content, ensure_ascii=False).encode()
    return len(text).to_bytes(8, "little") + text


def _decoded(body: bytes) -> Operation:
    at = 8 + int.from_bytes(body[:8], "little")
    content = json.loads(body[8:at])
    if "deleted" in content:
        return [(tenant, doc_id) for tenant, doc_id in content["deleted"]]
    documents = [Document((tenant, doc_id), payload, content_hash) for tenant, doc_id, payload, content_hash in content["written"]]
    indptr = np.frombuffer(body, np.int64, len(documents) + 1, at)
    at += indptr.nbytes
    terms = np.frombuffer(body, np.uint32, int(indptr[-1]), at)
    return documents, SparseBatch(indptr, terms, np.frombuffer(body, np.float32, int(indptr[-1]), at + terms.nbytes))
