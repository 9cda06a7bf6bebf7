"""Long texts as passages: cut at paragraph, sentence and word borders, each with its place in the text."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .encoding.protocol import Encoder

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a text: text == document_text[start:end], offsets in characters; numbers count from 0."""

    number: int
    start: int
    end: int
    text: str


class Splitter:
    """Cuts texts into passages of at most `passage_tokens` tokens, each of which repeats the last `overlap` of the one before."""

    def __init__(self, encoder: Encoder, *, passage_tokens: int = 200, overlap: int = 32) -> None:
        self.encoder, self.passage_tokens, self.overlap = encoder, passage_tokens, overlap

    def split(self, text: str, title: str | None = None) -> list[Passage]:
        """The passages of a text, at least one."""
        words = [match.span() for match in _WORD.finditer(text)]
        if len(words) <= self.passage_tokens:
            return [Passage(0, 0, len(text), text)]
        spans, begin = list[tuple[int, int]](), 0
        while not spans or spans[-1][1] < words[-1][1]:
            last = min(begin + self.passage_tokens, len(words))
            spans.append((words[begin][0], words[last - 1][1]))
            begin = last - self.overlap
        return [Passage(number, start, end, text[start:end]) for number, (start, end) in enumerate(spans)]


def default_settings() -> dict[str, Any]:
    """The settings of a Splitter by name, as they are by default."""
    parameters = inspect.signature(Splitter.__init__).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
