"""Files of lines as every reader needs them: opened, unpacked if they are gzip, in numbered lines of bounded length.

A line ends in LF or CRLF; where the first one ends in CR alone, as some spreadsheets write it, so do all.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from .errors import InputFileError

MAX_LINE_BYTES = 64 * 2**20
TOO_LONG = f"the line has more than {MAX_LINE_BYTES // 2**20} MiB"
FIRST_BYTES = 2**16  # that say what a file is
UTF8_BOM = b"\xef\xbb\xbf"
_BLANK = UTF8_BOM + b"\r\n\t ,;"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_GZIP = b"\x1f\x8b"
_FOREIGN = {
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "bzip2": re.compile(rb"BZh[1-9]1AY&SY"),
    "zip (or a spreadsheet)": re.compile(rb"PK\x03\x04"),
}
_LINE_END = re.compile(rb"[\r\n]+")


class DamagedError(Exception):
    """The file cannot be read beyond a line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


@contextlib.contextmanager
def opened(name: str, path: Path | None) -> Iterator[IO[bytes]]:
    """The stream of a file, or of stdin where `path` is None, unpacked; `name` is for messages.

    Raises:
        InputFileError: no such file, a folder, no permission, UTF-16, or packed by something else than gzip.
    """
    with contextlib.ExitStack() as stack:
        try:
            raw: Any = sys.stdin.buffer if path is None else stack.enter_context(open(path, "rb"))
            steady = path is not None and path.is_file()
            head = raw.peek(10) if steady else raw.read(10)  # a pipe gives what has been written so far, which may be a byte
            raw = raw if steady else _continued(head, raw)
        except (OSError, ValueError) as error:
            raise unreadable(name, error) from error
        packed = next((kind for kind, mark in _FOREIGN.items() if mark.match(head)), None)
        if packed is not None:
            raise InputFileError(f"{name} is packed as {packed}: unpack it, or pack its text with gzip.")
        stream: Any = stack.enter_context(gzip.GzipFile(fileobj=raw)) if head.startswith(_GZIP) else raw
        if peeked(stream).startswith(_UTF16_BOMS):
            raise InputFileError(f"{name} is UTF-16: convert it, for example with iconv -f UTF-16 -t UTF-8.")
        yield stream if steady else _continued(_first_line(stream), stream)


def _first_line(stream: IO[bytes]) -> bytes:
    """The first line that is not blank, and those before it; a first part of a longer one, nothing more of a damaged stream."""
    head = b""
    try:
        while not head.strip(_BLANK) and len(head) < FIRST_BYTES and (line := stream.readline(FIRST_BYTES)):
            head += line
    except (EOFError, OSError, zlib.error):
        return head
    return head


class _Rest(io.RawIOBase):
    """A stream whose first bytes have been read: these, and what comes after them."""

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        self._head, self._stream = head, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        if not found:
            found = self._stream.read1(len(buffer))  # type: ignore[attr-defined]
        buffer[: len(found)] = found
        return len(found)


def _continued(head: bytes, stream: IO[bytes]) -> io.BufferedReader:
    """The whole stream, of which these bytes have been read."""
    return io.BufferedReader(_Rest(head, stream), FIRST_BYTES)


def unreadable(name: str, error: Exception) -> InputFileError:
    """The error for a file that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return InputFileError(f"no such file: {name}.")
    if isinstance(error, IsADirectoryError):
        return InputFileError(f"{name} is a folder: name a file in it.")
    return InputFileError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}.")


def first_bytes(stream: IO[bytes], size: int) -> bytes:
    """Up to so many bytes, without a byte order mark; nothing of a damaged file, which is reported with its line when it is read."""
    try:
        return stream.read(size).removeprefix(UTF8_BOM)
    except (EOFError, OSError, zlib.error):
        return b""


def numbered_lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line with its end), without a byte order mark; one of more than MAX_LINE_BYTES comes truncated, but still too long.

    Raises:
        DamagedError: the compressed data is broken or ends early, or the disk fails.
    """
    with _line_reader(stream) as (read, end):
        number = 1
        while line := _read(read, number):
            yield number, line.removeprefix(UTF8_BOM) if number == 1 else line
            while len(line) > MAX_LINE_BYTES and not line.endswith(end):
                line = _read(read, number)
            number += 1


def _read(read: Callable[[int], bytes], number: int) -> bytes:
    try:
        return read(MAX_LINE_BYTES + len(UTF8_BOM) + 1)
    except EOFError as error:
        raise DamagedError(number, "the compressed data ends early (a truncated file)") from error
    except (OSError, zlib.error) as error:
        raise DamagedError(number, f"the data cannot be read ({error})") from error


@contextlib.contextmanager
def _line_reader(stream: IO[bytes]) -> Iterator[tuple[Callable[[int], bytes], bytes]]:
    """What reads a line of at most so many bytes, and how lines end."""
    if not _ends_in_cr(peeked(stream)):
        yield stream.readline, b"\n"
        return
    text = io.TextIOWrapper(stream, encoding="latin-1", newline="\r")  # a character a byte: for its line ends alone
    try:
        yield (lambda size: text.readline(size).encode("latin-1")), b"\r"
    finally:
        with contextlib.suppress(ValueError):  # closed already
            text.detach()  # else it would close the stream, which may be stdin


def _ends_in_cr(head: bytes) -> bool:
    """Whether the first line ends in CR alone; one that is longer than `head` ends in LF."""
    end = _LINE_END.search(head)
    return end is not None and b"\n" not in end.group() and end.end() < len(head)


def peeked(stream: Any) -> bytes:
    """What is buffered already, or a first part; nothing where it cannot be read, which is reported with its line later."""
    try:
        found: bytes = stream.peek(1)
        return found
    except (EOFError, OSError, zlib.error):
        return b""
