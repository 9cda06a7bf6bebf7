"""Window: up to 65,536 documents and their postings, as arrays in memory or mapped from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreCorruptError
from ...vectors import SparseBatch
from .arrays import Arrays, read_arrays, write_arrays
from .layout import COUNT_BITS, FIELDS, Field
from .postings import BLOCK, GROUP, WINDOW, decoded, postings

_INVERTED = {
    "terms": np.uint32, "largest": np.float32, "start": np.int64, "column": np.int32, "posting_row": np.uint16,
    "posting_impact": np.uint8, "columns": np.uint8, "block_largest": np.uint8,
}  # fmt: skip
_FORWARD = {"forward_start": np.int64, "forward_weight": np.float32}


class Window:
    """The arrays of postings.postings(), and beside them, unless impacts are all that is kept, the documents themselves:
    forward_start [N+1] int64, forward_slot uint16 or uint32 (a place in `terms`), forward_weight float32.
    """

    def __init__(self, arrays: Arrays, where: str = "memory") -> None:
        """Raises StoreCorruptError for arrays that a search could not rely on: it does not check its way through them."""
        self.arrays = arrays
        self.rows = int(arrays["shape"][0]) if len(arrays.get("shape", ())) == 1 else -1
        self.exact = "forward_start" in arrays
        if not self._sound():
            raise StoreCorruptError(f"{where} holds arrays that contradict each other: restore the folder from a backup, or ingest anew.")

    @classmethod
    def build(cls, batch: SparseBatch, *, exact: bool = True) -> Window:
        """Out of up to WINDOW documents. Not exact: weights are rounded to 8 bits, and nothing else is kept."""
        inverted, slots = postings(batch, rounded=not exact)
        arrays: Arrays = {"shape": np.array([len(batch)], np.int64), **inverted}
        if exact:
            arrays |= {
                "forward_start": batch.indptr,
                "forward_slot": slots,
                "forward_weight": batch.weights,
            }
        return cls({name: np.ascontiguousarray(array) for name, array in arrays.items()})

    @classmethod
    def read(cls, path: Path, *, verify: bool = False) -> Window:
        """Map a file that write() made. Raises as read_arrays() does."""
        return cls(read_arrays(path, verify=verify).arrays, str(path))

    def write(self, path: Path) -> None:
        """Write all arrays to a file and flush it to disk. Raises OSError."""
        write_arrays(path, self.arrays)

    def __len__(self) -> int:
        return self.rows

    @property
    def postings(self) -> int:
        """Number of weights."""
        if self.exact:
            return int(self.arrays["forward_start"][-1])
        return len(self.arrays["posting_row"]) + int(np.count_nonzero(self.arrays["columns"]))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def fields(self) -> NDArray[np.int64]:
        """The window's row of the table that kernels read; valid as long as the window lives."""
        row = np.zeros(FIELDS, np.int64)
        row[Field.ROWS], row[Field.PADDED_ROWS] = self.rows, -(-self.rows // GROUP) * GROUP
        names = ("posting_row", "posting_impact", "columns", "block_largest")
        for name in (*names, *(("forward_start", "forward_slot", "forward_weight") if self.exact else ())):
            row[Field[name.upper()]] = self.arrays[name].ctypes.data
        row[Field.WIDE_SLOTS] = self.exact and self.arrays["forward_slot"].dtype == np.uint32
        return row

    def batch(self, rows: NDArray[np.int64] | None = None) -> SparseBatch:
        """The documents (of these rows); an index of impacts gives the weights that these stand for."""
        start, slots, weights = self._documents()
        if rows is not None:
            lengths = np.diff(start)[rows]
            offsets = np.zeros(len(rows) + 1, np.int64)
            np.cumsum(lengths, out=offsets[1:])
            places = np.repeat(start[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
            start, slots, weights = offsets, slots[places], weights[places]
        return SparseBatch(start, self.arrays["terms"][slots], weights)

    def _documents(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Where each document starts, the places of its terms, and their weights."""
        a = self.arrays
        if self.exact:
            return a["forward_start"], a["forward_slot"], a["forward_weight"]
        frequency = np.diff(a["start"])
        columns, in_column = np.nonzero(a["columns"])
        slots = np.concatenate([np.repeat(np.arange(len(frequency)), frequency), np.flatnonzero(a["column"] >= 0)[columns]])
        rows = np.concatenate([a["posting_row"].astype(np.int64), in_column])
        impacts = np.concatenate([a["posting_impact"], a["columns"][columns, in_column]])
        order = np.lexsort((slots, rows))
        start = np.zeros(self.rows + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=self.rows), out=start[1:])
        return start, slots[order], decoded(impacts, a["largest"][slots])[order]

    def _sound(self) -> bool:
        a, types = self.arrays, _INVERTED | (_FORWARD if self.exact else {})
        if not 0 <= self.rows <= WINDOW or any(name not in a or a[name].dtype != kind for name, kind in types.items()):
            return False
        terms, padded = len(a["terms"]), -(-self.rows // GROUP) * GROUP
        columns = len(a["columns"])
        sizes = len(a["largest"]) == len(a["column"]) == terms and len(a["start"]) == terms + 1
        shapes = a["columns"].shape == (columns, padded) and a["block_largest"].shape == (columns, padded // BLOCK)
        ends = sizes and _rises(a["start"], min(len(a["posting_row"]), len(a["posting_impact"])))
        ends = ends and int(np.diff(a["start"]).max(initial=0)) < 1 << COUNT_BITS
        return bool(ends and shapes and np.all(a["column"] < columns) and (not self.exact or self._forward_sound()))

    def _forward_sound(self) -> bool:
        a, slot = self.arrays, self.arrays.get("forward_slot", np.empty(0))
        known = slot.dtype in (np.uint16, np.uint32) and len(a["forward_start"]) == self.rows + 1
        return known and _rises(a["forward_start"], min(len(slot), len(a["forward_weight"])))


def _rises(offsets: NDArray[np.int64], size: int) -> bool:
    return bool(offsets[0] == 0 and offsets[-1] == size and np.all(offsets[1:] >= offsets[:-1]))
