"""The lines of training.jsonl: one JSON object each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from splade_ptbr_connectors.errors import InputFileError
from training.runlog.data import Row

FILE_NAME = "training.jsonl"
EVENTS = ("start", "step", "validation", "end")


def raw_rows(path: Path) -> Iterator[tuple[bytes, Row]]:
    """Every line as it is, with its object."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                row = parsed(line)
                if row is None and not line.endswith(b"\n"):
                    return  # the process was killed while it wrote
                if row is None or row.get("event") not in EVENTS:
                    raise InputFileError(f"{path}, line {number}: not a row of a run's log: {line[:80].decode('utf-8', 'replace')!r}.")
                yield line if line.endswith(b"\n") else line + b"\n", row
    except FileNotFoundError as error:
        raise InputFileError(f"{path}: no such file. Give the folder of a run, or its {FILE_NAME}.") from error
    except OSError as error:
        raise InputFileError(f"{path} cannot be read: {error.strerror or error}.") from error


def parsed(line: bytes) -> Row | None:
    """The object of a line; None for anything else."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
