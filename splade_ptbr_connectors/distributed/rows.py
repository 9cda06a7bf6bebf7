"""What is sent between the processes, as JSON texts in the one column of a table: a batch of records in, its outcome out."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from .. import errors
from ..errors import SpladeConnectorsError
from ..ingestion.items import ReadyVectors, read_items
from ..sources import Broken, Row

COLUMN = "row"
MAX_BATCH_CHARACTERS = 8 * 2**20
Table = dict[str, list[str]]


@dataclass
class Outcome:
    """What became of one batch.

    Attributes:
        new: of the written, those that the store did not hold before in another version.
        without_dense: of the written, those that have no dense vector.
        sample: id and content hash of some of the written.
        rejected: line, reason and dead-letter line of every rejected record.
        error: name of an error class of this package and its message: the run ends with it.
    """

    written: int = 0
    unchanged: int = 0
    new: int = 0
    without_dense: int = 0
    sample: list[tuple[str, str]] = field(default_factory=list)
    rejected: list[tuple[int, str, str]] = field(default_factory=list)
    error: tuple[str, str] | None = None

    def to_table(self) -> Table:
        """As one row, the rejected records in the order of the input."""
        self.rejected.sort()
        return {COLUMN: [json.dumps(asdict(self))]}

    @classmethod
    def from_text(cls, text: str) -> Self:
        """From a row's text."""
        return cls(**json.loads(text))

    def raise_error(self) -> None:
        """Raise the error, with the class it had."""
        if self.error is None:
            return
        name, message = self.error
        kind = getattr(errors, name, SpladeConnectorsError)
        error = kind.__new__(kind, message)  # some take more arguments than their message
        error.args = (message,)
        raise error


def batches(source: Iterable[Any], ready: ReadyVectors, size: int) -> Iterator[Table]:
    """The records of a source, checked, up to `size` in a row of a table; an error that ends the source comes last."""
    texts: list[str] = []
    characters = 0
    for text in _records(source, ready):
        texts.append(text)
        characters += len(text)
        if len(texts) == size or characters >= MAX_BATCH_CHARACTERS:
            yield {COLUMN: ["[" + ",".join(texts) + "]"]}
            texts, characters = [], 0
    if texts:
        yield {COLUMN: ["[" + ",".join(texts) + "]"]}


def read_batch(text: str, outcome: Outcome) -> list[Row]:
    """The records of a batch; what is rejected and an error of the source go into the outcome."""
    rows = []
    for line, raw, rejected, error in json.loads(text):
        if rejected is not None:
            outcome.rejected.append((line, *rejected))
        elif error is not None:
            outcome.error = tuple(error)
        else:
            rows.append(Row(line, raw))
    return rows


def error_of(error: SpladeConnectorsError) -> tuple[str, str]:
    """An error as it is sent."""
    return type(error).__name__, str(error)


def _records(source: Iterable[Any], ready: ReadyVectors) -> Iterator[str]:
    """A text a record: [line, raw, (reason, dead-letter line) or null, error or null]."""
    read: deque[Row | Broken] = deque()

    def remembered() -> Iterator[Any]:
        for row in source:
            read.append(row)
            yield row

    try:
        for item in read_items(remembered(), ready):
            row = read.popleft()
            if item.reason or isinstance(row, Broken):
                yield json.dumps([item.line, None, [item.reason, item.dead_letter_line], None])
            else:
                yield json.dumps([item.line, row.raw, None, None])
    except SpladeConnectorsError as error:
        yield json.dumps([0, None, None, error_of(error)])
