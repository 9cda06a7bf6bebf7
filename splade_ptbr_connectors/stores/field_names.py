"""Filters that cannot find what they ask for: they name a field that no document has, or a kind of value that none has there.

A misspelt name, or a number where all values are texts as those of CSV files are, finds nothing, or with `not` everything: worth a warning.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from ..errors import StoreError
from ..filters import And, AnyOf, Condition, Exists, Not, Or, Period, Range, field_path, leaves
from ..filters.dates import EARLIEST, LATEST
from .entries import EngineFilter, Hit, ParsedFilter
from .payloads import NODE_FIELD
from .predicates import test_of

logger = logging.getLogger(__name__)
OWN_FIELDS = ("ref_doc_id", NODE_FIELD)  # what the faces of frameworks filter by themselves
MAX_QUESTIONS = 100  # a program that makes names up, such as "readers.ana", is not followed further
MAX_AT_ONCE = 4  # of one search, which waits for them

Kind = Literal["a number", "a boolean", "a date", "a text"]
_OTHERWISE: dict[Kind, str] = {
    "a number": "no document has a number there: all values of CSV and TSV files are texts; compare with '2024', or load JSON lines with "
    "numbers",
    "a boolean": "no document has true or false there: all values of CSV and TSV files are texts; compare with 'true', or load booleans",
    "a date": "no document has a date there: dates are texts such as '2024-03-01' and '2024-03-01T14:30:00-03:00'; load them in this form",
    "a text": "every document that has the field has a number or a boolean there: compare with one, such as 2024 in place of '2024'",
}


class Question(NamedTuple):
    """Whether a document has a field; with a kind, whether one has such a value there."""

    field: str
    within: str | None
    kind: Kind | None = None

    @property
    def condition(self) -> Condition:
        """What a document that has it passes."""
        field, within = self.field, self.within
        exists, number = Exists(field, within=within), Range(field, gte=-sys.float_info.max, within=within)
        boolean = AnyOf(field, (True, False), within=within)
        if self.kind is None:
            return exists
        if self.kind == "a date":
            return Period(field, gte=EARLIEST, lte=LATEST, within=within)
        if self.kind == "a text":  # any text: no engine can be asked for that
            return And((exists, Not(Or((number, boolean)))))
        return number if self.kind == "a number" else boolean


class FieldNames:
    """What filters of one store have asked for, each looked up once: names, and kinds of values."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._answers: dict[Question, bool | None] = {}  # None: not found out
        self._empty = False  # when last looked at

    def unknown(self, filter: ParsedFilter, hits: Sequence[Hit]) -> Iterator[Question]:
        """What is to be looked up, one after the other: what is new here, and what none of the hits shows."""
        return iter(()) if isinstance(filter, EngineFilter) else islice(self._not_shown(filter, hits), MAX_AT_ONCE)

    def _not_shown(self, filter: tuple[Condition, ...], hits: Sequence[Hit]) -> Iterator[Question]:
        payloads = [hit.payload for hit in hits]
        for leaf in leaves(filter):
            for question in _questions(leaf):
                if question not in self._answers:
                    if self._empty or len(self._answers) >= MAX_QUESTIONS:
                        return
                    if any(map(test_of((Or((leaf, question.condition)),)), payloads)):
                        self._answers[question] = True
                    else:
                        yield question  # take() or not_found_out() is called before the next one is asked for
                if not self._answers.get(question):
                    break  # what is not there is of no kind

    def take(self, asked: Question, found: bool | None) -> None:
        """Take note of what EngineMethods._has_any() says."""
        self._empty = found is None
        if found is None:
            return
        self._answers[asked] = found
        if not found and asked.kind is None:
            logger.warning(
                "%s: a filter names the field %r, which no document has: check how it is spelt; names of a store are paths such as "
                "'metadata.subject'",
                self._url,
                asked.field,
            )
        elif not found and asked.kind is not None:
            logger.warning("%s: a filter compares the field %r with %s, and %s", self._url, asked.field, asked.kind, _OTHERWISE[asked.kind])

    def not_found_out(self, asked: Question, error: Exception) -> None:
        """The store failed to say: the search itself did not, and it is not asked again."""
        self._answers[asked] = None
        logger.debug("%s: whether a document has the field %r was not found out: %s", self._url, asked.field, error)

    def missing(self, filter: ParsedFilter, has_any: Callable[[Condition], bool | None]) -> list[str]:
        """The names of a filter that were looked up and that, as EngineMethods._has_any() says now, still no document has."""
        if isinstance(filter, EngineFilter):
            return []
        asked = dict.fromkeys([Question(leaf.field, leaf.within) for leaf in leaves(filter)])
        lacking = [question for question in asked if self._answers.get(question) is False]
        return [question.field for question in lacking[:MAX_AT_ONCE] if _still_missing(question, has_any)]

    def written(self) -> None:
        """Documents were written: an empty store may be looked at again."""
        self._empty = False


def _questions(leaf: AnyOf | Range | Period | Exists) -> tuple[Question, ...]:
    """Whether the field is there, and then whether it has values of the kind that it is compared with."""
    first = field_path(leaf.field)[0].name
    if first in OWN_FIELDS:
        return ()
    there, kinds = Question(leaf.field, leaf.within), _kinds(leaf)
    return (there, there._replace(kind=kinds.pop())) if len(kinds) == 1 else (there,)


def _kinds(leaf: AnyOf | Range | Period | Exists) -> set[Kind]:
    if isinstance(leaf, AnyOf):
        return {"a boolean" if isinstance(value, bool) else "a text" if isinstance(value, str) else "a number" for value in leaf.values}
    return {"a number"} if isinstance(leaf, Range) else {"a date"} if isinstance(leaf, Period) else set()


def _still_missing(asked: Question, has_any: Callable[[Condition], bool | None]) -> bool:
    try:
        return has_any(asked.condition) is False
    except StoreError:  # a hint is no reason to fail
        return False
