"""What a person reads of a hit's text: some lines, those around the words that made it match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..hits import Mark, marks_of, stretch

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ..encoding.explain_words import Style

CUT = "..."
LINES = 2
EXPLAINED_LINES = 4  # by default; of a hit with its words


def text_lines(hit: Mapping[str, Any], width: int, console: Console, lines: int | None = None) -> list[Text]:
    """The hit's text with its words marked, wrapped; of one that takes more lines those that hold most of the score.

    Args:
        lines: at most so many; 0: all of them; None: LINES, or EXPLAINED_LINES of a hit with its words.
    """
    text, marks = hit["text"], marks_of(hit)
    most = (EXPLAINED_LINES if marks else LINES) if lines is None else lines
    if not most:
        return _wrapped(text, marks, (0, len(text)), width, console)
    room = min(len(text), most * width)
    while len(wrapped := _wrapped(text, marks, stretch(text, marks, room), width, console)) > most and room:
        room = max(0, room - width // 4)  # marks and ragged lines take room too
    return wrapped[:most]


def _wrapped(text: str, marks: Sequence[Mark], part: tuple[int, int], width: int, console: Console) -> list[Text]:
    from rich.text import Text

    from ..encoding.explain_words import marked

    start, end = part
    style: Style = "ansi" if console.is_terminal else "plain"
    shown = marked(text[start:end], [(mark.start, mark.end) for mark in marks], start=start, style=style)
    before, behind = CUT + " " if text[:start].strip() else "", " " + CUT if text[end:].strip() else ""
    shown = " ".join(shown.split())
    return list(Text.from_ansi(before + shown + behind).wrap(console, width)) if shown else []
