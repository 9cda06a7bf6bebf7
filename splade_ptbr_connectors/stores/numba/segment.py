"""Segment: up to 65,536 documents of a store in a file that is searched. Derived from the database, and made anew where it differs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreCorruptError
from ...vectors import SparseBatch
from .arrays import read_arrays, write_arrays
from .schema import Numbers, Registered
from .window import Window

SUFFIX, BUILDING = ".segment", ".building"
_NUMBER = "number"


@dataclass(frozen=True, eq=False)
class Segment:
    """The documents with these numbers.

    Attributes:
        registered: what the database says about it.
        numbers: [rows] int64, ascending: the number of the document in each row.
        window: their postings and vectors.
        written: False for one that was made in memory because its file is damaged.
    """

    registered: Registered
    numbers: Numbers
    window: Window
    written: bool = True

    @classmethod
    def read(cls, folder: Path, registered: Registered, store_id: str) -> Segment:
        """Map a file, all of which is compared with its checksum. Raises StoreCorruptError, StoreFormatError and OSError."""
        path = folder / registered.name
        file = read_arrays(path, verify=True)
        if file.checksum != registered.checksum or file.about != _about(registered, store_id):
            raise StoreCorruptError(f"{path} is not the file that the database names: it belongs to another store or another time.")
        window = Window({name: array for name, array in file.arrays.items() if name != _NUMBER}, str(path))
        return cls(registered, file.arrays[_NUMBER], window)

    @classmethod
    def rebuilt(cls, registered: Registered, numbers: Numbers, vectors: SparseBatch) -> Segment:
        """In memory, out of the database."""
        return cls(registered, numbers, Window.build(vectors), written=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def rows_of(self, numbers: Numbers) -> NDArray[np.int64]:
        """The rows of those of these numbers (ascending) that are here."""
        wanted = numbers[np.searchsorted(numbers, self.registered.first, "right") : np.searchsorted(numbers, self.registered.last, "right")]
        rows = np.searchsorted(self.numbers, wanted)
        inside = rows < len(self.numbers)
        found: NDArray[np.int64] = rows[inside][self.numbers[rows[inside]] == wanted[inside]]
        return found


def write_segment(folder: Path, about: Registered, store_id: str, numbers: Numbers, vectors: SparseBatch) -> Registered:
    """Build and write a segment under its name and BUILDING; what the database is to say about it. Raises OSError."""
    arrays = {**Window.build(vectors).arrays, _NUMBER: numbers}
    return about._replace(checksum=write_arrays(folder / (about.name + BUILDING), arrays, _about(about, store_id)))


def _about(registered: Registered, store_id: str) -> dict[str, object]:
    return {"store": store_id, "first": registered.first, "last": registered.last, "revision": registered.revision}
