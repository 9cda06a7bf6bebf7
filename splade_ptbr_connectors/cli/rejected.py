"""Rejected records: what is said about them, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from .console import note
from .exit_codes import ExitCode


def leave_if_rejected(rejected: int, read: int, dead_letter: str | None, *, allowed: bool) -> None:
    """Name the first rejected record and where the others are; leave with the exit code for it unless that is allowed."""
    if not rejected:
        return
    where = f"; all are in {dead_letter}" if dead_letter else ""
    note(f"{'warning' if allowed else 'error'}: {rejected:,} of {read:,} records were rejected, {_first(dead_letter)}{where}")
    if not allowed:
        raise typer.Exit(ExitCode.REJECTED)


def _first(dead_letter: str | None) -> str:
    if dead_letter is None:
        return "use --dead-letter FILE to see which"
    with Path(dead_letter).open(encoding="utf-8") as lines:
        first = json.loads(lines.readline())
    return f"first: line {first['line']}: {first['reason']}"
