"""Items: the records of an input, numbered, checked, and known to be new, unchanged or rejected."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, RecordError
from ..records import EncodedRecord, Record
from ..sources import Broken, Row
from ..stores.base import Store
from ..stores.payloads import check_names
from ..vectors import SparseVector
from .dead_letter import dead_line
from .ready import ReadyVectors, as_json

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
        replaces: the store held another version of it when it was looked up.
        nbytes: memory held by it, roughly, without a vector that was encoded here.
    """

    line: int
    mark: str
    record: Record | EncodedRecord | None = None
    reason: str = ""
    dead: str = ""
    vector: SparseVector | None = None
    replaces: bool = False
    nbytes: int = _BYTES_BESIDE_TEXT

    @property
    def text(self) -> str | None:
        """What is yet to be encoded."""
        return self.record.content if isinstance(self.record, Record) and self.vector is None else None

    def reject(self, reason: str, record: object) -> None:
        """Mark as rejected."""
        self.reason, self.dead = reason, dead_line(self.line, reason, record)
        self.drop()

    def drop(self) -> None:
        """Nothing more is to be done with it."""
        self.record = self.vector = None


def read_items(records: Iterable[Any], ready: ReadyVectors | None = None, seen: SeenIds | None = None) -> Iterator[Item]:
    """Check every record. Nothing is raised for a bad one: it comes out rejected, in its place.

    Args:
        records: mappings, Record objects, or the Row and Broken of a source.
        ready: which records may bring their own vector; None takes all for texts.
        seen: remembers the ids for the caller.

    Raises:
        ModelMismatchError: a record's own vector is of another model.
    """
    seen = seen or SeenIds()
    for number, raw in enumerate(records, 1):
        row = raw if isinstance(raw, Row | Broken) else Row(number, raw)
        yield _broken(row) if isinstance(row, Broken) else _checked(row, ready, seen)


def without_unchanged(items: Iterable[Item], store: Store, size: int) -> Iterator[Item]:
    """Drop the record of items that the store already holds with the same content; looked up `size` at a time."""
    for lot in _lots(items, size):
        stored = store.content_hashes([item.record.doc_id for item in lot if item.record])
        for item in lot:
            if item.record is not None:
                known = stored.get(item.record.doc_id)
                item.replaces = known is not None
                if known == item.mark:
                    item.drop()
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
        key = _key(doc_id)
        slot = self._slot(key)
        if self._keys[slot]:
            return self._lines[slot]
        self._keys[slot], self._lines[slot] = key, line
        self._count += 1
        if 3 * self._count > 2 * len(self._keys):
            self._grow()
        return line

    def line_of(self, doc_id: str) -> int:
        """The line that the id was first seen on, 0 when it was not."""
        return self._lines[self._slot(_key(doc_id))]

    def lines(self) -> Iterator[int]:
        """The first lines of all ids, in no order."""
        return (line for line in self._lines if line)

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


def _key(doc_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(doc_id.encode(), digest_size=8).digest()) or 1  # 0 marks an empty slot


def _checked(row: Row, ready: ReadyVectors | None, seen: SeenIds) -> Item:
    raw = _as_mapping(row.raw)
    try:
        record = Record.from_mapping(raw) if ready is None else ready.read(raw)
        check_names(record.doc_id, record.payload)
        first = seen.first_line(record.doc_id, row.line)
        if first != row.line:
            raise RecordError(f"duplicate _id {record.doc_id!r}, first on line {first}.")
    except InputError as error:
        return _rejected(row.line, str(error), as_json(raw))
    except RecursionError:
        return _rejected(row.line, "the record is nested too deep.", raw)
    vector = record.vector if isinstance(record, EncodedRecord) else None
    return Item(row.line, record.content_hash, record, vector=vector, nbytes=_BYTES_BESIDE_TEXT + _size(record))


def _as_mapping(raw: Any) -> Any:
    if isinstance(raw, Record):  # a dataclass checks nothing by itself
        return {"_id": raw.doc_id, "title": raw.title, "text": raw.text, **raw.fields} | ({} if raw.dense is None else {"dense": raw.dense})
    return raw


def _broken(row: Broken) -> Item:
    return _rejected(row.line, row.reason, row.text)


def _rejected(line: int, reason: str, record: object) -> Item:
    dead = dead_line(line, reason, record)
    return Item(line, dead, None, reason, dead, nbytes=_BYTES_BESIDE_TEXT + len(dead))


def _size(record: Record | EncodedRecord) -> int:
    text = len(record.title) + len(record.text) if isinstance(record, Record) else record.vector.nbytes
    fields = record.fields if isinstance(record, Record) else record.payload
    values = sum([len(value) if isinstance(value, str) else 128 for value in fields.values()])
    return len(record.doc_id) + text + values + 32 * len(record.dense or ())


def _lots(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    lot: list[Item] = []
    for item in items:
        lot.append(item)
        if len(lot) == size:
            yield lot
            lot = []
    if lot:
        yield lot
