"""Rows that are lines of a file: found by byte offset, each parsed when it is needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np

from splade_ptbr_connectors.errors import InputFileError
from training.data.blocks import Block, ByteFile
from training.data.cache import ArrayWriter, CachedArrays
from training.data.rows import Row, RowError, look_at
from training.data.texts import TextStore

logger = logging.getLogger(__name__)
Parse = Callable[[bytes], Row]
"""A line as a row; raises RowError. Can be pickled."""


class LineRows:
    """Random access to the lines of a file that was looked at (`build_lines`)."""

    def __init__(self, kind: str, path: Path, arrays: CachedArrays, parse: Parse, documents: TextStore | None = None) -> None:
        self.kind = kind
        self._arrays, self._parse, self._documents = arrays, parse, documents
        self._file = ByteFile(path)

    def row(self, index: int) -> Row:
        """A line as a row. Raises InputFileError when the file is no longer what it was."""
        starts = self._arrays["starts"]
        try:
            return self._parse(self._file.read(int(starts[index]), int(starts[index + 1])))
        except RowError as error:
            where = f"{self._file.path} was changed while it was in use (byte {starts[index]})"
            raise InputFileError(f"{where}: {error} Start again.") from error

    def text(self, key: str) -> str:
        """The text of a document that the line names by id."""
        if self._documents is None:
            raise InputFileError(f"{self._file.path} names the document {key[:60]!r} by id, and there is no data.collection.")
        return self._documents.get(key)


def build_lines(writer: ArrayWriter, parse: Parse, *, negatives: int | None, limit: int | None, blank_lines: bool) -> None:
    """Makes the arrays of RowBatches from the file `lines`, and `starts`, where each line begins and the last one ends.

    Args:
        blank_lines: skip them; else they are an error.

    Raises:
        InputFileError: naming the line: what `parse` finds, not UTF-8, too few negatives; or nothing is left.
    """
    look_at(writer, _parsed(writer, parse, limit, blank_lines), negatives=negatives, fail=_failure(writer))
    path, facts = writer.path("lines"), writer.facts
    if not facts["rows"]:
        raise InputFileError(f"{path}: no line is left to train on: {facts}. Is every negative a positive?")
    left_out = ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in facts.items() if name.startswith("left_out") and count)
    if left_out:
        logger.warning("%s: %s", path, left_out)


def _failure(writer: ArrayWriter) -> Callable[[int, str], NoReturn]:
    def fail(index: int, why: str) -> NoReturn:
        path = writer.path("lines")
        raise InputFileError(f"{path}, line {ByteFile(path).line_number(int(writer['starts'][index]))}: {why}")

    return fail


def _parsed(writer: ArrayWriter, parse: Parse, limit: int | None, blank_lines: bool) -> Iterator[Row]:
    end = 0
    for block in writer.blocks("lines", limit=limit):
        block.require_text()
        rows = _block_rows(block, parse, blank_lines)
        writer.append("starts", np.array([start for start, _ in rows], dtype=np.int64))
        yield from (row for _, row in rows)
        end = block.offset + len(block.data)
    writer.append("starts", np.array([min(end, writer.path("lines").stat().st_size)], dtype=np.int64))


def _block_rows(block: Block, parse: Parse, blank_lines: bool) -> list[tuple[int, Row]]:
    rows, place = list[tuple[int, Row]](), block.offset
    for number, line in enumerate(block.data[:-1].split(b"\n"), start=block.line):
        if line.strip() or not blank_lines:
            try:
                rows.append((place, parse(line)))
            except RowError as error:
                block.fail(number, str(error))
        place += len(line) + 1
    return rows
