"""Files of one name a line, beside binary ones: each name must be a line that reads back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import InputFileError, RecordError
from ..evaluation.files import read_lines
from .files import ByteReader


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
