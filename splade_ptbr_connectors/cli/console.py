"""What goes where and how it looks: one result on stdout (JSON or for people), everything else on stderr.

For people hits and tables have colours and bars in a terminal, and are plain lines in a pipe.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..languages import Number, words_of_locale
from .messages import Wording
from .snippet import text_lines

if TYPE_CHECKING:
    from rich.console import Console

PACKAGE = "splade_ptbr_connectors"
WORDS = Path(__file__).with_name("words.json")
PLAIN_WIDTH = 120  # columns of a table that goes into a pipe or a file
BAR = "▏▎▍▌▋▊▉█"
BAR_CELLS = 4
SHOWN_WORDS = 8
TEXT_WIDTH = 110
INDENT = "   "

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


def flush() -> None:
    """Hand what was written to stdout on: a command that goes on running is read before it ends."""
    _stdout().flush()


def note(message: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"splade-ptbr: {message}\n")


def spoken(part: str) -> dict[str, Any]:
    """A part of what is told to people, in the language of the locale: words.json."""
    words: dict[str, Any] = words_of_locale(WORDS)[part]
    return words


def counted(number: int, one: str, many: str = "") -> str:
    """So many of them: "1 document", "1,000 documents"; `many` is the plural where it has no -s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def speak_as(wording: Wording) -> None:
    """From now on show messages of the package in the words of the command that runs."""
    _wording[:] = [wording]


def worded(message: str) -> str:
    """A message of the package as the command that runs says it."""
    return _wording[-1](message)


_wording = [Wording()]


def warnings_to_stderr() -> None:
    """Show each of the package's warnings as one line, without the place in its code."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        note(f"warning: {' '.join(worded(str(message)).split())}")

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


class _Worded(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return worded(super().format(record))


def log_to_stderr(*, debug: bool) -> None:
    """Show this package's warnings on stderr, and its details with --debug."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Worded("splade-ptbr: %(levelname)s: %(message)s"))
    logger = logging.getLogger(PACKAGE)
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)


# -- hits and tables ---------------------------------------------------------------------------------------------------


def show_hits(console: Console, hits: Sequence[Mapping[str, Any]], *, lines: int | None = None, otherwise: str | None = None) -> None:
    """One block per hit: rank, score, title and id, so many lines of text (0: all), and the words that made it match if they are there.

    Args:
        otherwise: what is said where there are none.
    """
    if not hits:
        console.print(INDENT + (otherwise or spoken("hits")["nothing"]), style="dim", markup=False)
    for rank, hit in enumerate(hits, 1):
        _show_heading(console, rank, hit)
        width = min(console.width, TEXT_WIDTH) - len(INDENT)
        for line in text_lines(hit, width, console, lines):
            console.print(INDENT, line, sep="", style="dim", markup=False)
        if "words" in hit:
            console.print(INDENT + word_line(hit["words"], width, bars=console.is_terminal), style="green", markup=False)


def _show_heading(console: Console, rank: int, hit: Mapping[str, Any]) -> None:
    from rich.markup import escape

    from ..encoding.explain_words import marked

    title, doc_id = (escape(marked(hit[name], [])) for name in ("title", "doc_id"))  # without control characters
    title = f"[bold]{title}[/bold] " if title else ""
    place = ""
    if passage := hit.get("passage"):
        place = ", " + spoken("hits")["passage"].format(n=passage["number"] + 1, of=passage["of"])
    console.print(f"[bold]{rank:>2}[/bold] [cyan]{Number(hit['score']):7.3f}[/cyan]  {title}[dim]({doc_id}{place})[/dim]")


def word_line(words: Sequence[Mapping[str, Any]], width: int, *, bars: bool) -> str:
    """The largest contributions that fit, `word +1.23`, each behind a bar of its size in a terminal."""
    most = max((part["contribution"] for part in words), default=1.0)
    line, shown, say = "", 0, spoken("hits")
    for part in words[:SHOWN_WORDS]:
        bar = _bar(part["contribution"] / most) + " " if bars else ""
        origin = f" ({say[part['source']]})" if part["source"] in ("title", "expansion") else ""
        longer = f"{line}{bar}{part['word']}{origin} +{Number(part['contribution']):.2f}  "
        if line and len(longer) > width - len(say["more"].format(n=99)):
            break
        line, shown = longer, shown + 1
    rest = len(words) - shown
    return f"{line}{say['more'].format(n=rest) if rest else ''}".rstrip()


def _bar(share: float) -> str:
    eighths = max(1, round(share * 8 * BAR_CELLS))
    full, rest = divmod(eighths, 8)
    return "█" * full + (BAR[rest - 1] if rest else "")


def show_table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[int] = ()) -> None:
    """Aligned columns; those in `numeric` are right-aligned."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, header_style="bold", pad_edge=False)
    for position, name in enumerate(columns):
        table.add_column(name, justify="right" if position in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)
