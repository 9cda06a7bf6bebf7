"""Sources: files of records, line by line. JSONL (BEIR), CSV and TSV with a header; gzip is recognised; "-" is stdin.

A broken line is a `Broken` with its number and reason, and reading continues after it. What makes the whole file unusable
(missing, empty, a directory, damaged gzip) is an InputFileError.
"""

from __future__ import annotations

import csv
import json
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from . import line_files
from .errors import ConfigError, InputFileError
from .line_files import FIRST_BYTES, UTF8_BOM, DamagedError, first_bytes, numbered_lines, opened, peeked, unreadable
from .records import ID_FIELDS, shown_names

FORMATS = ("jsonl", "csv", "tsv")
MAX_KEPT_CHARACTERS = 1000  # of a broken line
_ARRAY = re.compile(rb'\s*\[(?!\s*")')  # of records; ["id", {"17": 0.5}, ...] is one record, an entry
_FORMAT_OF = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv"}


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
        format: "jsonl", "csv" or "tsv"; None for a stream whose first bytes say it when it is read.
    """

    def __init__(self, name: str, path: Path | None, format: str | None) -> None:
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
        with opened(self.name, self.path) as stream:
            format = self.format or _recognised(peeked(stream)) or "jsonl"
            try:
                for row in _READERS[format](numbered_lines(stream), self.name):
                    nothing = False
                    yield row
            except DamagedError as error:
                yield Broken(error.line, error.reason)
                raise InputFileError(f"{self.name}, line {error.line}: {error.reason}; fetch the file again.") from error
        if nothing:
            raise InputFileError(f"{self.name} holds no records: expected {_EXPECTED[format]}.")

    def __repr__(self) -> str:
        return f"Source({self.name!r}, format={self.format!r})"


def open_source(path: str | Path, *, format: str | None = None) -> Source:
    """A source over the file at `path`, "-" for stdin.

    Args:
        path: a file, plain or gzip.
        format: "jsonl", "csv" (commas, semicolons or tabs, with quoting) or "tsv" (tabs, no quoting); by default the
            extension decides, then the content.

    Raises:
        InputFileError: no such file, a directory, no permission, an empty file, an unknown format.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError(f"format is {format!r}: it must be one of {', '.join(FORMATS)}.")
    if str(path) == "-":
        return Source("stdin", None, format)
    try:
        file = Path(path).expanduser()
    except RuntimeError as error:  # ~somebody
        raise InputFileError(f"no such file: {path} ({error}).") from error
    head, known = _head(file), format or _by_extension(file)
    return Source(str(path), file, known or (None if head is None else _by_content(head, file)))


def as_source(records: Iterable[Any] | str | Path) -> Iterable[Any]:
    """Records as an iterable: a path is opened. Raises ConfigError for what holds no records."""
    if isinstance(records, str | Path):
        return open_source(records)
    if isinstance(records, Mapping) or not isinstance(records, Iterable):
        raise ConfigError(f"records is {type(records).__name__}: it must be an iterable of records, a source, or the path of a file.")
    return records


def _head(file: Path) -> bytes | None:
    """The first bytes, unpacked; None for a pipe, where they could not be read twice."""
    try:
        if file.is_dir():
            raise InputFileError(f"{file} is a directory: give a file, or read its files one after the other.")
        found = file.stat()
    except (OSError, ValueError) as error:
        raise unreadable(str(file), error) from error
    if not stat.S_ISREG(found.st_mode):
        return None
    if found.st_size == 0:
        raise InputFileError(f"{file} is empty: expected records.")
    with opened(str(file), file) as stream:
        return first_bytes(stream, FIRST_BYTES)


# -- which format ----------------------------------------------------------------------------------------------------


def _by_extension(file: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".gzip"):
        suffixes.pop()
    return _FORMAT_OF.get(suffixes[-1]) if suffixes else None


def _by_content(head: bytes, file: Path) -> str:
    found = _recognised(head)
    if found is None:
        raise InputFileError(
            f"{file} is neither JSONL nor CSV nor TSV, by name and by content: name it .jsonl, .csv or .tsv (in Python, pass format=)."
        )
    return found


def _recognised(head: bytes) -> str | None:
    """By the first character, else by what stands between the columns of the first line."""
    head = head.removeprefix(UTF8_BOM).lstrip(b"\r\n")
    if head.lstrip().startswith((b"{", b"[")):
        return "jsonl"
    first = re.split(rb"[\r\n]", head, maxsplit=1)[0]
    return next((format for mark, format in ((b"\t", "tsv"), (b",", "csv"), (b";", "csv")) if mark in first), None)


# -- rows ------------------------------------------------------------------------------------------------------------


def _jsonl(lines: Iterable[tuple[int, bytes]], name: str) -> Iterator[Row | Broken]:
    first = True
    for number, line in lines:
        if not line.strip():
            continue
        if first and _ARRAY.match(line):
            raise InputFileError(f"{name} is one JSON array: expected one object per line, convert it with jq -c '.[]'.")
        first = False
        yield _json_row(number, line)


def _json_row(number: int, line: bytes) -> Row | Broken:
    if len(line) > line_files.MAX_LINE_BYTES:
        return _broken(number, line_files.TOO_LONG, line)
    try:
        return Row(number, json.loads(line.rstrip(b"\r\n").decode()))
    except UnicodeDecodeError as error:
        return _broken(number, _NOT_UTF8.format(error.object[error.start]), line)
    except json.JSONDecodeError as error:
        return _broken(number, f"not JSON: {error.msg} at column {error.colno}", line)
    except (ValueError, RecursionError) as error:
        return _broken(number, f"not JSON: {error}", line)


class _Table:
    """The rows of a file with a header, numbered by the line in which each begins."""

    def __init__(self, lines: Iterable[tuple[int, bytes]], name: str, *, quoted: bool) -> None:
        # the limit is one for the whole process and stands at 128 KiB: raised, never lowered
        csv.field_size_limit(max(csv.field_size_limit(), line_files.MAX_LINE_BYTES))
        self._name = name
        self._too_long: list[Broken] = []
        self._before = 0  # lines above the header
        self._ended = False
        texts = self._texts(lines)
        first = self._first(texts)
        quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        self._reader = csv.reader(chain([first], texts), delimiter=_delimiter(first) if quoted else "\t", quoting=quoting, strict=True)
        self.columns = self._header()

    def _texts(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[str]:
        for number, line in lines:
            if len(line) > line_files.MAX_LINE_BYTES:  # a blank line in its place, so that no part is taken for the whole
                self._too_long.append(_broken(number, line_files.TOO_LONG, line))
                yield "\n"
            else:
                yield line.decode("utf-8", "surrogateescape")

    def _first(self, texts: Iterator[str]) -> str:
        """The first line with anything but delimiters in it: spreadsheets write empty rows as those alone."""
        for text in texts:
            if text.strip(" \r\n,;\t") or self._too_long:
                return text
            self._before += 1
        return ""

    def _header(self) -> list[str]:
        try:
            columns = next(self._reader, [])
        except csv.Error as error:
            raise InputFileError(f"{self._name}: the header is {_not_csv(error)}.") from error
        if self._too_long:
            raise InputFileError(f"{self._name}: {self._too_long[0].reason}, and it belongs to the header.")
        return _checked_columns([column.strip() for column in columns], self._name)

    def rows(self) -> Iterator[Row | Broken]:
        while True:
            start = self._before + self._reader.line_num + 1
            row = self._row(start)
            if self._too_long:
                yield from self._too_long
                self._too_long.clear()
            elif row is not None:
                yield row
            elif self._ended:
                return

    def _row(self, start: int) -> Row | Broken | None:
        """None for a blank line, and at the end."""
        try:
            cells = next(self._reader)
        except StopIteration:
            self._ended = True
            return None
        except csv.Error as error:
            return Broken(start, _not_csv(error))
        return _csv_row(start, cells, self.columns) if cells else None


def _csv(lines: Iterable[tuple[int, bytes]], name: str) -> Iterator[Row | Broken]:
    return _Table(lines, name, quoted=True).rows()


def _tsv(lines: Iterable[tuple[int, bytes]], name: str) -> Iterator[Row | Broken]:
    return _Table(lines, name, quoted=False).rows()


def _not_csv(error: csv.Error) -> str:
    if str(error).startswith("new-line"):  # whose words are about how Python opens files
        return "not CSV: a line end (CR) within a line and outside of quotes"
    return f"not CSV: {error} (a quote that is not closed?)"


def _delimiter(header: str) -> str:
    """The mark that takes the header apart into the columns needed, or else into the most: names may hold the others."""

    def fitness(mark: str) -> tuple[bool, int]:
        try:
            columns = [column.strip() for column in next(csv.reader([header], delimiter=mark), [])]
        except csv.Error:
            return False, 0
        return _has_needed(columns), len(columns)

    return max(",;\t", key=fitness)


def _has_needed(columns: list[str]) -> bool:
    return "text" in columns and any(name in columns for name in ID_FIELDS)


def _checked_columns(columns: list[str], name: str) -> list[str]:
    if not columns:
        raise InputFileError(f"{name} is empty: expected {_EXPECTED['csv']}.")
    foreign = _not_utf8(columns)
    if foreign:
        raise InputFileError(f"{name}: the header is {foreign}.")
    if len(set(columns)) < len(columns) or "" in columns:
        raise InputFileError(f"{name}: the header has blank or repeated column names: {shown_names(columns)}.")
    if not _has_needed(columns):
        raise InputFileError(f'{name}: the header must name "_id" (or "id") and "text", it has: {shown_names(columns)}.')
    return columns


def _not_utf8(cells: list[str]) -> str:
    """What is wrong with cells that were decoded with surrogateescape; "" if nothing is."""
    bad = next((found for cell in cells if not cell.isascii() and (found := _ESCAPED.search(cell))), None)
    return _NOT_UTF8.format(ord(bad.group()) - 0xDC00) if bad else ""


def _csv_row(number: int, cells: list[str], columns: list[str]) -> Row | Broken:
    foreign = _not_utf8(cells)
    if foreign:
        return _broken(number, foreign, ",".join(cells).encode("utf-8", "surrogateescape"))
    if len(cells) != len(columns):
        return _broken(number, f"{len(cells)} cells, but the header has {len(columns)} columns", ",".join(cells).encode())
    return Row(number, dict(zip(columns, cells, strict=True)))


def _broken(number: int, reason: str, line: bytes) -> Broken:
    return Broken(number, reason, line[: 4 * MAX_KEPT_CHARACTERS].decode(errors="replace").rstrip("\r\n")[:MAX_KEPT_CHARACTERS])


_ESCAPED = re.compile("[\udc80-\udcff]")
_NOT_UTF8 = "not UTF-8 (byte 0x{:02X}): convert the file, for example with iconv -f CP1252 -t UTF-8"
_READERS: dict[str, Callable[[Iterable[tuple[int, bytes]], str], Iterator[Row | Broken]]] = {"jsonl": _jsonl, "csv": _csv, "tsv": _tsv}
_EXPECTED = {
    "jsonl": "one JSON object per line",
    "csv": "a header line and one record per row",
    "tsv": "a header line and one record per row",
}
