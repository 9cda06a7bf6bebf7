"""What a person reads of a hit's text: some lines, those around the words that made it match."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ..encoding.explain_words import Style

CUT = "..."
LINES = 2
EXPLAINED_LINES = 4  # by default; of a hit with its words
_WORD = re.compile(r"\S{1,40}")  # of one without end a part is enough


class Mark(NamedTuple):
    """A matched word in the text of a hit: its place in that text, which of the words it is, and what that adds to the score."""

    start: int
    end: int
    word: int
    contribution: float


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


def marks_of(hit: Mapping[str, Any]) -> list[Mark]:
    """The matched words that stand in the hit's text, in order."""
    first = hit.get("passage", {"start": 0})["start"]
    return sorted(
        Mark(place["start"] - first, place["end"] - first, number, word["contribution"])
        for number, word in enumerate(hit.get("words", ()))
        for place in word["places"]
    )


def stretch(text: str, marks: Sequence[Mark], room: int) -> tuple[int, int]:
    """Start and end of at most `room` characters, but at least of a word: whole words around the marks that add most to the score."""
    first, last = _best(marks, room)
    start = max(0, min(first - (room - (last - first)) // 2, len(text) - room))
    words = [match.span() for match in _WORD.finditer(text)]
    inside = [word for word in words if (start <= word[0] and word[1] <= start + room) or (word[0] < last and word[1] > first)]
    return ((inside or words)[0][0], (inside or words[:1])[-1][1]) if words else (0, 0)


def _best(marks: Sequence[Mark], room: int) -> tuple[int, int]:
    """Start and end of the marks in the room whose words add most to the score, the closest together; (0, 0) without marks."""
    best, place = (0.0, 0), (0, 0)
    for number, mark in enumerate(marks):
        near = marks[number + 1 : bisect_right(marks, mark.start + room, key=lambda other: other.start)]
        words, end = {mark.word: mark.contribution}, mark.end
        for other in near:
            if other.word not in words and other.end - mark.start <= room:
                words[other.word], end = other.contribution, max(end, other.end)
        found = (math.fsum(words.values()), mark.start - end)
        if found > best:
            best, place = found, (mark.start, end)
    return place


def _wrapped(text: str, marks: Sequence[Mark], part: tuple[int, int], width: int, console: Console) -> list[Text]:
    from rich.text import Text

    from ..encoding.explain_words import marked

    start, end = part
    style: Style = "ansi" if console.is_terminal else "plain"
    shown = marked(text[start:end], [(mark.start, mark.end) for mark in marks], start=start, style=style)
    before, behind = CUT + " " if text[:start].strip() else "", " " + CUT if text[end:].strip() else ""
    shown = " ".join(shown.split())
    return list(Text.from_ansi(before + shown + behind).wrap(console, width)) if shown else []
