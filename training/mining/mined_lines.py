"""JSONL files of mined and scored lines: read with errors that name the line, written so that an interrupted run can be resumed."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from splade_ptbr_connectors.atomic import unshare
from splade_ptbr_connectors.errors import ConfigError, InputFileError
from splade_ptbr_connectors.evaluation.files import bad_line, read_lines
from splade_ptbr_connectors.text import check_text


@dataclass(frozen=True, slots=True)
class MinedLine:
    """One line of a mined file: a query with its positive and its negatives.

    Attributes:
        number: line of the file, from 1.
        raw: the line's object, everything it holds.
    """

    number: int
    query: str
    documents: list[str]
    query_id: str | None
    doc_ids: list[str] | None
    raw: Mapping[str, Any]

    @property
    def label(self) -> str:
        """How messages name the query."""
        return f"line {self.number} (query {self.query_id or self.query[:60]!r})"


def read_mined(path: Path) -> Iterator[MinedLine]:
    """Read {"query", "documents": [positive, negative, ...], "query_id"?, "doc_ids"?} lines.

    Raises:
        InputFileError: naming file and line: not such an object, fewer than two documents, another number of ids.
        TextError: a text that cannot be encoded (NUL, lone surrogates, over a million characters).
    """
    for number, text in read_lines(path):
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            bad_line(path, number, f"not JSON: {error.msg} at column {error.colno}.")
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of levels
            bad_line(path, number, f"not JSON: {error}.")
        yield _mined_line(path, number, raw)


def _mined_line(path: Path, number: int, raw: Any) -> MinedLine:
    if not isinstance(raw, dict) or not isinstance(raw.get("query"), str):
        bad_line(path, number, 'expected an object with a "query" text.')
    documents, doc_ids, query_id = _texts(raw, "documents"), _texts(raw, "doc_ids"), raw.get("query_id")
    if documents is None or len(documents) < 2:
        bad_line(path, number, '"documents" must be a list of texts, the positive and at least one negative.')
    if "doc_ids" in raw and (doc_ids is None or len(doc_ids) != len(documents)):
        bad_line(path, number, f'"doc_ids" must be a list of {len(documents)} ids, one for each document.')
    if query_id is not None and not isinstance(query_id, str):
        bad_line(path, number, '"query_id" must be a text.')
    for text in (raw["query"], *documents):
        check_text(text, f"{path}, line {number}: a text")
    return MinedLine(number, raw["query"], documents, query_id, doc_ids, raw)


def _texts(raw: Mapping[str, Any], key: str) -> list[str] | None:
    """The list of texts under a key; None when it is something else."""
    value = raw.get(key)
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


class ResumableLines:
    """A JSONL file that is written item by item, and takes its name when it is complete.

    Until then OUT.part holds the lines and OUT.journal one entry for each item, behind a first one that says what the run is.
    A run that was interrupted at any moment resumes behind the last item whose entry and lines are both there.

    Args:
        out: the file to write.
        identity: what the lines depend on; a run of another identity is not resumed.
        resume: continue an unfinished run, if there is one.

    Attributes:
        journal: entries of the items done before.

    Raises:
        ConfigError: there is an unfinished run and `resume` is False, or it is of another identity; or `resume` is True and
            the file is complete already.
        InputFileError: the folder is missing, or cannot be written.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        if out.is_dir() or not out.parent.is_dir():
            raise InputFileError(f"{out} cannot be written: it is a folder, or its folder is missing.")
        self._out, self.journal, self._items = out, list[dict[str, Any]](), 0
        self._part, self._log = out.with_name(out.name + ".part"), out.with_name(out.name + ".journal")
        unfinished = self._log.exists()
        if unfinished and not resume:
            raise ConfigError(
                f"{self._log} is left of an unfinished run: resume it with --resume, or delete it and {self._part.name} to start again."
            )
        if resume and not unfinished and out.exists():
            raise ConfigError(f"{out} is complete: there is nothing to resume; delete it or name another file.")
        with self._writing():
            if unfinished:
                self._recover(json.loads(json.dumps(identity)))
            self._lines, self._entries = open(self._part, "ab"), open(self._log, "ab")
            if not self._entries.tell():
                self._lines.truncate(0)
                _write(self._entries, [identity])

    def __enter__(self) -> ResumableLines:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._entries.close()
        if not self._items:  # nothing to go on with
            self._part.unlink(missing_ok=True)
            self._log.unlink(missing_ok=True)

    def add(self, lines: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> None:
        """Write an item's lines, then its entry; entry["lines"] says how many there are."""
        with self._writing():
            _write(self._lines, lines)
            _write(self._entries, [entry])
        self._items += 1

    def finish(self) -> None:
        """Give the file its name; the journal goes."""
        with self._writing():
            os.fsync(self._lines.fileno())
            os.replace(self._part, self._out)
            self._log.unlink()

    def discard(self) -> None:
        """Leave nothing behind: there is nothing to go on with."""
        self._items = 0

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputFileError(f"{self._out} cannot be written: {error.strerror or error}.") from error

    def _recover(self, identity: Any) -> None:
        """Cut both files back to the last complete item."""
        unshare(self._log)
        unshare(self._part)
        try:
            entries = [json.loads(line) for line in self._log.read_bytes().split(b"\n")[:-1]]
        except ValueError as error:
            raise InputFileError(f"{self._log} is damaged ({error}): delete it and {self._part.name}, and start again.") from error
        if entries and entries[0] != identity:
            raise ConfigError(
                f"{self._log} is of another run ({entries[0]}), this one is {identity}: repeat its settings, or name another file."
            )
        ends, line_ends, written = [0, *_line_ends(self._log)], [0, *_line_ends(self._part)], 0
        for entry in entries[1:]:
            if written + entry["lines"] >= len(line_ends):
                break
            written += entry["lines"]
            self.journal.append(entry)
        self._items = len(self.journal)
        os.truncate(self._log, ends[min(1, len(entries)) + self._items])
        if self._part.exists():
            os.truncate(self._part, line_ends[written])


def _write(file: IO[bytes], objects: Iterable[Mapping[str, Any]]) -> None:
    file.writelines(json.dumps(item, ensure_ascii=False).encode() + b"\n" for item in objects)
    file.flush()


def _line_ends(path: Path) -> array[int]:
    """The byte behind each line that has an end."""
    ends = array("q")
    if path.exists():
        with open(path, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    ends.append(len(line) + (ends[-1] if ends else 0))
    return ends
