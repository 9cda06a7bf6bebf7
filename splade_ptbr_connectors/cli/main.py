"""The application: its commands, and the one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import typer

from .. import __version__
from ..errors import SpladeConnectorsError
from . import exit_codes
from .adopt import adopt
from .alias import alias
from .console import PACKAGE, clean_stdout, log_to_stderr, speak_as, warnings_to_stderr, worded, write_json
from .convert import convert
from .delete import delete
from .demo import demo
from .doctor import doctor
from .encode import encode
from .evaluate import evaluate
from .exit_codes import ExitCode, exit_code_of
from .export import export
from .ingest import ingest
from .messages import Wording
from .options import CREDENTIALS
from .play import play
from .reindex import reindex
from .search import search
from .verify import verify

PROGRAM = "splade-ptbr"
INTERRUPTED = "interrupted: run the same command again (ingest and reindex resume, the others begin anew)."
UsageError: Any = typer.BadParameter.__mro__[1]  # typer exports it under no name that stays

app = typer.Typer(name=PROGRAM, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, epilog=exit_codes.HELP)
for command in (demo, encode, convert):
    app.command(epilog=exit_codes.HELP)(command)
for with_store in (ingest, search, play, evaluate, verify, delete, adopt, alias, reindex, doctor):
    app.command(epilog=f"{CREDENTIALS}\n\n{exit_codes.HELP}")(with_store)
app.add_typer(export, name="export")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", envvar="SPLADE_PTBR_DEBUG", help="Show details, and tracebacks of errors.")] = False,
) -> None:
    """Learned sparse retrieval (SPLADE) for Brazilian Portuguese.

    Start with: splade-ptbr demo
    """
    log_to_stderr(debug=debug)


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a file name that is not valid text must not break the message about it
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings_to_stderr()
    code = run(sys.argv[1:])
    sys.exit(_flush_stdout() or code)


def _flush_stdout() -> int:
    """What cannot be written shows here at the latest; the interpreter's own attempt at exit would end in a traceback."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.UNEXPECTED if error.errno == errno.EPIPE else _foreign(error, as_json=False)
    return ExitCode.OK


def run(arguments: Sequence[str]) -> int:
    """Run the command line in this process. Returns the exit code; raises nothing deliberately."""
    as_json = "--json" in arguments
    speak_as(Wording.of(PROGRAM, typer.main.get_command(app), arguments))
    with clean_stdout(as_json=as_json):
        try:
            outcome = app(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
            if outcome == ExitCode.INTERRUPTED:  # typer has caught the KeyboardInterrupt itself
                raise KeyboardInterrupt
            return outcome if isinstance(outcome, int) else ExitCode.OK
        except (KeyboardInterrupt, typer.Abort):
            return _interrupted(as_json)
        except SpladeConnectorsError as error:
            return _fail(exit_code_of(error), type(error).__name__, worded(str(error)), as_json=as_json)
        except Exception as error:
            if isinstance(error.__cause__, KeyboardInterrupt):  # an extension module was being imported: it makes an ImportError of it
                return _interrupted(as_json)
            return _foreign(error, as_json=as_json)


def _interrupted(as_json: bool) -> int:
    return _fail(ExitCode.INTERRUPTED, "Interrupted", INTERRUPTED, as_json=as_json)


def _foreign(error: Exception, *, as_json: bool) -> int:
    kind = type(error).__name__
    if isinstance(error, UsageError):
        message = error.format_message()  # empty when the help was shown because there were no arguments
        if not message:
            return ExitCode.USAGE
        end = "" if message.endswith((".", "?")) else "."
        return _fail(ExitCode.USAGE, kind, f"{message}{end} Try --help.", as_json=as_json)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _fail(ExitCode.INPUT, kind, f"{error.filename or 'the output'} cannot be written: {error.strerror}.", as_json=as_json)
    return _fail(ExitCode.UNEXPECTED, kind, f"unexpected {kind}: {error} (for details: {PROGRAM} --debug ...)", as_json=as_json)


def _fail(code: ExitCode, kind: str, message: str, *, as_json: bool) -> int:
    if logging.getLogger(PACKAGE).isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    line = " ".join(message.split())
    sys.stderr.write(f"{PROGRAM}: error: {line}\n")
    if as_json:
        write_json({"error": {"type": kind, "message": line}})
    return code
