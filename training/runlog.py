"""The log of a run, training.jsonl: one JSON object a line, written as things happen and read back into columns."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.atomic import unshare
from splade_ptbr_connectors.errors import InputFileError, TrainingError
from training.runlog_data import End, Row, RunLogData, SplitResult, Start, Steps, Validation

FILE_NAME = "training.jsonl"
EVENTS = ("start", "step", "validation", "end")
Typed = TypeVar("Typed", SplitResult, Validation, Start, End)
__all__ = ["FILE_NAME", "End", "RunLog", "RunLogData", "SplitResult", "Start", "Steps", "Validation", "read_log"]


# -- writing --------------------------------------------------------------------------------------------------------------


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
                file.writelines(line for line, row in _raw_rows(self.path) if _stays(row, step))
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
    whole = _parsed(content[end:]) is not None
    with path.open("r+b") as file:
        file.truncate(len(content) if whole else end)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" if whole else b"")


# -- reading --------------------------------------------------------------------------------------------------------------


def read_log(path: Path) -> RunLogData:
    """Reads a run's log, given as the file or as the folder that holds it; a torn last line is left out.

    Raises:
        InputFileError: no such file, or, with the line's number, what no run writes: no JSON object, an unknown event, no
            start row first, a second start row, steps that do not increase, a value of another type.
    """
    file = path / FILE_NAME if path.is_dir() else path
    reader = _Reader(file)
    for number, (_, row) in enumerate(_raw_rows(file), 1):
        reader.read(row, number)
    return reader.data()


def _raw_rows(path: Path) -> Iterator[tuple[bytes, Row]]:
    """Every line as it is, with its object."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                row = _parsed(line)
                if row is None and not line.endswith(b"\n"):
                    return  # the process was killed while it wrote
                if row is None or row.get("event") not in EVENTS:
                    raise InputFileError(f"{path}, line {number}: not a row of a run's log: {line[:80].decode('utf-8', 'replace')!r}.")
                yield line if line.endswith(b"\n") else line + b"\n", row
    except FileNotFoundError as error:
        raise InputFileError(f"{path}: no such file. Give the folder of a run, or its {FILE_NAME}.") from error
    except OSError as error:
        raise InputFileError(f"{path} cannot be read: {error.strerror or error}.") from error


def _parsed(line: bytes) -> Row | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class _Reader:
    """Collects rows into columns, so that a long log never lies in memory as objects."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        self.start: Start | None = None
        self.end: End | None = None
        self.validations: list[Validation] = []
        self.packed: Validation | None = None
        self.steps: list[int] = []
        self.columns: dict[str, list[Any]] = {}

    def read(self, row: Row, number: int) -> None:
        """Takes in the row of one line."""
        self.number = number
        event = row.pop("event")
        if (self.start is None) != (event == "start"):
            found = "a second start row: the file holds two runs" if event == "start" else f"the event {event!r} before any start row"
            self._refuse(found)
        try:
            _READERS[event](self, row)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            self._refuse(f"a {event} row that cannot be read ({type(error).__name__}: {error})")

    def read_start(self, row: Row) -> None:
        self.start = _typed(Start, row)
        if not isinstance(self.start.recipe, dict):
            raise TypeError("the recipe is no object")

    def read_step(self, row: Row) -> None:
        step = int(row.pop("step"))
        if self.steps and step <= self.steps[-1]:
            self._refuse(f"step {step} after step {self.steps[-1]}")
        self.steps.append(step)
        for name, value in row.items():
            column = self.columns.setdefault(name, [])
            column.extend([None] * (len(self.steps) - 1 - len(column)))
            column.append(value)

    def read_validation(self, row: Row) -> None:
        splits = {name: _split(values) for name, values in row.pop("splits").items()}
        validation = _typed(Validation, row | {"splits": splits, "mean": _number(row["mean"]), "step": int(row["step"])})
        if self.validations and validation.step < self.validations[-1].step:
            self._refuse(f"a validation of step {validation.step} after one of step {self.validations[-1].step}")
        if validation.packed:
            self.packed = validation
        else:
            self.validations.append(validation)

    def read_end(self, row: Row) -> None:
        self.end = _typed(End, row)

    def _refuse(self, why: str) -> None:
        raise InputFileError(f"{self.path}, line {self.number}: {why}. Is it the log of one run, not edited?")

    def data(self) -> RunLogData:
        """Everything that was read."""
        if self.start is None:
            raise InputFileError(f"{self.path} is empty: no run has begun to write it.")
        for column in self.columns.values():
            column.extend([None] * (len(self.steps) - len(column)))
        numbers = {name: array for name, column in self.columns.items() if (array := _numbers(column)) is not None}
        values = {name: column for name, column in self.columns.items() if name not in numbers}
        steps = Steps(np.asarray(self.steps, dtype=np.int64), numbers, values)
        return RunLogData(self.path, self.start, steps, tuple(self.validations), self.packed, self.end)


_READERS: dict[str, Callable[[_Reader, Row], None]] = {
    "start": _Reader.read_start,
    "step": _Reader.read_step,
    "validation": _Reader.read_validation,
    "end": _Reader.read_end,
}


_SPLIT_NUMBERS = ("terms_query", "terms_document", "evaluation_flops")
_SPLIT_COUNTS = ("empty_queries", "empty_documents", "dead_terms", "queries", "documents")


def _split(row: Row) -> SplitResult:
    hot = tuple((str(token), float(share)) for token, share in row.get("hot_terms") or ())
    numbers = {name: float(row[name]) for name in _SPLIT_NUMBERS if row.get(name) is not None}
    counts = {name: int(row[name]) for name in _SPLIT_COUNTS if row.get(name) is not None}
    return _typed(SplitResult, row | numbers | counts | {"quality": _number(row["quality"]), "hot_terms": hot})


def _typed(kind: type[Typed], row: Row) -> Typed:
    """The row as a dataclass; keys that it has no field for go to `extra`."""
    known = {item.name for item in fields(kind)} - {"extra"}
    return kind(**{name: row[name] for name in known & row.keys()}, extra={name: row[name] for name in row.keys() - known})


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _numbers(column: list[Any]) -> NDArray[np.float64] | None:
    """The column as floats; None when it holds anything else."""
    if not all(value is None or isinstance(value, int | float) for value in column):
        return None
    return np.asarray(column, dtype=np.float64)  # None becomes NaN
