"""Text files in, with errors that name file and line; text files out, there whole or not at all."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TextIO

from ..atomic import replacing
from ..errors import InputFileError


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a UTF-8 file; .gz is unpacked, blank lines are left out.

    Raises:
        InputFileError: no such file, a folder, not readable, not UTF-8, a damaged .gz, or no line at all.
    """
    file, number = Path(path), 0
    try:
        with gzip.open(file, "rt", encoding="utf-8-sig") if file.suffix == ".gz" else open(file, encoding="utf-8-sig") as lines:
            for line_number, line in enumerate(lines, 1):
                if line.strip():
                    number += 1
                    yield line_number, line.rstrip("\r\n")
    except FileNotFoundError as error:
        raise InputFileError(f"{file}: no such file.") from error
    except IsADirectoryError as error:
        raise InputFileError(f"{file} is a folder: name a file in it.") from error
    except UnicodeDecodeError as error:
        raise InputFileError(f"{file} is not UTF-8 text (byte {error.start}): convert it first.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputFileError(f"{file} cannot be read: {error}.") from error
    if not number:
        raise InputFileError(f"{file} is empty.")


def bad_line(path: str | Path, number: int, why: str) -> NoReturn:
    """Raise InputFileError for one line."""
    raise InputFileError(f"{path}, line {number}: {why}")


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
