"""Segment: up to 65,536 documents of a store in a file that is searched. Derived from the database, and made anew where it differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreCorruptError
from .arrays import Arrays, read_arrays, write_arrays
from .schema import Documents, Numbers, Registered
from .window import Window

SUFFIX, BUILDING = ".segment", ".building"
_NUMBER, _ID, _ID_START = _NAMES = "number", "id", "id_start"


@dataclass(frozen=True, eq=False)
class Segment:
    """The documents with these numbers.

    Attributes:
        registered: what the database says about it.
        numbers: [rows] int64, ascending: the number of the document in each row.
        window: their postings and vectors.
        id_bytes, id_start: their ids in UTF-8, one behind the other, and where each starts, [rows + 1] int64.
        written: False for one that was made in memory because its file is damaged.
    """

    registered: Registered
    numbers: Numbers
    window: Window
    id_bytes: NDArray[np.uint8]
    id_start: NDArray[np.int64]
    written: bool = True

    @classmethod
    def read(cls, folder: Path, registered: Registered, store_id: str) -> Segment:
        """Map a file, all of which is compared with its checksum. Raises StoreCorruptError, StoreFormatError and OSError."""
        path = folder / registered.name
        file = read_arrays(path, verify=True)
        if file.checksum != registered.checksum or file.about != _about(registered, store_id):
            raise StoreCorruptError(f"{path} is not the file that the database names: it belongs to another store or another time.")
        window = Window({name: array for name, array in file.arrays.items() if name not in _NAMES}, str(path))
        return cls(registered, file.arrays[_NUMBER], window, file.arrays[_ID], file.arrays[_ID_START])

    @classmethod
    def rebuilt(cls, registered: Registered, documents: Documents) -> Segment:
        """In memory, out of the database."""
        ids = _id_arrays(documents.ids)
        return cls(registered, documents.numbers, Window.build(documents.vectors), ids[_ID], ids[_ID_START], written=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def doc_id(self, row: int) -> str:
        """Of a row's document."""
        return self.id_bytes[self.id_start[row] : self.id_start[row + 1]].tobytes().decode()

    def documents(self, rows: Numbers) -> Documents:
        """Those of these rows."""
        return Documents(self.numbers[rows], tuple(map(self.doc_id, rows.tolist())), self.window.batch(rows))

    def rows_of(self, numbers: Numbers) -> NDArray[np.int64]:
        """The rows of those of these numbers (ascending) that are here."""
        wanted = numbers[np.searchsorted(numbers, self.registered.first, "right") : np.searchsorted(numbers, self.registered.last, "right")]
        rows = np.searchsorted(self.numbers, wanted)
        inside = rows < len(self.numbers)
        found: NDArray[np.int64] = rows[inside][self.numbers[rows[inside]] == wanted[inside]]
        return found


def write_segment(folder: Path, about: Registered, store_id: str, documents: Documents) -> Registered:
    """Build and write a segment under its name and BUILDING; what the database is to say about it. Raises OSError."""
    arrays = {**Window.build(documents.vectors).arrays, _NUMBER: documents.numbers, **_id_arrays(documents.ids)}
    return about._replace(checksum=write_arrays(folder / (about.name + BUILDING), arrays, _about(about, store_id)))


def _id_arrays(ids: Sequence[str]) -> Arrays:
    encoded = [doc_id.encode() for doc_id in ids]
    start = np.zeros(len(ids) + 1, np.int64)
    np.cumsum([len(one) for one in encoded], out=start[1:])
    return {_ID: np.frombuffer(b"".join(encoded), np.uint8), _ID_START: start}


def _about(registered: Registered, store_id: str) -> dict[str, object]:
    return {"store": store_id, "first": registered.first, "last": registered.last, "revision": registered.revision}
