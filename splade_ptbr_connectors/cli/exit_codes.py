"""The exit codes of every command, and how a command ends when records were rejected."""

from __future__ import annotations

import json
from enum import IntEnum
from pathlib import Path

import typer

from ..errors import ConfigError, IngestError, InputError, MissingExtraError, ModelError, SpladeConnectorsError, StoreError
from .console import note, worded


class ExitCode(IntEnum):
    """What the process tells its caller."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    INPUT = 3
    MODEL = 4
    STORE = 5
    EXTRA = 6
    REJECTED = 7
    DIFFERENT = 8
    INTERRUPTED = 130


MEANING = {
    ExitCode.OK: "done",
    ExitCode.UNEXPECTED: "unexpected error",
    ExitCode.USAGE: "wrong usage or setting",
    ExitCode.INPUT: "input or output file cannot be used",
    ExitCode.MODEL: "model cannot be used",
    ExitCode.STORE: "store cannot be used",
    ExitCode.EXTRA: "optional dependency missing",
    ExitCode.REJECTED: "done, but records were rejected",
    ExitCode.DIFFERENT: "the store differs from its input",
    ExitCode.INTERRUPTED: "interrupted",
}
HELP = "Exit codes: " + ", ".join(f"{code.value} {meaning}" for code, meaning in MEANING.items()) + "."

_CODES: dict[type[SpladeConnectorsError], ExitCode] = {
    ConfigError: ExitCode.USAGE,
    MissingExtraError: ExitCode.EXTRA,
    InputError: ExitCode.INPUT,
    IngestError: ExitCode.INPUT,
    ModelError: ExitCode.MODEL,
    StoreError: ExitCode.STORE,
}


def exit_code_of(error: SpladeConnectorsError) -> ExitCode:
    """The exit code of one of this package's errors."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), ExitCode.UNEXPECTED)


def exit_if_rejected(rejected: int, read: int, dead_letter: str | None, *, allowed: bool) -> None:
    """Name the first rejected record and where all of them are; exit with the code for it unless that is allowed."""
    if not rejected:
        return
    where = f"; all are in {dead_letter}" if dead_letter else ""
    note(f"{'warning' if allowed else 'error'}: {rejected:,} of {read:,} records were rejected, {_first_rejected(dead_letter)}{where}")
    if not allowed:
        raise typer.Exit(ExitCode.REJECTED)


def _first_rejected(dead_letter: str | None) -> str:
    if dead_letter is None:
        return "use --dead-letter FILE to see which"
    with Path(dead_letter).open(encoding="utf-8") as lines:
        first = json.loads(lines.readline())
    return f"first: line {first['line']}: {worded(first['reason']).rstrip('.')}"
