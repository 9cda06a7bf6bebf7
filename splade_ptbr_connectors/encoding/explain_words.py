"""Why a passage was found, in words: pieces of a word are one word, with its places in the text, and what is not in the text says so."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeVar

from ..vectors import SparseVector
from .explain import Contribution, explain
from .protocol import Encoder, ShowsPieces

Source = Literal["text", "title", "expansion", "term"]
Style = Literal["plain", "ansi"]
T = TypeVar("T")

# combining accents too, which are letters of a decomposed text, and what is in a word and shows nothing, such as a soft hyphen
_WORD = re.compile(r"[\w\u0300-\u036f\u00ad\u200b-\u200d\u2060\ufeff]+|[^\w\s]")
# a document must not command a terminal, nor turn the direction of what stands behind it
_CONTROL = re.compile(r"[^\S\t\n ]|[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SHOWN_WORDS = 8  # in str() of an explanation: there may be many, most of them the model's
MARKS: dict[Style, tuple[str, str]] = {"plain": ("**", "**"), "ansi": ("\x1b[1;32m", "\x1b[0m")}


class Place(NamedTuple):
    """Where a word is: start and end in characters of the document's text, or of its title."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class WordMatch:
    """A word and what it adds to the score.

    Attributes:
        word: as the passage has it first, else its title; of an expansion the word of the query, else the model's term.
        contribution: the sum over `terms`.
        source: "text" or "title" where the word stands, the text if in both; "expansion": the model put the term to the document
            without the word being in it; "term": the encoder does not show what its terms are made of.
        places, title_places: everywhere that the word stands in the passage and in the title.
        query_word: the word of the query that it serves; None where the query has the terms by expansion too.
        terms: the model's terms that are shared, largest contribution first; each belongs to one word.
    """

    word: str
    contribution: float
    source: Source
    places: tuple[Place, ...]
    title_places: tuple[Place, ...]
    query_word: str | None
    terms: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class WordExplanation:
    """A score and the words that it is made of, largest first; their contributions add up to the score."""

    score: float
    words: tuple[WordMatch, ...]

    @property
    def places(self) -> list[Place]:
        """Every matched word of the text, in order."""
        return sorted(place for match in self.words for place in match.places)

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts and lists, for JSON."""
        values = asdict(self)
        for word in values["words"]:
            for name in ("places", "title_places"):
                word[name] = [{"start": start, "end": end} for start, end in word[name]]
        return values

    def __str__(self) -> str:
        """One line: the score, up to eight words, each with where it is from unless from the text, and what the others add.

        Those of the text and the title stand before what the model added.
        """
        words = sorted(self.words, key=lambda match: match.source == "expansion")
        parts = [f"{match.word}{_origin(match)} +{match.contribution:.2f}" for match in words[:SHOWN_WORDS]]
        if rest := words[SHOWN_WORDS:]:
            parts.append(f"and {len(rest)} more +{sum(match.contribution for match in rest):.2f}")
        return f"{self.score:.2f} = {', '.join(parts) or 'no word in common'}"


def explain_words(
    query_vector: SparseVector,
    document_vector: SparseVector,
    encoder: Encoder,
    *,
    query: str | None = None,
    text: str = "",
    title: str = "",
    start: int = 0,
) -> WordExplanation:
    """Split the dot product of two vectors into words.

    A term that is in several words goes to the one whose terms add most: a plural's ending to the plural that was asked for. Forms of one
    word, all of whose terms are the same, are one match with the places of all of them.

    Args:
        document_vector: as the engine keeps it (Store.quantized), for the parts to add up to the engine's score.
        encoder: shows where its terms stand in texts, see protocol.ShowsPieces; of another one the words are its terms.
        query: its text; None: of a ready vector.
        text: of the passage, which begins at the character `start` of the document's text.
        title: that the passage was encoded behind.
    """
    whole = explain(query_vector, document_vector, encoder.token)
    asked = TextWords.of(query or "", encoder, whole.contributions)
    front = f"{title} " if title else ""
    held = TextWords.of(front + text, encoder, whole.contributions)
    known = isinstance(encoder, ShowsPieces)
    groups: dict[tuple[bool, str], list[Contribution]] = defaultdict(list)
    for part in whole.contributions:
        inside = held.word_of(part.term_id)
        groups[inside is not None, inside or asked.word_of(part.term_id) or readable(part.token)].append(part)
    offset = start - len(front)
    words = [_match(word, parts, held if inside else None, asked, len(front), offset, known) for (inside, word), parts in groups.items()]
    words.sort(key=lambda match: (-match.contribution, match.word))
    return WordExplanation(whole.score, tuple(words))


def marked(text: str, places: Iterable[tuple[int, int]], *, start: int = 0, style: Style = "plain") -> str:
    """A passage that begins at the character `start` of its document's text, with what is at these places of that text marked.

    "plain" marks with two asterisks, "ansi" with a terminal's colours; control characters of the text are taken out of both.
    """
    before, behind = MARKS[style]
    marks = [(begin - start, end - start, True) for begin, end in sorted(places)]
    return "".join(f"{before}{piece}{behind}" if mark else piece for piece, mark in in_pieces(text, marks, 0, len(text)))


def in_pieces(text: str, marks: Iterable[tuple[int, int, T]], start: int, end: int) -> Iterator[tuple[str, T | None]]:
    """The text from start to end, printable, each piece with what the mark there says, or None.

    Args:
        marks: (start, end, what it says) in order; of those that overlap the first has what they share.
    """
    done = start
    for begin, stop, says in marks:
        first, last = max(begin, done), min(stop, end)
        if first < last:
            if done < first:
                yield printable(text[done:first]), None
            yield printable(text[first:last]), says
            done = last
    if done < end:
        yield printable(text[done:end]), None


class TextWords:
    """The words of a text, and which of them each shared term belongs to."""

    def __init__(self, text: str, places: Mapping[str, Sequence[Place]], home: Mapping[int, str]) -> None:
        self.text, self.places, self._home = text, places, home

    @classmethod
    def of(cls, text: str, encoder: Encoder, parts: Sequence[Contribution]) -> TextWords:
        shared = {part.term_id: part.contribution for part in parts}
        terms: dict[str, dict[int, None]] = defaultdict(dict)  # a word -> its shared terms, in their order
        places: dict[str, dict[Place, None]] = defaultdict(dict)
        mixed = set[str]()  # words with pieces that have no shared term
        word, at = "", Place(0, 0)
        for found, place in _placed(text, encoder):
            if place is not at:  # a word may be long, and of many tokens
                word, at = text[place.start : place.end].casefold(), place
            if common := [term for term in found if term in shared]:
                terms[word].update(dict.fromkeys(common))
                places[word][place] = None
            else:
                mixed.add(word)
        support = {word: sum(shared[term] for term in inside) for word, inside in terms.items()}
        home: dict[int, str] = {}
        for word in sorted(support, key=lambda word: -support[word]):
            for term in terms[word]:
                home.setdefault(term, word)
        for word in terms.keys() - home.values() - mixed:  # another form of a word, such as its plural
            places[home[max(terms[word], key=lambda term: shared[term])]].update(places[word])
        return cls(text, {word: tuple(sorted(each)) for word, each in places.items()}, home)

    def word_of(self, term: int) -> str | None:
        """The word, in small letters, that the term belongs to; None: it is not in the text."""
        return self._home.get(term)

    def spelled(self, word: str, after: int = 0) -> str:
        """As the text has it first behind a place, or first of all."""
        place = next((each for each in self.places[word] if each.start >= after), self.places[word][0])
        return self.text[place.start : place.end]


def _placed(text: str, encoder: Encoder) -> Iterator[tuple[list[int], Place]]:
    """The terms of every token of the text, and the word that it stands in; a piece that begins with a blank is of the word behind it."""
    if not isinstance(encoder, ShowsPieces):
        return
    words = [Place(*match.span()) for match in _WORD.finditer(text)]
    number = 0
    for (start, end), pieces in groupby(encoder.pieces(text), key=lambda piece: piece[1:]):
        last = end - 1
        while number < len(words) and words[number].end <= last:
            number += 1
        inside = number < len(words) and words[number].start <= last
        yield [term for term, *_ in pieces], words[number] if inside else Place(start, end)


def _match(
    word: str, parts: list[Contribution], held: TextWords | None, asked: TextWords, title_end: int, offset: int, known: bool
) -> WordMatch:
    places = held.places[word] if held else ()
    of_text = tuple(Place(start + offset, end + offset) for start, end in places if start >= title_end)
    of_title = tuple(place for place in places if place.start < title_end)
    source: Source = "text" if of_text else "title" if of_title else "expansion" if known else "term"
    served = next((found for part in parts if (found := asked.word_of(part.term_id))), None)
    query_word = asked.spelled(served) if served else None
    spelled = held.spelled(word, title_end) if held else query_word or word
    return WordMatch(spelled, sum(part.contribution for part in parts), source, of_text, of_title, query_word, tuple(parts))


def _origin(match: WordMatch) -> str:
    if match.source == "expansion":
        return " (not in the text)"
    return " (title)" if match.source == "title" else ""


def readable(token: str) -> str:
    """A term without what tokenizers put to pieces and beginnings of words."""
    return token.removeprefix("##").lstrip("▁Ġ") or token


def printable(text: str) -> str:
    """The text with a blank for each character that would command a terminal or turn the direction of what stands behind it."""
    return _CONTROL.sub(" ", text)
