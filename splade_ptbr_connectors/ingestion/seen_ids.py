"""Which document ids an input has brought so far, in 16 bytes each: millions of them as Python strings would not fit into memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator


class SeenIds:
    """Which ids came before, and on which line: an 8-byte hash and the line in an open-addressed table.

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
