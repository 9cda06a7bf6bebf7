"""Long texts as passages: cut at paragraph, sentence and word borders, each with its place in the text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from .borders import Border, borders, units
from .encoding.protocol import CountsTokens
from .errors import ConfigError
from .strict import Strict

if TYPE_CHECKING:
    from .encoding.protocol import Encoder

    Count = Callable[[Sequence[str]], list[int]]
    Span = tuple[int, int]

CHARACTERS_PER_TOKEN = 16
"""A text of more is cut whatever it counts: a tokenizer makes a single unknown token of a megabyte without a space."""

OVERLAP = 32


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a text: text == document_text[start:end], offsets in characters; numbers count from 0."""

    number: int
    start: int
    end: int
    text: str


class PassageSettings(Strict):
    """How texts are split; a store remembers it.

    Attributes:
        passage_tokens: at most so many tokens of the model a passage, the title's included; less where the model takes less.
        overlap: of the passage before at most so many tokens are repeated, whole sentences only. By default 32, or a quarter of
            shorter passages.
    """

    noun: ClassVar[str] = "setting of passages"

    passage_tokens: Annotated[int, Field(ge=8, le=100_000)] = 200
    overlap: Annotated[int, Field(ge=0, le=50_000)] = OVERLAP

    @model_validator(mode="before")
    @classmethod
    def _shorter_overlap(cls, values: dict[str, Any]) -> dict[str, Any]:
        tokens = values.get("passage_tokens")
        return {"overlap": min(OVERLAP, tokens // 4), **values} if isinstance(tokens, int) and tokens > 0 else values

    @model_validator(mode="after")
    def _advances(self) -> PassageSettings:
        if self.overlap > self.passage_tokens // 2:
            raise ConfigError(f"overlap is {self.overlap}: it must be at most half of passage_tokens, which are {self.passage_tokens}.")
        return self


class Splitter:
    """Splits texts into passages that the encoder takes whole; arguments as in PassageSettings.

    A passage ends where a paragraph does, else a sentence, a line, a clause, a word; only a word that is longer than a passage is cut.
    All but white space is in a passage. Tokens are those of the model's tokenizer; for an encoder that counts none they are words.
    """

    def __init__(self, encoder: Encoder, *, passage_tokens: int | None = None, overlap: int | None = None) -> None:
        given = {"passage_tokens": passage_tokens, "overlap": overlap}
        self.settings = PassageSettings(**{name: value for name, value in given.items() if value is not None})
        if isinstance(encoder, CountsTokens):
            self._count: Count = encoder.count_tokens
            self.limit = min(self.settings.passage_tokens, encoder.document_room)
        else:
            self._count, self.limit = _count_words, self.settings.passage_tokens

    def split(self, text: str, title: str | None = None) -> list[Passage]:
        """The passages of a text, at least one; one that fits is a single passage, white space around it included.

        Of each passage the encoder gets the title, a space and the passage. A title that leaves less than half of the room takes
        half of it, so that passages of its own text remain.

        Raises TextError for a text that cannot be encoded.
        """
        front = f"{title} " if title else ""
        if self._fits(front + text, self.limit):
            return [Passage(0, 0, len(text), text)]
        room = max(self.limit - self._count([front])[0], self.limit // 2)
        spans = [(0, len(text))] if self._fits(text, room) else self._spans(text, room)
        return [Passage(number, start, end, text[start:end]) for number, (start, end) in enumerate(spans)]

    def _fits(self, text: str, room: int) -> bool:
        return len(text) <= room * CHARACTERS_PER_TOKEN and self._count([text])[0] <= room

    def _spans(self, text: str, room: int) -> list[Span]:
        """Cut by the tokens of single words, and closer where a tokenizer makes more of them together than one by one."""
        pieces = _Pieces.of(text, room, self._count)
        most = room
        while True:
            spans = [pieces.span(first, last) for first, last in pieces.cut(most, self.settings.overlap)]
            largest = max(self._count([text[start:end] for start, end in spans]), default=0)
            if largest <= room or most == 1:
                return spans or [(0, len(text))]
            most = max(1, min(most - 1, most * room // largest))


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What a text is cut between: units, tokens in front of each (one number more than units), and the border behind each."""

    spans: list[Span]
    before: list[int]
    borders: list[Border]

    @classmethod
    def of(cls, text: str, room: int, count: Count) -> _Pieces:
        """Every word is counted once, and halved until it fits."""
        spans = units(text)
        words = list({text[start:end] for start, end in spans})
        tokens = dict(zip(words, count(words), strict=True))
        if max(tokens.values(), default=0) > room:
            spans = [part for span in spans for part in _halved(span, text, room, tokens, count)]
        return cls(spans, [0, *accumulate(tokens[text[start:end]] for start, end in spans)], borders(text, spans))

    def span(self, first: int, last: int) -> Span:
        """Characters from the first unit to the one before the last."""
        return self.spans[first][0], self.spans[last - 1][1]

    def cut(self, room: int, overlap: int) -> list[tuple[int, int]]:
        """First and last unit (exclusive) of each passage of at most `room` tokens."""
        found, first, done = list[tuple[int, int]](), 0, 0
        while done < len(self.spans):
            done = self._end(first, done, room)
            found.append((first, done))
            first = self._repeated(first, done, room, overlap) if done < len(self.spans) else done
        return found

    def _end(self, first: int, done: int, room: int) -> int:
        """Where the passage from `first` on ends, behind `done`: of the strongest borders the one nearest to equal passages."""
        furthest = max(bisect_right(self.before, self.before[first] + room) - 1, done + 1)
        if furthest >= len(self.spans):
            return len(self.spans)
        rest = self.before[-1] - self.before[first]
        target = self.before[first] + rest / -(-rest // room)
        ends = range(done + 1, furthest + 1)
        near = [end for end in ends if self.before[end] - self.before[first] >= room // 2 and self.borders[end - 1] == Border.PARAGRAPH]
        strongest = max(min(self.borders[end - 1], Border.SENTENCE) for end in ends)
        candidates = near or [end for end in ends if self.borders[end - 1] >= strongest]
        return min(candidates, key=lambda end: abs(self.before[end] - target))

    def _repeated(self, first: int, done: int, room: int, overlap: int) -> int:
        """Where the next passage begins: so many whole sentences back as fit, beside at least one more behind `done`."""
        following = next(end for end in range(done + 1, len(self.spans) + 1) if self._ends_sentence(end) or self._tokens(done, end) > room)
        allowed = min(overlap, room - self._tokens(done, following))
        begin = done
        for start in range(done - 1, first, -1):
            if self._tokens(start, done) > allowed:
                break
            if self._ends_sentence(start):
                begin = start
        return begin

    def _ends_sentence(self, end: int) -> bool:
        return self.borders[end - 1] >= Border.SENTENCE

    def _tokens(self, first: int, last: int) -> int:
        return self.before[last] - self.before[first]


def default_settings() -> dict[str, Any]:
    """The settings of a Splitter by name, as they are by default."""
    return PassageSettings().model_dump()


def _count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def _halved(span: Span, text: str, room: int, tokens: dict[str, int], count: Count) -> list[Span]:
    """The span in parts of at most `room` tokens, or of a single character."""
    start, end = span
    part = text[start:end]
    if part not in tokens:
        tokens[part] = count([part])[0]
    if tokens[part] <= room or end - start == 1:
        return [span]
    middle = (start + end) // 2
    return _halved((start, middle), text, room, tokens, count) + _halved((middle, end), text, room, tokens, count)
