"""What goes into a store and comes out of it, and the checks that are the same for every engine."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import ConfigError, RecordError, VectorError
from ..filters import Condition, let_all_pass, parse_filter
from ..records import check_doc_id
from ..splitting import Passage
from ..strict import of_numpy, shown
from ..text import MAX_CHARACTERS, check_text
from ..validation import Natural, check
from ..vectors import SparseVector
from .fusion import Fusion
from .payloads import check_filtered, check_payload

MAX_DENSE_LENGTH = 9e18  # products and squared distances of vectors up to this length are float32 numbers
MAX_HASH = 1000  # characters of a content hash
MAX_PASSAGES = 65_536  # of one document
MAX_TOP_K = 10_000  # OpenSearch's result window; the same everywhere
SCORE_TOLERANCE = 1e-4  # of a score, relative: engines add up in float32, in an order of their own


@dataclass(frozen=True, slots=True)
class EngineFilter:
    """A filter in an engine's own form, which only that engine can read: a `qdrant_client.models.Filter`, a NativeFilter of OpenSearch."""

    filter: object


ParsedFilter = tuple[Condition, ...] | EngineFilter  # no conditions: every document passes
Filter = Mapping[str, Any] | tuple[Condition, ...] | object  # as callers write it: see filters.py, or the engine's own


class Place(NamedTuple):
    """Where a hit stands in a document of several passages: its number, and start and end of every passage (without payloads: none)."""

    number: int
    spans: Sequence[Sequence[int]]


class Hit(NamedTuple):
    """One search result. `score` is the plain dot product as the engine computed it, never rescaled; with `best` the mean of some.

    Attributes:
        place: of the passage that was found; None for a document that is one passage.
    """

    doc_id: str
    score: float
    payload: Mapping[str, Any]
    place: Place | None = None

    def __repr__(self) -> str:
        """Short, whatever the payload holds."""
        parts = repr(self.doc_id), repr(self.score), reprlib.repr(self.payload), reprlib.repr(self.place)
        return f"Hit({', '.join(f'{name}={part}' for name, part in zip(self._fields, parts, strict=True))})"

    @property
    def passage(self) -> Passage:
        """What was found: start and end in characters of the payload's "text"; without payloads its number only.

        A document that was stored whole is its own only passage, number 0.
        """
        if self.place is not None:
            return self.passage_at(self.place.number)
        text = self._text
        return Passage(0, 0, len(text), text)

    def passages(self, around: int | None = None) -> list[Passage]:
        """All passages of the document; with `around`, the one that was found with so many before and behind it.

        Without payloads the one that was found alone. Raises ConfigError for less than 0 around it.
        """
        if around is not None:
            check("around", around, Natural)
        if self.place is None or not self.place.spans:
            return [self.passage]
        first, last = 0, len(self.place.spans)
        if around is not None:
            first, last = max(first, self.place.number - around), min(last, self.place.number + around + 1)
        return [self.passage_at(number) for number in range(first, last)]

    def passage_at(self, number: int) -> Passage:
        """The passage of this number of a document that has several."""
        known = self.place is not None and self.place.spans
        start, end = known[number] if known else (0, len(self._text))
        return Passage(number, start, end, self._text[start:end])

    @property
    def _text(self) -> str:
        text = self.payload.get("text")
        return text if isinstance(text, str) else ""


class EntryPassage(NamedTuple):
    """A passage as a store keeps it: the characters of the document's "text" from start to end, and the vector made of them."""

    number: int
    start: int
    end: int
    vector: SparseVector


class Entry(NamedTuple):
    """One document as a store keeps it. `content_hash` is None when it was written without one, `dense` without a dense vector.

    Attributes:
        vector: of the document; of one of several passages, that of its first passage.
        passages: all of them, in order; () for a document that is one passage.
        version: set by a store while it writes a document of several passages, see passages.to_write(); None of what was read.
    """

    doc_id: str
    vector: SparseVector
    payload: Mapping[str, Any] = {}
    content_hash: str | None = None
    dense: tuple[float, ...] | None = None
    passages: tuple[EntryPassage, ...] = ()
    version: str | None = None

    @property
    def vectors(self) -> list[SparseVector]:
        """Of all passages."""
        return [passage.vector for passage in self.passages] or [self.vector]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Start and end of each of several passages."""
        return [(passage.start, passage.end) for passage in self.passages]


class CheckedEntry(Entry):
    """An entry whose payload is a checked copy already, such as one made of a Record: stores do not check and copy it again."""

    __slots__ = ()


class Search(NamedTuple):
    """A checked search: the arguments of Store.search(), the filter parsed; as engines take them, the first ones in the same order."""

    query: SparseVector
    top_k: int
    filter: ParsedFilter
    with_payload: bool = True
    group: bool = True
    min_score: float | None = None
    best: int = 1


class HybridSearch(NamedTuple):
    """A checked hybrid search: the arguments of Store.search_hybrid(), the filter parsed."""

    query: SparseVector
    dense: tuple[float, ...]
    top_k: int
    prefetch: int
    fusion: Fusion
    filter: ParsedFilter


class Refusal(NamedTuple):
    """A document that the engine itself refused, and why; the others of its batch are stored."""

    doc_id: str
    reason: str


# -- checks ------------------------------------------------------------------------------------------------------------


def check_entry(entry: tuple[Any, ...], vocab_size: int) -> Entry:
    """The entry as the engines take it, its payload a copy of its own. Raises VectorError, RecordError or TextError."""
    if not isinstance(entry, (tuple, list)) or not 2 <= len(entry) <= len(Entry._fields):
        raise VectorError(f"expected (doc_id, SparseVector) or (doc_id, SparseVector, payload), got {entry!r:.80}.")
    checked = entry if isinstance(entry, Entry) else Entry(*entry)
    check_doc_id(checked.doc_id)
    if not isinstance(checked.vector, SparseVector):
        raise VectorError(f"the vector of {checked.doc_id!r} is {type(checked.vector).__name__}: it must be a SparseVector.")
    checked.vector.check_vocabulary(vocab_size)
    payload = checked.payload if isinstance(checked, CheckedEntry) else check_payload(checked.doc_id, checked.payload)
    if checked.content_hash is not None:
        check_text(checked.content_hash, f"the content hash of {checked.doc_id!r}", max_characters=MAX_HASH)
    dense = None if checked.dense is None else check_dense(checked.dense)
    single = type(checked.passages) is tuple and not checked.passages  # nearly every document
    passages = () if single else check_passages(checked, payload, vocab_size)
    return Entry(checked.doc_id, checked.vector, payload, checked.content_hash, dense, passages)


def check_passages(entry: Entry, payload: Mapping[str, Any], vocab_size: int | None = None) -> tuple[EntryPassage, ...]:
    """The passages of an entry as the engines take them: () for a single one. Raises VectorError or RecordError."""
    passages = as_passages(entry.doc_id, entry.passages)
    text = payload.get("text")
    length = len(text) if isinstance(text, str) else MAX_CHARACTERS
    for number, passage in enumerate(passages):
        _check_span(entry.doc_id, number, passage, length)
        if vocab_size is not None:
            passage.vector.check_vocabulary(vocab_size)
    if passages and passages[0].vector != entry.vector:
        raise VectorError(f"the vector of {entry.doc_id!r} is not that of its first passage: give passages[0].vector as the vector.")
    return passages if len(passages) > 1 else ()


def as_passages(doc_id: str, passages: object) -> tuple[EntryPassage, ...]:
    """The passages of a document, each of the right parts and not looked at any further. Raises VectorError or RecordError."""
    if passages is None:
        return ()
    if not isinstance(passages, tuple | list) or not all([isinstance(each, tuple | list) and len(each) == 4 for each in passages]):
        raise RecordError(f"the passages of {doc_id!r} are {passages!r:.80}: they must be a list of (number, start, end, SparseVector).")
    check_number_of_passages(doc_id, len(passages))
    for number, (*_, vector) in enumerate(passages):
        if not isinstance(vector, SparseVector):
            raise VectorError(f"the vector of passage {number} of {doc_id!r} is {type(vector).__name__}: it must be a SparseVector.")
    return tuple([EntryPassage(*passage) for passage in passages])


def check_number_of_passages(doc_id: str, number: int) -> None:
    """Raise RecordError when a document has more passages than a store takes."""
    if number > MAX_PASSAGES:
        raise RecordError(
            f"the document {doc_id!r} has {number:,} passages, at most {MAX_PASSAGES:,} are accepted: "
            "make passages longer (passage_tokens), or split the document."
        )


def _check_span(doc_id: str, number: int, passage: EntryPassage, length: int) -> None:
    numbers = (passage.number, passage.start, passage.end)
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in numbers)
    if whole and passage.number == number and 0 <= passage.start < passage.end <= length:
        return
    raise RecordError(
        f"passage {number} of {doc_id!r} is (number, start, end) {numbers}: passages are numbered from 0, each with "
        f"0 <= start < end <= {length:,}, characters of the text."
    )


def parsed(filter: Filter | None) -> ParsedFilter:
    """A filter as the engines take it. Raises ConfigError."""
    conditions = parse_filter(filter) if isinstance(filter, Mapping) else () if filter is None else filter
    if not isinstance(conditions, tuple):
        return EngineFilter(conditions)
    check_filtered(conditions)
    return conditions


def parsed_to_delete(filter: Filter | None) -> ParsedFilter:
    """The same, of documents that are to be deleted. Raises ConfigError for a filter that is every document."""
    conditions = parsed(filter)
    if not isinstance(conditions, EngineFilter) and let_all_pass(conditions):
        given = "an empty filter" if not conditions else f"the filter {reprlib.repr(filter)}"
        raise ConfigError(f"delete_where() was given {given}, which is every document: name the ones to delete.")
    return conditions


def check_prefetch(top_k: int, prefetch: int | None) -> int:
    """How many hits of each search are fused. Raises ConfigError."""
    return min(max(100, 5 * top_k), MAX_TOP_K) if prefetch is None else check_top_k("prefetch", prefetch)


def check_top_k(name: str, value: object) -> int:
    """Return `value` if a store can be asked for so many hits, else raise ConfigError; `name` is what the caller calls it."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TOP_K:
        raise ConfigError(f"{name} is {shown(value)}: it must be an integer from 1 to {MAX_TOP_K:,}{of_numpy(value)}.")
    return value


def check_doc_ids(doc_ids: object) -> Iterator[str]:
    """The ids, each checked as it is taken.

    Raises:
        ConfigError: at once, if it is not an iterable of ids. One text is refused too: its letters may be the ids of other documents.
        RecordError, TextError: one that is not usable.
    """
    if isinstance(doc_ids, str | bytes) or not isinstance(doc_ids, Iterable):
        raise ConfigError(f"doc_ids is {doc_ids!r:.80}: it must be a list of document ids, such as ['1'].")
    return map(check_doc_id, doc_ids)


def check_dense(dense: object) -> tuple[float, ...]:
    """The numbers of a dense vector. Raises VectorError."""
    try:
        values = tuple(float(value) for value in dense)  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError) as error:
        raise VectorError(f"a dense vector is {type(dense).__name__}: it must be a sequence of numbers.") from error
    if not values or not all(map(math.isfinite, values)):
        raise VectorError("a dense vector is empty or holds NaN or infinity: it must hold finite numbers.")
    if not any(values):
        raise VectorError(
            "a dense vector is all zeros: it must hold a number other than 0, to have a direction that can be compared; give what a model "
            "makes of the text, or a document without a dense vector."
        )
    length = math.hypot(*values)
    if length > MAX_DENSE_LENGTH:
        raise VectorError(
            f"a dense vector has the length {length:.3g}: at most {MAX_DENSE_LENGTH:.0e} is accepted, engines score in float32; scale it, "
            "such as to length 1."
        )
    return values
