"""How hits and tables look for people: colours and bars in a terminal, plain lines in a pipe."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

BAR = "▏▎▍▌▋▊▉█"
BAR_CELLS = 4
SHOWN_TOKENS = 8
TEXT_WIDTH = 110
INDENT = "   "


def show_hits(console: Console, hits: Sequence[Mapping[str, Any]], *, snippet_lines: int = 2) -> None:
    """One block per hit: rank, score, title and id, a snippet, and the tokens that made it match if they are there."""
    if not hits:
        console.print(f"{INDENT}no document shares a term with this query, or the filter lets none of those pass", style="dim")
    for rank, hit in enumerate(hits, 1):
        _show_heading(console, rank, hit)
        width = min(console.width, TEXT_WIDTH) - len(INDENT)
        for line in _snippet(hit["text"], width, snippet_lines):
            console.print(INDENT + line, style="dim", markup=False)
        if "tokens" in hit:
            console.print(INDENT + token_line(hit["tokens"], width, bars=console.is_terminal), style="green", markup=False)


def _show_heading(console: Console, rank: int, hit: Mapping[str, Any]) -> None:
    from rich.markup import escape

    title = f"[bold]{escape(hit['title'])}[/bold] " if hit["title"] else ""
    console.print(f"[bold]{rank:>2}[/bold] [cyan]{hit['score']:7.3f}[/cyan]  {title}[dim]({escape(hit['doc_id'])})[/dim]")


def _snippet(text: str, width: int, lines: int) -> list[str]:
    wrapped = textwrap.wrap(text, width)
    if len(wrapped) <= lines:
        return wrapped
    return [*wrapped[: lines - 1], textwrap.shorten(" ".join(wrapped[lines - 1 :]), width, placeholder=" ...")]


def token_line(tokens: Sequence[Mapping[str, Any]], width: int, *, bars: bool) -> str:
    """The largest contributions that fit, `token +1.23`, each behind a bar of its size in a terminal."""
    most = max((part["contribution"] for part in tokens), default=1.0)
    line, shown = "", 0
    for part in tokens[:SHOWN_TOKENS]:
        bar = _bar(part["contribution"] / most) + " " if bars else ""
        longer = f"{line}{bar}{part['token']} +{part['contribution']:.2f}  "
        if line and len(longer) > width - len("and 99 more"):
            break
        line, shown = longer, shown + 1
    rest = len(tokens) - shown
    return (line + (f"and {rest} more" if rest else "")).rstrip()


def _bar(share: float) -> str:
    eighths = max(1, round(share * 8 * BAR_CELLS))
    full, rest = divmod(eighths, 8)
    return "█" * full + (BAR[rest - 1] if rest else "")


def show_table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[int] = ()) -> None:
    """Aligned columns; those in `numeric` are aligned at the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, header_style="bold", pad_edge=False)
    for position, name in enumerate(columns):
        table.add_column(name, justify="right" if position in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)
