"""Large text files in blocks of whole lines, and single lines of them by byte offset; every error names file and line."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.errors import InputFileError

BLOCK_BYTES = 16 * 2**20
MAX_LINE_BYTES = 64 * 2**20
_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_LONGEST_NUMBER = 18
"""Digits that always fit in int64."""


def require_plain(path: Path) -> None:
    """Raises InputFileError unless `path` is a file that can be read by byte offset: there, regular, not empty, not compressed."""
    try:
        if path.is_dir():
            raise InputFileError(f"{path} is a folder: name a file in it.")
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputFileError(f"{path} is a pipe or a device: it is read by byte offset, so it must be a file.")
        with open(path, "rb") as file:
            head = file.read(4)
    except FileNotFoundError as error:
        raise InputFileError(f"no such file: {path} (are the data folder and the path in the recipe right?)") from error
    except OSError as error:
        raise InputFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    if head[:2] == b"\x1f\x8b" or path.suffix == ".gz":
        raise InputFileError(f"{path} is compressed: it is read by byte offset, so unpack it first: gunzip --keep {path.name}")
    if head.startswith(_UTF16_BOMS):
        raise InputFileError(f"{path} is UTF-16: convert it, for example with iconv -f UTF-16 -t UTF-8.")
    if not head.removeprefix(_BOM):
        raise InputFileError(f"{path} is empty.")


@dataclass(frozen=True)
class Block:
    """Whole lines of a file.

    Attributes:
        data: the lines; the last one ends with a newline, even where the file's last line does not.
        offset: byte of the file at which `data` begins.
        line: number of its first line, from 1.
    """

    path: Path
    data: bytes
    offset: int
    line: int

    @property
    def codes(self) -> NDArray[np.uint8]:
        """The bytes as numbers."""
        return np.frombuffer(self.data, dtype=np.uint8)

    def ends(self) -> NDArray[np.int64]:
        """Place of each line's newline within `data`."""
        return np.flatnonzero(self.codes == ord("\n"))

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(number, line without its end); a slow look for the exceptional block, and for formats that need one."""
        for number, line in enumerate(self.data[:-1].split(b"\n"), start=self.line):
            yield number, line.removesuffix(b"\r")

    def fail(self, line: int, why: str) -> NoReturn:
        """Raises InputFileError for the line with this number."""
        raise InputFileError(f"{self.path}, line {line}: {why}")

    def require_text(self) -> None:
        """Raises InputFileError with its line when something is not UTF-8, or a NUL character."""
        try:
            self.data.decode()
        except UnicodeDecodeError as error:
            line = self.line + self.data.count(b"\n", 0, error.start)
            byte = f"0x{self.data[error.start]:02X}"
            self.fail(line, f"not UTF-8 (byte {byte}): convert the file, for example with iconv -f LATIN1 -t UTF-8.")
        nul = self.data.find(b"\0")
        if nul >= 0:
            self.fail(self.line + self.data.count(b"\n", 0, nul), "a NUL character (binary data?): remove it.")


@dataclass(frozen=True)
class FileState:
    """What was read of a file: enough to see later that it is still the same.

    Attributes:
        size: bytes of the file.
        modified_ns: its time of modification.
        read: bytes that were read from its beginning: all of them, unless only some lines were asked for.
        sha256: of these bytes.
    """

    size: int
    modified_ns: int
    read: int
    sha256: str

    def still(self, path: Path) -> FileState | None:
        """The state of an unchanged file, None if it was changed. A file with another date alone is read again to tell."""
        found = path.stat()
        if found.st_size != self.size:
            return None
        if found.st_mtime_ns == self.modified_ns:
            return self
        return FileState(found.st_size, found.st_mtime_ns, self.read, self.sha256) if _sha256_of(path, self.read) == self.sha256 else None


def _sha256_of(path: Path, length: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while length > 0 and (part := file.read(min(BLOCK_BYTES, length))):
            digest.update(part)
            length -= len(part)
    return digest.hexdigest()


def read_blocks(path: Path, *, limit: int | None = None, done: Callable[[FileState], None] | None = None) -> Iterator[Block]:
    """The blocks of a file, with a progress bar on a terminal. Memory: a few blocks, whatever the size of the file.

    Args:
        limit: lines to read; None: all.
        done: called with what was read, at the end.

    Raises:
        InputFileError: as require_plain; or a line of more than 64 MiB.
    """
    from tqdm import tqdm

    require_plain(path)
    digest, read = hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as file, tqdm(**_bar(path)) as bar:
        before = os.fstat(file.fileno())
        for block in _limited(_whole_lines(path, file), limit):
            kept = block.data if block.offset + len(block.data) <= before.st_size else block.data[:-1]
            read = block.offset + len(kept)
            digest.update(_BOM + kept if block.line == 1 and block.offset else kept)
            yield block
            bar.update(len(kept))
    if done is not None:
        done(FileState(before.st_size, before.st_mtime_ns, read, digest.hexdigest()))


def _bar(path: Path) -> dict[str, Any]:
    total = path.stat().st_size
    return {"total": total, "desc": path.name, "unit": "B", "unit_scale": True, "disable": None, "file": sys.stderr}


def _whole_lines(path: Path, file: BinaryIO | Any) -> Iterator[Block]:
    rest, offset, line = b"", 0, 1
    while part := file.read(BLOCK_BYTES):
        if not offset and not rest and part.startswith(_BOM):
            part, offset = part[len(_BOM) :], len(_BOM)
        data, newline, rest = (rest + part).rpartition(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            number = line + (data + newline).count(b"\n")
            raise InputFileError(f"{path}, line {number}: more than {MAX_LINE_BYTES // 2**20} MiB; is this a text file?")
        if newline:
            yield Block(path, data + newline, offset, line)
            offset += len(data) + 1
            line += data.count(b"\n") + 1
    if rest:
        yield Block(path, rest + b"\n", offset, line)


def _limited(blocks: Iterator[Block], limit: int | None) -> Iterator[Block]:
    for block in blocks:
        if limit is None:
            yield block
            continue
        ends = block.ends()
        left = limit - (block.line - 1)
        yield block if len(ends) <= left else Block(block.path, block.data[: int(ends[left - 1]) + 1], block.offset, block.line)
        if len(ends) >= left:
            return


def whole_numbers(data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The fields data[start:end] as numbers; None when one of them is not a whole number as str(int) writes it (no sign, no 007)."""
    lengths = ends - starts
    if lengths.min(initial=1) < 1 or lengths.max(initial=1) > _LONGEST_NUMBER:
        return None
    if bool(((data[starts] == ord("0")) & (lengths > 1)).any()):
        return None
    values = np.zeros(len(starts), dtype=np.int64)
    for place in range(int(lengths.max(initial=0))):
        inside = lengths > place
        digits = data[np.where(inside, ends - 1 - place, starts)] - np.uint8(ord("0"))  # below "0" wraps to above 9
        if int(digits.max(initial=0)) > 9:
            return None
        values += np.where(inside, digits, 0) * np.int64(10**place)
    return values


class ByteFile:
    """A file read at offsets, by several threads and by forked or spawned processes alike."""

    def __init__(self, path: Path) -> None:
        require_plain(path)
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._handle)

    def __reduce__(self) -> tuple[type[ByteFile], tuple[Path]]:
        return ByteFile, (self.path,)

    def read(self, start: int, end: int) -> bytes:
        """Bytes start to end. Raises InputFileError when the file has become shorter."""
        data = self._read(start, end - start)
        if len(data) != end - start:
            raise InputFileError(f"{self.path} has become shorter since it was opened: start again with a file that nobody writes.")
        return data

    def _read(self, start: int, length: int) -> bytes:
        if hasattr(os, "pread"):  # no position that processes would share
            return os.pread(self._handle, length, start)
        os.lseek(self._handle, start, os.SEEK_SET)
        return os.read(self._handle, length)

    def line_number(self, offset: int) -> int:
        """Number, from 1, of the line that holds a byte; reads all before it, for messages only."""
        number = 1
        for start in range(0, offset, BLOCK_BYTES):
            number += self.read(start, min(offset, start + BLOCK_BYTES)).count(b"\n")
        return number
