"""The exit codes of every command, in one place."""

from __future__ import annotations

from enum import IntEnum

from ..errors import ConfigError, IngestError, InputError, MissingExtraError, ModelError, SpladeConnectorsError, StoreError


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
