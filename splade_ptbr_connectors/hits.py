"""A hit as JSON values, with the words that made it match, and the part of its text around those that add most to the score."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .text import shown_text

if TYPE_CHECKING:
    from .stores.base import Hit, Store
    from .vectors import SparseVector

_WORD = re.compile(r"\S{1,40}")  # of one without end a part is enough


class Mark(NamedTuple):
    """A matched word in the text of a hit: its place in that text, which of the words it is, and what that adds to the score."""

    start: int
    end: int
    word: int
    contribution: float


def hit_to_dict(hit: Hit) -> dict[str, Any]:
    """doc_id, score, title and text, and the rest of the payload under "payload"; of a long document the passage that was found."""
    payload = dict(hit.payload)
    title, text = (shown_text(payload.pop(name, None)) for name in ("title", "text"))
    found: dict[str, Any] = {"doc_id": hit.doc_id, "score": hit.score, "title": title, "text": text, "payload": payload}
    if hit.place is not None:
        passage = hit.passage
        found["text"] = passage.text
        found["passage"] = {"number": passage.number, "start": passage.start, "end": passage.end, "of": len(hit.place.spans)}
    return found


def add_words(hits: list[dict[str, Any]], found: Sequence[Hit], query: str, store: Store, vector: SparseVector) -> None:
    """Give each hit its "words", those that made it match, largest contribution first; none if it was deleted meanwhile.

    Args:
        vector: of the query, which is encoded by whoever has searched.
    """
    from .retrieval import explain_hits  # loads numpy, which commands that explain nothing do without

    for hit, explanation in zip(hits, explain_hits(store, query, found, vector), strict=True):
        hit["words"] = explanation.to_dict()["words"] if explanation is not None else []


def marks_of(hit: Mapping[str, Any]) -> list[Mark]:
    """The matched words that stand in the hit's text, in order."""
    return _marks(hit, "places", hit.get("passage", {"start": 0})["start"])


def title_marks_of(hit: Mapping[str, Any]) -> list[Mark]:
    """Those that stand in its title."""
    return _marks(hit, "title_places", 0)


def _marks(hit: Mapping[str, Any], places: str, first: int) -> list[Mark]:
    return sorted(
        Mark(place["start"] - first, place["end"] - first, number, word["contribution"])
        for number, word in enumerate(hit.get("words", ()))
        for place in word[places]
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
