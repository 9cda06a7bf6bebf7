"""Items: the records of an input, numbered, checked, and known to be new, unchanged or rejected."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, RecordError
from ..records import Record
from ..sources import Broken, Row
from ..stores.base import Store
from ..stores.payloads import check_names
from ..vectors import SparseVector
from .dead_letter import dead_line

_BYTES_BESIDE_TEXT = 512  # of an item, roughly


@dataclass(slots=True)
class Item:
    """One record on its way.

    Attributes:
        line: where it stands in the input, from 1.
        mark: content hash of a valid record, dead-letter line of another: identifies the record within its input.
        record: None once nothing more is to be done with it.
        reason: why it is rejected, "" if it is not.
        dead: its line of the dead-letter file.
        nbytes: memory held by it, roughly, without the vector.
    """

    line: int
    mark: str
    record: Record | None = None
    reason: str = ""
    dead: str = ""
    vector: SparseVector | None = None
    nbytes: int = _BYTES_BESIDE_TEXT

    def reject(self, reason: str, record: object) -> None:
        """Mark as rejected."""
        self.reason, self.dead, self.record = reason, dead_line(self.line, reason, record), None


def read_items(records: Iterable[Any]) -> Iterator[Item]:
    """Check every record. Nothing is raised for a bad one: it comes out rejected, in its place.

    Args:
        records: mappings, Record objects, or the Row and Broken of a source.
    """
    seen = SeenIds()
    for number, raw in enumerate(records, 1):
        row = raw if isinstance(raw, Row | Broken) else Row(number, raw)
        yield _broken(row) if isinstance(row, Broken) else _checked(row, seen)


def without_unchanged(items: Iterable[Item], store: Store, size: int) -> Iterator[Item]:
    """Drop the record of items that the store already holds with the same content; looked up `size` at a time."""
    if store.count() == 0:
        yield from items
        return
    for lot in _lots(items, size):
        stored = store.content_hashes([item.record.doc_id for item in lot if item.record])
        for item in lot:
            if item.record and stored.get(item.record.doc_id) == item.mark:
                item.record = None
            yield item


class SeenIds:
    """Which ids came before, and on which line: 16 bytes an id (an 8-byte hash and the line) in an open-addressed table.

    Two different ids have the same hash once in about 2**64 / n**2 inputs of n records.
    """

    def __init__(self) -> None:
        self._count = 0
        self._resize(1024)

    def first_line(self, doc_id: str, line: int) -> int:
        """Remember the id; returns the line it was first seen on, `line` itself when it is new."""
        key = int.from_bytes(hashlib.blake2b(doc_id.encode(), digest_size=8).digest()) or 1  # 0 marks an empty slot
        slot = self._slot(key)
        if self._keys[slot]:
            return self._lines[slot]
        self._keys[slot], self._lines[slot] = key, line
        self._count += 1
        if 3 * self._count > 2 * len(self._keys):
            self._grow()
        return line

    def _slot(self, key: int) -> int:
        keys, mask = self._keys, len(self._keys) - 1
        slot = key & mask
        while keys[slot] and keys[slot] != key:
            slot = (slot + 1) & mask
        return slot

    def _resize(self, size: int) -> None:
        self._keys = array("Q", bytes(8 * size))
        self._lines = array("Q", bytes(8 * size))

    def _grow(self) -> None:
        keys, lines = self._keys, self._lines
        self._resize(2 * len(keys))
        for key, line in zip(keys, lines, strict=True):
            if key:
                slot = self._slot(key)
                self._keys[slot], self._lines[slot] = key, line


def _checked(row: Row, seen: SeenIds) -> Item:
    raw = _as_mapping(row.raw)
    try:
        record = Record.from_mapping(raw)
        check_names(record.doc_id, record.fields)
        first = seen.first_line(record.doc_id, row.line)
        if first != row.line:
            raise RecordError(f"duplicate _id {record.doc_id!r}, first on line {first}.")
    except InputError as error:
        return _rejected(row.line, str(error), raw)
    except RecursionError:
        return _rejected(row.line, "the record is nested too deep.", raw)
    return Item(row.line, record.content_hash, record, nbytes=_BYTES_BESIDE_TEXT + _size(record))


def _as_mapping(raw: Any) -> Any:
    if isinstance(raw, Record):  # a dataclass checks nothing by itself
        return {"_id": raw.doc_id, "title": raw.title, "text": raw.text, **raw.fields}
    return raw


def _broken(row: Broken) -> Item:
    return _rejected(row.line, row.reason, row.text)


def _rejected(line: int, reason: str, record: object) -> Item:
    dead = dead_line(line, reason, record)
    return Item(line, dead, None, reason, dead, nbytes=_BYTES_BESIDE_TEXT + len(dead))


def _size(record: Record) -> int:
    fields = sum([len(value) if isinstance(value, str) else 128 for value in record.fields.values()])
    return len(record.doc_id) + len(record.title) + len(record.text) + fields


def _lots(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    lot: list[Item] = []
    for item in items:
        lot.append(item)
        if len(lot) == size:
            yield lot
            lot = []
    if lot:
        yield lot
