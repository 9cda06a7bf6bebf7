"""What goes where: one result on stdout (JSON or for people), everything else on stderr."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PACKAGE = "splade_ptbr_connectors"
PLAIN_WIDTH = 120  # columns of a table that goes into a pipe or a file
Document = Mapping[str, Any]


def emit(document: Document, render: Callable[[Any, Console], None], *, as_json: bool) -> None:
    """Write a command's result: the document itself, or what `render` makes of it for people."""
    if as_json:
        write_json(document)
    else:
        render(document, human_console())


def write_json(document: Document) -> None:
    """Write one JSON document to stdout, in ASCII where stdout is not Unicode."""
    stream = _stdout()
    unicode = (stream.encoding or "utf-8").lower().startswith("utf")
    stream.write(json.dumps(document, ensure_ascii=not unicode, indent=2) + "\n")


def note(message: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"splade-ptbr: {message}\n")


def warnings_to_stderr() -> None:
    """Show what the package warns of as one line, without the place in its code."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        note(f"warning: {' '.join(str(message).split())}")

    warnings.showwarning = show


def human_console() -> Console:
    """A rich console on stdout: colours and the terminal's width there, plain text and a fixed width elsewhere."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else PLAIN_WIDTH, highlight=False, emoji=False)


@contextmanager
def clean_stdout(*, as_json: bool) -> Iterator[None]:
    """Under --json, send whatever a library writes to stdout to stderr; only write_json() reaches the real stdout."""
    if not as_json:
        yield
        return
    _real_stdout.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _real_stdout.pop()


_real_stdout: list[Any] = []


def _stdout() -> Any:
    return _real_stdout[-1] if _real_stdout else sys.stdout


def log_to_stderr(*, debug: bool) -> None:
    """Show this package's warnings on stderr, and its details with --debug."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("splade-ptbr: %(levelname)s: %(message)s"))
    logger = logging.getLogger(PACKAGE)
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
