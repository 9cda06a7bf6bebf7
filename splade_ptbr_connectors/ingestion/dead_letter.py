"""The dead-letter file: JSONL, one object {"line", "reason", "record"} per rejected record."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import IO, Any

from ..atomic import unshare
from ..errors import IngestError
from ..json_values import parse_json

logger = logging.getLogger(__name__)
FIELDS = {"line", "reason", "record"}
MAX_KEPT_CHARACTERS = 2**24  # a record with the longest text that is accepted fits, however JSON escapes it
KEPT_WITHOUT_FILE = 100  # rejected records that a run without a file keeps for its report


class DeadLetter:
    """Appends rejected records; created at the first of them, so that no file means that none were rejected.

    Args:
        path: where to write; None keeps the first hundred in memory.
        keep_bytes: length up to which the file of an interrupted run counts, 0 for a new one.

    Raises:
        IngestError: the file cannot be written, or is not a dead-letter file.
    """

    def __init__(self, path: Path | None, *, keep_bytes: int = 0) -> None:
        self.path = path
        self.length = keep_bytes
        self._kept: list[str] = []
        self._file: IO[bytes] | None = None
        if path is None:
            return
        try:
            _check_is_ours(path)
            self._take_over(path, keep_bytes)
        except OSError as error:
            raise IngestError(f"cannot write the dead-letter file {path}: {error.strerror or error}.") from error

    def append(self, lines: Iterable[str]) -> None:
        """Append ready lines (see dead_letter_line); in the system's hands when it returns."""
        if self.path is None:
            for line in islice(lines, KEPT_WITHOUT_FILE - len(self._kept)):
                if sum(map(len, self._kept)) + len(line) <= 2 * MAX_KEPT_CHARACTERS:  # memory is not what rejections are for
                    self._kept.append(line)
            return
        content = "".join(lines).encode()
        if content:
            self._write(content, self.path)

    def _write(self, content: bytes, path: Path) -> None:
        try:
            self._file = self._file or open(path, "ab")
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise IngestError(f"cannot write the dead-letter file {path}: {error.strerror or error}.") from error
        self.length += len(content)

    @property
    def kept(self) -> tuple[dict[str, Any], ...]:
        """The first records that a run without a file rejected: {"line", "reason", "record"} each."""
        return tuple(map(json.loads, self._kept))

    def warn(self, rejected: int, store: str) -> None:
        """At the end of a run without a file that rejected records."""
        if self.path is None and rejected:
            first = f", first on line {self.kept[0]['line']}: {self.kept[0]['reason']}" if self._kept else "."
            logger.warning(
                "%s not ingested into %s%s The report's `rejections` are the first %d; dead_letter=FILE keeps all of them.",
                *("1 record was" if rejected == 1 else f"{rejected} records were", store, first, len(self._kept)),
            )

    def sync(self) -> None:
        """Flush what was appended to disk."""
        if self._file:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; closing twice is not an error."""
        if self._file:
            self._file.close()
            self._file = None

    @staticmethod
    def _take_over(path: Path, keep_bytes: int) -> None:
        if keep_bytes == 0:
            path.unlink(missing_ok=True)
            path.touch()  # fail early if not writable
            path.unlink()
            return
        if path.stat().st_size < keep_bytes:
            raise IngestError(f"the dead-letter file {path} is shorter than its checkpoint says: pass restart=True to start over.")
        unshare(path)
        os.truncate(path, keep_bytes)


def dead_letter_line(line: int, reason: str, record: object) -> str:
    """One line of the file. What JSON cannot hold is written as its repr; broken or huge text is truncated."""
    try:
        kept = json.dumps(record, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        kept = json.dumps(_shown(record))
    if len(kept) > MAX_KEPT_CHARACTERS:
        kept = json.dumps(kept[:MAX_KEPT_CHARACTERS] + " ...")
    return f'{{"line": {line}, "reason": {json.dumps(reason)}, "record": {kept}}}\n'


def _shown(record: object) -> str:
    try:
        return repr(record)[:MAX_KEPT_CHARACTERS]
    except Exception as error:  # a foreign object's own repr may fail
        return f"<{type(record).__name__} that cannot be shown: {type(error).__name__}>"


def _check_is_ours(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_file():
        raise IngestError(f"the dead-letter file {path} is not a regular file: give another path.")
    with open(path, "rb") as file:
        first = file.readline(4 * MAX_KEPT_CHARACTERS)
    if first and not _looks_ours(first):
        raise IngestError(f"{path} exists and is not a dead-letter file: it was not touched, give another path.")


def _looks_ours(line: bytes) -> bool:
    try:
        content: Any = parse_json(line)
    except ValueError:
        return False
    return isinstance(content, dict) and set(content) == FIELDS
