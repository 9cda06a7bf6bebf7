"""What a store keeps of its documents beside their postings: ids, owners, payloads and content hashes, by row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreCorruptError
from .arrays import Arrays, read_arrays, write_arrays

Key = tuple[str | None, str]  # (tenant, doc_id)


class Document(NamedTuple):
    """One document without its vector; `payload` is JSON text."""

    key: Key
    payload: str
    content_hash: str | None


class Documents:
    """Documents of a window, mapped from a file: found by key (a sorted table of hashes) and by row."""

    def __init__(self, arrays: Arrays, where: str) -> None:
        """Raises StoreCorruptError for arrays that contradict each other."""
        self._arrays = arrays
        self._where = where
        names = ("key_hash", "key_row", "head", "head_start", "payload", "payload_start")
        rows = len(arrays["key_hash"]) if all(name in arrays for name in names) else -1
        sound = rows >= 0 and len(arrays["key_row"]) == rows and not np.any(arrays["key_row"] >= max(rows, 1))
        if not sound or not all(_rises(arrays[f"{name}_start"], rows, len(arrays[name])) for name in ("head", "payload")):
            raise StoreCorruptError(f"{where} holds arrays that contradict each other: restore the folder from a backup, or ingest anew.")

    @classmethod
    def read(cls, path: Path) -> Documents:
        """Map a file that write() made. Raises as read_arrays() does."""
        return cls(read_arrays(path), str(path))

    @staticmethod
    def write(path: Path, documents: Sequence[Document]) -> None:
        """Write a file and put it on the medium. Raises OSError."""
        hashes = key_hashes([document.key for document in documents])
        order = np.argsort(hashes, kind="stable")
        heads = [json.dumps([*document.key, document.content_hash], ensure_ascii=False).encode() for document in documents]
        head, head_start = _blob(heads)
        payload, payload_start = _blob([document.payload.encode() for document in documents])
        table: Arrays = {"key_hash": hashes[order], "key_row": order.astype(np.uint16)}
        write_arrays(path, {**table, "head": head, "head_start": head_start, "payload": payload, "payload_start": payload_start})

    def __len__(self) -> int:
        return len(self._arrays["key_hash"])

    def find(self, keys: Sequence[Key], hashes: NDArray[np.uint64]) -> dict[Key, list[int]]:
        """The rows of those keys that are here; a key that was written twice has several, dead ones among them."""
        table = self._arrays["key_hash"]
        found: dict[Key, list[int]] = {}
        begins, ends = np.searchsorted(table, hashes, "left"), np.searchsorted(table, hashes, "right")
        for n in np.flatnonzero(ends > begins).tolist():
            rows = [int(row) for row in self._arrays["key_row"][begins[n] : ends[n]]]
            same = [row for row in rows if self.head(row)[0] == keys[n]]  # two ids may have one hash
            if same:
                found[keys[n]] = same
        return found

    def head(self, row: int) -> tuple[Key, str | None]:
        """(key, content hash). Raises StoreCorruptError."""
        return self.heads([row])[0]

    def heads(self, rows: Sequence[int]) -> list[tuple[Key, str | None]]:
        """(key, content hash) of each row. Raises StoreCorruptError."""
        return [((tenant, doc_id), content_hash) for tenant, doc_id, content_hash in self._parsed("head", rows)]

    def payloads(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The payload of each row. Raises StoreCorruptError."""
        return self._parsed("payload", rows)

    def document(self, row: int) -> Document:
        """All of it, the payload as text."""
        key, content_hash = self.head(row)
        return Document(key, self._texts("payload", [row])[0].decode(), content_hash)

    def _texts(self, name: str, rows: Sequence[int]) -> list[bytes]:
        start, whole = self._arrays[f"{name}_start"], self._arrays[name].data
        wanted = np.asarray(rows, np.int64)
        return [bytes(whole[begin:end]) for begin, end in zip(start[wanted].tolist(), start[wanted + 1].tolist(), strict=True)]

    def _parsed(self, name: str, rows: Sequence[int]) -> list[Any]:
        """JSON values, parsed as one list: a call for each would take longer than the search that found the rows."""
        texts = self._texts(name, rows)
        try:
            values: list[Any] = json.loads(b"[" + b",".join(texts) + b"]")
        except ValueError as error:
            raise self._damaged(rows) from error
        if len(values) != len(rows):
            raise self._damaged(rows)
        return values

    def _damaged(self, rows: Sequence[int]) -> StoreCorruptError:
        which = f"document {rows[0]}" if len(rows) == 1 else f"one of {len(rows)} documents"
        return StoreCorruptError(f"{self._where}: {which} is damaged; restore it from a backup, or ingest anew.")


def owned_rows(heads: Sequence[tuple[Key, str | None]], tenant: str) -> NDArray[np.bool_]:
    """[rows] which of them belong to a tenant."""
    return np.fromiter((owner == tenant for (owner, _), _ in heads), np.bool_, len(heads))


def key_hashes(keys: Iterable[Key]) -> NDArray[np.uint64]:
    """64 bits for each key."""
    digests = [hashlib.blake2b(_key_bytes(key), digest_size=8).digest() for key in keys]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def payload_text(payload: Mapping[str, Any]) -> str:
    """A payload as JSON."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), default=dict)


def _key_bytes(key: Key) -> bytes:
    tenant, doc_id = key
    return doc_id.encode() if tenant is None else b"\0" + tenant.encode() + b"\0" + doc_id.encode()


def _blob(texts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    start = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=start[1:])
    return np.frombuffer(b"".join(texts), np.uint8), start


def _rises(offsets: NDArray[Any], rows: int, size: int) -> bool:
    known = offsets.dtype == np.int64 and len(offsets) == rows + 1
    return bool(known and offsets[0] == 0 and offsets[-1] == size and np.all(offsets[1:] >= offsets[:-1]))
