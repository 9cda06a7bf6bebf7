"""Segment: up to 65,536 documents of a store in a file that is searched. Derived from the database, and made anew where it differs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreCorruptError
from .arrays import Arrays, read_arrays, write_arrays
from .keys import KeyTable
from .rows import Numbers
from .schema import Documents, Places, Registered
from .window import Window

SUFFIX, BUILDING = ".segment", ".building"
_NAMES = ("number", "id", "id_start", "key_hash", "key_row")
_PLACE = "place"  # in a segment that holds more than first passages


@dataclass(frozen=True, eq=False)
class Segment:
    """The documents with these numbers.

    Attributes:
        registered: what the database says about it.
        numbers: [rows] int64, ascending: the number of the document in each row.
        window: their postings and vectors.
        id_bytes, id_start: their ids in UTF-8, one behind the other, and where each starts, [rows + 1] int64.
        keys: finds them.
        places: [rows] int32, the place of each among the passages of its document; None: all are the first.
        written: False for one that was made in memory because its file is damaged.
    """

    registered: Registered
    numbers: Numbers
    window: Window
    id_bytes: NDArray[np.uint8]
    id_start: NDArray[np.int64]
    keys: KeyTable
    places: Places | None = None
    written: bool = True

    @classmethod
    def read(cls, folder: Path, registered: Registered, store_id: str) -> Segment:
        """Map a file, all of which is compared with its checksum. Raises StoreCorruptError, StoreFormatError and OSError."""
        path = folder / registered.name
        file = read_arrays(path, verify=True)
        if file.checksum != registered.checksum or file.about != _about(registered, store_id):
            raise StoreCorruptError(f"{path} is not the file that the database names: it belongs to another store or another time.")
        window = Window({name: array for name, array in file.arrays.items() if name not in (*_NAMES, _PLACE)}, str(path))
        return cls(registered, window=window, **_own(file.arrays))

    @classmethod
    def rebuilt(cls, registered: Registered, documents: Documents) -> Segment:
        """In memory, out of the database."""
        return cls(registered, window=Window.build(documents.vectors), **_own(_arrays(documents)), written=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def doc_id(self, row: int) -> str:
        """Of a row's document."""
        return self.id_bytes[self.id_start[row] : self.id_start[row + 1]].tobytes().decode()

    def documents(self, rows: Numbers) -> Documents:
        """Those of these rows."""
        ids, places = tuple(map(self.doc_id, rows.tolist())), self.places_of(rows)
        return Documents(self.numbers[rows], ids, self.keys.by_row()[rows], self.window.batch(rows), places)

    def places_of(self, rows: Numbers) -> Places:
        """The places of these rows."""
        return np.zeros(len(rows), np.int32) if self.places is None else self.places[rows]

    def rows_of(self, numbers: Numbers) -> NDArray[np.int64]:
        """The rows of those of these numbers (ascending) that are here."""
        wanted = numbers[np.searchsorted(numbers, self.registered.first, "right") : np.searchsorted(numbers, self.registered.last, "right")]
        rows = np.searchsorted(self.numbers, wanted)
        inside = rows < len(self.numbers)
        found: NDArray[np.int64] = rows[inside][self.numbers[rows[inside]] == wanted[inside]]
        return found


def write_segment(folder: Path, about: Registered, store_id: str, documents: Documents) -> Registered:
    """Build and write a segment under its name and BUILDING; what the database is to say about it. Raises OSError."""
    arrays = {**Window.build(documents.vectors).arrays, **_arrays(documents)}
    path = folder / (about.name + BUILDING)
    try:
        return about._replace(checksum=write_arrays(path, arrays, _about(about, store_id)))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _arrays(documents: Documents) -> Arrays:
    encoded, keys = [doc_id.encode() for doc_id in documents.ids], KeyTable.of(documents.hashes)
    start = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(one) for one in encoded], out=start[1:])
    values = (documents.numbers, np.frombuffer(b"".join(encoded), np.uint8), start, *keys)
    arrays: Arrays = dict(zip(_NAMES, values, strict=True))
    return {**arrays, _PLACE: documents.places} if documents.places.any() else arrays


def _own(arrays: Arrays) -> dict[str, Any]:
    numbers, id_bytes, id_start, hashes, rows = (arrays[name] for name in _NAMES)
    keys = KeyTable(hashes, rows)
    return {"numbers": numbers, "id_bytes": id_bytes, "id_start": id_start, "keys": keys, "places": arrays.get(_PLACE)}


def _about(registered: Registered, store_id: str) -> dict[str, object]:
    return {"store": store_id, "first": registered.first, "last": registered.last, "revision": registered.revision}
