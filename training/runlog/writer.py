"""Writing the log of a run as things happen; a killed run leaves whole lines, a resumed one goes on behind its checkpoint."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from splade_ptbr_connectors.atomic import unshare
from splade_ptbr_connectors.errors import TrainingError
from training.runlog.data import Row
from training.runlog.lines import EVENTS, parsed, raw_rows


class RunLog:
    """The log of one run, open for writing; only one process of a run may hold it.

    Numbers that are not finite become null: JSON has no NaN, and the row in which a loss diverges is the one that is looked
    for afterwards. They are read back as NaN.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        unshare(path)
        _drop_torn_line(path)
        self._file: BinaryIO = path.open("ab")

    def append(self, row: Mapping[str, Any]) -> None:
        """Writes one row; it is with the operating system when this returns.

        Raises:
            TrainingError: an unknown event, a row without its step, a value that JSON does not have, or a start row in a log
                that has rows already.
        """
        _check_row(row)
        if row["event"] == "start" and self._file.tell() > 0:
            raise TrainingError(f"{self.path} holds the log of a run: resume it, delete it, or choose another output folder.")
        try:
            line = json.dumps(_json_value(row), ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"a row of {self.path} holds what JSON does not: {error}.") from error
        self._file.write(line.encode("utf-8", "replace") + b"\n")
        self._file.flush()

    def truncate_after(self, step: int) -> None:
        """Removes the rows of later steps and those that are written at the end, atomically; others of `step` itself stay.

        Called when a run goes on from the checkpoint of `step`, which is therefore saved after its validation is logged.
        """
        self._file.close()
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.writelines(line for line, row in raw_rows(self.path) if _stays(row, step))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)
            self._file = self.path.open("ab")

    def close(self) -> None:
        """Closes the file; appending is over."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _stays(row: Row, step: int) -> bool:
    """Whether a row was written before the checkpoint of `step`."""
    at_the_end = row["event"] == "end" or bool(row.get("packed"))
    return not at_the_end and int(row.get("step", 0)) <= step


def _check_row(row: Mapping[str, Any]) -> None:
    event = row.get("event")
    if event not in EVENTS:
        raise TrainingError(f"a row of a run's log has the event {event!r}: use one of {', '.join(EVENTS)}.")
    step = row.get("step")
    if event != "start" and (isinstance(step, bool) or not isinstance(step, int) or step < 0):
        raise TrainingError(f"a row of the event {event!r} has the step {step!r}: it must be an integer of at least 0.")


def _json_value(value: Any) -> Any:
    """A copy in which numbers are Python's own, and those that are not finite are null."""
    if isinstance(value, Mapping):
        return {str(name): _json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _drop_torn_line(path: Path) -> None:
    """Ends the file with a whole line: what a killed process left of its last row goes, a row that only lacks its end stays."""
    if not path.is_file():
        return
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end == len(content):
        return
    whole = parsed(content[end:]) is not None
    with path.open("r+b") as file:
        file.truncate(len(content) if whole else end)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" if whole else b"")
