"""Known positives of millions of queries in eight bytes a pair: sorted, searched, memory-mapped."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

PENDING = 4_000_000
"""Pairs that are collected before repeated ones are merged."""
_SHIFT = np.uint64(32)


def text_number(text: str) -> int:
    """A 32-bit hash. Of a query and of a document together it is 64 bits: two pairs that share them are one in 10^19.

    Where they do, a document is kept from being a negative of the query that it could have been; nothing else follows.
    """
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "little")


def packed(queries: NDArray[Any], documents: NDArray[Any]) -> NDArray[np.uint64]:
    """(query, document) pairs of numbers below 2^32 as one number each."""
    return (queries.astype(np.uint64) << _SHIFT) | documents.astype(np.uint64)


class KnownPositives:
    """Which documents are right for which query; both are numbers below 2^32: rows, or `text_number`."""

    def __init__(self, pairs: NDArray[np.uint64]) -> None:
        """`pairs`: sorted, as PairCollector.result gives them."""
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def contains(self, queries: NDArray[Any], documents: NDArray[Any]) -> NDArray[np.bool_]:
        """[n] whether each document is a known positive of the query beside it."""
        wanted = packed(queries, documents)
        if not len(self._pairs):
            return np.zeros(len(wanted), dtype=np.bool_)
        places = np.minimum(np.searchsorted(self._pairs, wanted), len(self._pairs) - 1)
        return np.asarray(self._pairs[places] == wanted)

    def documents(self, query: int) -> NDArray[np.int64]:
        """The known positives of a query, ascending."""
        low, high = np.searchsorted(self._pairs, np.array([query << 32, (query << 32) | 0xFFFFFFFF], dtype=np.uint64), side="left")
        high += int(high < len(self._pairs) and int(self._pairs[high]) == (query << 32) | 0xFFFFFFFF)
        return (self._pairs[low:high] & np.uint64(0xFFFFFFFF)).astype(np.int64)


class PairCollector:
    """Gathers pairs; memory grows with the number of different ones."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint64]] = []
        self._pending = 0

    def add(self, queries: NDArray[Any], documents: NDArray[Any]) -> None:
        """Pairs, in any order, repeated or not."""
        self._parts.append(np.unique(packed(queries, documents)))
        self._pending += len(self._parts[-1])
        if self._pending > PENDING:
            self._parts, self._pending = [self.result()], 0

    def result(self) -> NDArray[np.uint64]:
        """Every pair once, sorted."""
        return np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *self._parts]))
