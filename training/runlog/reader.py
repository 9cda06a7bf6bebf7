"""Reading the log of a run back, into columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.errors import InputFileError
from training.runlog.data import End, Row, RunLogData, SplitResult, Start, Steps, Validation
from training.runlog.lines import FILE_NAME, raw_rows

Typed = TypeVar("Typed", SplitResult, Validation, Start, End)


def read_log(path: Path) -> RunLogData:
    """Reads a run's log, given as the file or as the folder that holds it; a torn last line is left out.

    Raises:
        InputFileError: no such file, or, with the line's number, what no run writes: no JSON object, an unknown event, no
            start row first, a second start row, steps that do not increase, a value of another type.
    """
    file = path / FILE_NAME if path.is_dir() else path
    reader = _Reader(file)
    for number, (_, row) in enumerate(raw_rows(file), 1):
        reader.read(row, number)
    return reader.data()


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
            raise TypeError("the recipe is not an object")

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

    def _refuse(self, why: str) -> NoReturn:
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
