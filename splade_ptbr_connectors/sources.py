"""Sources: files of records, line by line. JSONL (BEIR), CSV and TSV with a header; gzip is recognised; "-" is stdin.

A broken line is a `Broken` with its number and reason, and reading goes on behind it. What makes the whole file unusable
(missing, empty, a directory, damaged gzip) is an InputFileError.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import stat
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from .errors import ConfigError, InputFileError
from .records import ID_FIELDS

FORMATS = ("jsonl", "csv", "tsv")
MAX_LINE_BYTES = 64 * 2**20
MAX_KEPT_CHARACTERS = 1000  # of a broken line
_FORMAT_OF = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv"}
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class Row(NamedTuple):
    """A line that could be read; whether it is a valid record is decided later. `line` counts from 1."""

    line: int
    raw: Any


class Broken(NamedTuple):
    """A line that could not be read; `text` is its beginning."""

    line: int
    reason: str
    text: str = ""


class Source:
    """A file of records; iterating yields Row and Broken. Made by open_source().

    Attributes:
        name: the path as given, "stdin" for "-".
        path: None for stdin.
        format: "jsonl", "csv" or "tsv".
    """

    def __init__(self, name: str, path: Path | None, format: str) -> None:
        self.name = name
        self.path = path
        self.format = format

    @property
    def identity(self) -> dict[str, Any]:
        """Where the records come from: {"path", "bytes"}; bytes is None for a stream. Names an input, does not prove it."""
        if self.path is None:
            return {"path": "-", "bytes": None}
        found = self.path.stat()
        return {"path": str(self.path.resolve()), "bytes": found.st_size if stat.S_ISREG(found.st_mode) else None}

    def __iter__(self) -> Iterator[Row | Broken]:
        """Raises InputFileError when the file is empty or ends within its compressed data."""
        nothing = True
        with _opened(self.name, self.path) as stream:
            try:
                for row in _READERS[self.format](_lines(stream, self.name), self.name):
                    nothing = False
                    yield row
            except _DamagedError as error:
                yield Broken(error.line, error.reason)
                raise InputFileError(f"{self.name}, line {error.line}: {error.reason}; fetch the file again.") from error
        if nothing:
            raise InputFileError(f"{self.name} holds no records: expected {_EXPECTED[self.format]}.")

    def __repr__(self) -> str:
        return f"Source({self.name!r}, format={self.format!r})"


def open_source(path: str | Path, *, format: str | None = None) -> Source:
    """A source over the file at `path`, "-" for stdin.

    Args:
        path: a file, plain or gzip.
        format: "jsonl", "csv" (commas, semicolons or tabs, with quoting) or "tsv" (tabs, no quoting); by default the
            extension decides, then the content, and for stdin it is "jsonl".

    Raises:
        InputFileError: no such file, a directory, no permission, an empty file, an unknown format.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError(f"format is {format!r}: it must be one of {', '.join(FORMATS)}.")
    if str(path) == "-":
        return Source("stdin", None, format or "jsonl")
    file = Path(path).expanduser()
    head = _head(file)
    return Source(str(path), file, format or _by_extension(file) or _by_content(head, file))


class _DamagedError(Exception):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


# -- bytes -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(name: str, path: Path | None) -> Iterator[IO[bytes]]:
    """The stream of a file or of stdin, decompressed."""
    with contextlib.ExitStack() as stack:
        try:
            raw: Any = sys.stdin.buffer if path is None else stack.enter_context(open(path, "rb"))
            compressed = raw.peek(2)[:2] == b"\x1f\x8b"
        except OSError as error:
            raise _unreadable(name, error) from error
        stream: Any = stack.enter_context(gzip.GzipFile(fileobj=raw)) if compressed else raw
        yield stream


def _head(file: Path) -> bytes:
    """The first bytes, decompressed; nothing for a pipe, where they could not be read twice."""
    try:
        if file.is_dir():
            raise InputFileError(f"{file} is a directory: give a file, or read its files one after the other.")
        if not stat.S_ISREG(file.stat().st_mode):
            return b""
        if file.stat().st_size == 0:
            raise InputFileError(f"{file} is empty: expected records.")
    except OSError as error:
        raise _unreadable(str(file), error) from error
    with _opened(str(file), file) as stream:
        try:
            head = stream.read(2**16)
        except (EOFError, OSError, zlib.error):
            return b""  # a damaged file is reported with its line when it is read
    if head.startswith(_UTF16_BOMS):
        raise InputFileError(f"{file} is UTF-16: convert it, for example with iconv -f UTF-16 -t UTF-8.")
    return head.removeprefix(_UTF8_BOM)


def _unreadable(name: str, error: OSError) -> InputFileError:
    if isinstance(error, FileNotFoundError):
        return InputFileError(f"no such file: {name}.")
    return InputFileError(f"cannot read {name}: {error.strerror or error}.")


def _lines(stream: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    """Numbered lines; one longer than MAX_LINE_BYTES comes cut, one byte too long."""
    number = 1
    while line := _read(stream, number):
        if number == 1:
            line = line.removeprefix(_UTF8_BOM)
        yield number, line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = _read(stream, number)
        number += 1


def _read(stream: IO[bytes], number: int) -> bytes:
    try:
        return stream.readline(MAX_LINE_BYTES + 1)
    except EOFError as error:
        raise _DamagedError(number, "the compressed data ends early (a truncated file)") from error
    except (OSError, zlib.error) as error:
        raise _DamagedError(number, f"the data cannot be read ({error})") from error


# -- which format ----------------------------------------------------------------------------------------------------


def _by_extension(file: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".gzip"):
        suffixes.pop()
    return _FORMAT_OF.get(suffixes[-1]) if suffixes else None


def _by_content(head: bytes, file: Path) -> str:
    if head.lstrip().startswith(b"{"):
        return "jsonl"
    first = head.split(b"\n", 1)[0]
    for mark, format in ((b"\t", "tsv"), (b",", "csv"), (b";", "csv")):
        if mark in first:
            return format
    raise InputFileError(f"{file} is neither JSONL nor CSV nor TSV, by name and by content: pass format= if it is one of them.")


# -- rows ------------------------------------------------------------------------------------------------------------


def _jsonl(lines: Iterable[tuple[int, bytes]], name: str) -> Iterator[Row | Broken]:
    first = True
    for number, line in lines:
        if not line.strip():
            continue
        if first and line.lstrip().startswith(b"["):
            raise InputFileError(f"{name} is one JSON array: expected one object per line, convert it with jq -c '.[]'.")
        first = False
        yield _json_row(number, line)


def _json_row(number: int, line: bytes) -> Row | Broken:
    if len(line) > MAX_LINE_BYTES:
        return _broken(number, f"the line has more than {MAX_LINE_BYTES // 2**20} MiB", line)
    try:
        return Row(number, json.loads(line.rstrip(b"\r\n").decode()))
    except UnicodeDecodeError as error:
        return _broken(number, _NOT_UTF8.format(error.object[error.start]), line)
    except json.JSONDecodeError as error:
        return _broken(number, f"not JSON: {error.msg} at column {error.colno}", line)
    except (ValueError, RecursionError) as error:
        return _broken(number, f"not JSON: {error}", line)


def _csv(lines: Iterable[tuple[int, bytes]], name: str, *, quoted: bool = True) -> Iterator[Row | Broken]:
    # the limit is one for the whole process and stands at 128 KiB: raised, never lowered
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    decoded = (line.decode("utf-8", "surrogateescape") for _, line in lines)
    header = next(decoded, "")
    delimiter = _delimiter(header) if quoted else "\t"
    quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    columns = _columns(header, delimiter, quoting, name)
    reader = csv.reader(decoded, delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        start = reader.line_num + 2  # line 1 was the header
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Broken(start, f"not CSV: {error} (a quote that is not closed?)")
            continue
        if cells:
            yield _csv_row(start, cells, columns)


def _tsv(lines: Iterable[tuple[int, bytes]], name: str) -> Iterator[Row | Broken]:
    return _csv(lines, name, quoted=False)


def _delimiter(header: str) -> str:
    counts = Counter(header)
    return max(",;\t", key=lambda mark: counts[mark])


def _columns(header: str, delimiter: str, quoting: Any, name: str) -> list[str]:
    columns = [column.strip() for column in next(csv.reader([header], delimiter=delimiter, quoting=quoting), [])]
    if not columns:
        raise InputFileError(f"{name} is empty: expected {_EXPECTED['csv']}.")
    if len(set(columns)) < len(columns) or "" in columns:
        raise InputFileError(f"{name}: the header has blank or repeated column names: {', '.join(columns)[:200]}.")
    if not set(columns) & set(ID_FIELDS) or "text" not in columns:
        raise InputFileError(f'{name}: the header must name "_id" and "text", it has: {", ".join(columns)[:200]}.')
    return columns


def _csv_row(number: int, cells: list[str], columns: list[str]) -> Row | Broken:
    if any("\udc80" <= character <= "\udcff" for cell in cells if not cell.isascii() for character in cell):
        bad = next(character for cell in cells for character in cell if "\udc80" <= character <= "\udcff")
        return _broken(number, _NOT_UTF8.format(ord(bad) - 0xDC00), ",".join(cells).encode("utf-8", "surrogateescape"))
    if len(cells) != len(columns):
        return _broken(number, f"{len(cells)} cells, but the header has {len(columns)} columns", ",".join(cells).encode())
    return Row(number, dict(zip(columns, cells, strict=True)))


def _broken(number: int, reason: str, line: bytes) -> Broken:
    return Broken(number, reason, line[: 4 * MAX_KEPT_CHARACTERS].decode(errors="replace").rstrip("\r\n")[:MAX_KEPT_CHARACTERS])


_NOT_UTF8 = "not UTF-8 (byte 0x{:02X}): convert the file, for example with iconv -f LATIN1 -t UTF-8"
_READERS: dict[str, Callable[[Iterable[tuple[int, bytes]], str], Iterator[Row | Broken]]] = {"jsonl": _jsonl, "csv": _csv, "tsv": _tsv}
_EXPECTED = {
    "jsonl": "one JSON object per line",
    "csv": "a header line and one record per row",
    "tsv": "a header line and one record per row",
}
