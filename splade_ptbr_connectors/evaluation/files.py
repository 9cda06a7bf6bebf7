"""Text files in, with errors that name file and line; text files out, there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TextIO

from .. import line_files
from ..atomic import replacing
from ..errors import InputError, InputFileError
from ..line_files import DamagedError, numbered_lines, opened
from ..text import check_text


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a UTF-8 file; gzip is unpacked, blank lines are left out.

    Raises:
        InputFileError: no such file, a folder, not readable, not UTF-8, damaged gzip, a line of over 64 MiB, or no line at all.
    """
    nothing = True
    with opened(str(path), Path(path)) as stream:
        try:
            for number, line in numbered_lines(stream):
                text = _text(path, number, line)
                if text.strip():
                    nothing = False
                    yield number, text
        except DamagedError as error:
            raise InputFileError(f"{path} cannot be read: in line {error.line} {error.reason}; fetch the file again.") from error
    if nothing:
        raise InputFileError(f"{path} is empty.")


def _text(path: str | Path, number: int, line: bytes) -> str:
    if len(line) > line_files.MAX_LINE_BYTES:
        bad_line(path, number, f"{line_files.TOO_LONG}.")
    try:
        return line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise InputFileError(f"{path} is not UTF-8 text (line {number}, byte 0x{byte:02X}): convert it first.") from error


def bad_line(path: str | Path, number: int, why: str) -> NoReturn:
    """Raise InputFileError for one line."""
    raise InputFileError(f"{path}, line {number}: {why}")


def check_name(name: object, what: str, *, blanks: bool) -> str:
    """Return an id that a file of columns gives back as it is, else raise InputError.

    Args:
        what: "query id" or "document id".
        blanks: whether columns end at tabs alone, so that an id may hold blanks, though not begin or end with one.
    """
    if not isinstance(name, str):
        raise InputError(f"{what} {name!r} is {type(name).__name__}: ids are strings.")
    check_text(name, what)
    alone = bool(name) and name.strip() == name and not set(name) & set("\t\r\n") if blanks else name.split() == [name]
    if not alone or name.startswith("\ufeff"):
        held = "a tab, a line end, a blank at its ends" if blanks else "white space"
        raise InputError(f"{what} {name!r} cannot be written: the file's columns hold no id that is empty, has {held} or a leading U+FEFF.")
    return name


@contextmanager
def atomic_writer(path: str | Path) -> Iterator[TextIO]:
    """A UTF-8 text file that takes its name only after everything was written; what was there before stays until then.

    A pipe or a device such as /dev/stdout is written to as it is: it must not be replaced by a file.

    Raises:
        InputFileError: the folder is missing or not writable, or the disk is full. Nothing is left behind.
    """
    target = Path(path)
    if target.is_dir():
        raise InputFileError(f"{target} is a folder: name a file in it.")
    try:
        if target.exists() and not target.is_file():
            with open(target, "w", encoding="utf-8", newline="\n") as file:
                yield file
        else:
            with replacing(target.resolve()) as file:
                yield file
    except OSError as error:
        raise InputFileError(f"{target} cannot be written: {error.strerror or error}.") from error


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write lines (with their ends) with `atomic_writer`."""
    with atomic_writer(path) as file:
        file.writelines(lines)
