"""Finds documents by tenant and id: a sorted table of hashes for every segment, made once, where an index of the database would be
rewritten all over by every batch. What a table finds are candidates; the database says whose they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


def key_hashes(keys: Iterable[tuple[str, str]]) -> Hashes:
    """64 bits for each (tenant, document id)."""
    digests = [hashlib.blake2b(f"{tenant}\0{doc_id}".encode(), digest_size=8).digest() for tenant, doc_id in keys]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


class KeyTable(NamedTuple):
    """Hashes, ascending, and the row of each."""

    hashes: Hashes
    rows: NDArray[np.uint32]

    @classmethod
    def of(cls, hashes: Hashes) -> KeyTable:
        """For the hashes of all rows, by row."""
        order = np.argsort(hashes, kind="stable")
        return cls(hashes[order], order.astype(np.uint32))

    def by_row(self) -> Hashes:
        """What of() was given."""
        hashes = np.empty(len(self.hashes), np.uint64)
        hashes[self.rows] = self.hashes
        return hashes

    def find(self, wanted: Hashes) -> NDArray[np.int64]:
        """The rows of all that have one of these hashes."""
        begins, ends = np.searchsorted(self.hashes, wanted, "left"), np.searchsorted(self.hashes, wanted, "right")
        found = np.flatnonzero(ends > begins).tolist()
        return np.concatenate([np.empty(0, np.int64), *[self.rows[begins[n] : ends[n]].astype(np.int64) for n in found]])
