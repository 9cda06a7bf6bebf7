"""Files of other tools: read with errors that name the place, written whole or not at all, .gz by name."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from ..atomic import replacing
from ..errors import InputFileError, RecordError, TextError, VectorError
from ..evaluation.files import read_lines
from ..records import EncodedRecord
from ..sources import Broken, open_source
from ..vectors import SparseVector

GZ = ".gz"
STEP = 2**24  # bytes taken at once: what a wrong length can make us allocate beyond the file's own content
MOST_PACKED = 1032  # deflate gives at most so many bytes for one


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes its name when the block ends well; compressed if the name ends in .gz.

    Raises:
        InputFileError: a folder or a device, the folder is missing or not writable, or the disk is full. Nothing is left behind.
    """
    if path.exists() and not path.is_file():
        raise InputFileError(f"{path} is not a regular file: name a new one.")
    try:
        with replacing(path.resolve()) as text:
            if path.suffix != GZ:
                yield text.buffer
                return
            with gzip.GzipFile(filename="", mode="wb", fileobj=text.buffer, compresslevel=6, mtime=0) as packed:
                yield cast(BinaryIO, packed)
    except OSError as error:
        raise InputFileError(f"{path} cannot be written: {error.strerror or error}.") from error


class ByteReader:
    """A binary file from front to back, unpacked if it is gzip; what it cannot give is an InputFileError that names the byte."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        self._raw: IO[bytes] | None = None
        try:
            self._raw = open(path, "rb")
            packed = self._raw.read(2) == b"\x1f\x8b"
            self._raw.seek(0)
        except OSError as error:
            self.close()
            raise InputFileError(f"{path} cannot be read: {error.strerror or error}.") from error
        self._file = cast(IO[bytes], gzip.GzipFile(fileobj=self._raw)) if packed else self._raw
        self._size, self._packed = os.fstat(self._raw.fileno()).st_size, packed

    def __enter__(self) -> ByteReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._raw is not None:
            self._raw.close()

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes. Memory grows with what is there, not with what is asked for."""
        found = bytearray()
        while len(found) < size:
            part = self._read(min(STEP, size - len(found)))
            if not part:
                self.fail(f"the file ends within {what}: {size:,} bytes are announced, {len(found):,} are there")
            found += part
        self.position += size
        return bytes(found)

    def check_room(self, count: int, size: int, what: str, *, distinct: bool) -> None:
        """Refuse a count of entries, of at least `size` bytes each, that the file cannot hold, however well it is packed.

        Args:
            distinct: no entry is like another: none can then be a part of what deflate repeats, and each takes a bit at least.
        """
        most = self._size // size if not self._packed else 8 * self._size if distinct else MOST_PACKED * self._size // size
        if count > most:
            self.fail(f"{what} do not fit into this file: damaged, or not of this format")

    def at_end(self) -> bool:
        """Whether nothing follows; if something does, reading cannot continue."""
        return not self._read(1)

    def last(self) -> bytes:
        """The last byte of a plain file, b"" if it has none."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(size - 1, 0))
        return self._read(1)

    def fail(self, why: str) -> Any:
        """Raise InputFileError with the position."""
        raise InputFileError(f"{self.path}, byte {self.position:,}: {why}.")

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise InputFileError(f"{self.path}, byte {self.position:,}: the data cannot be read ({error}).") from error


# -- one JSON object a line -------------------------------------------------------------------------------------------


def json_objects(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """("FILE, line N", object) of a JSONL file. Raises InputFileError for a broken line, and for anything but an object."""
    for row in open_source(path, format="jsonl"):
        where = f"{path}, line {row.line}"
        if isinstance(row, Broken):
            raise InputFileError(f"{where}: {row.reason}.")
        if not isinstance(row.raw, Mapping):
            raise InputFileError(f"{where}: {type(row.raw).__name__} instead of a JSON object.")
        yield where, row.raw


@contextmanager
def located(where: str) -> Iterator[None]:
    """Errors about one record, with the place where it stands."""
    try:
        yield
    except (RecordError, TextError, VectorError) as error:
        raise InputFileError(f"{where}: {error}") from error


def record_of(raw: Mapping[str, Any], vector: SparseVector, text_field: str) -> EncodedRecord:
    """The record of a foreign JSON object. Raises RecordError or TextError for its id or text."""
    text = raw.get(text_field)
    if text is not None and not isinstance(text, str):
        raise RecordError(f'"{text_field}" is {type(text).__name__}: it must be a string.')
    return EncodedRecord.from_mapping({"_id": raw.get("id"), "vector": vector} | ({"text": text} if text else {}))


def vector_field(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The "vector" of a foreign JSON object. Raises VectorError if there is none."""
    vector = raw.get("vector")
    if not isinstance(vector, Mapping):
        raise VectorError(f'"vector" is {type(vector).__name__}: it must be an object {{term: weight}}.')
    return vector


# -- one name a line, which must read back as it was -------------------------------------------------------------------


def one_line(name: str, what: str) -> bytes:
    """The name as a line. Raises RecordError for one that would read back as another, or as two."""
    if not name.strip() or "\n" in name or "\r" in name or name.startswith("\ufeff"):
        raise RecordError(f"{what} {name[:60]!r} cannot be written: it must be one line that is not blank.")
    return name.encode() + b"\n"


def read_names(path: Path) -> Iterator[str]:
    """The names of a file; none if it is empty.

    Raises:
        InputFileError: no such file, not UTF-8, or its last line does not end: a name cut short may be another name.
    """
    with ByteReader(path) as reader:
        end = reader.last()
    if end not in (b"", b"\n"):
        raise InputFileError(f"{path} does not end with a line break: it was cut off.")
    return (line for _, line in read_lines(path)) if end else iter(())
