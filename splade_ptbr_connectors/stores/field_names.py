"""Filters on names that no document has: a misspelt one finds nothing, or with `not` everything, so it is worth a warning."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from ..errors import StoreError
from ..filters import Condition, Exists, field_path, leaves
from .entries import EngineFilter, Hit, ParsedFilter
from .predicates import test_of

logger = logging.getLogger(__name__)
OWN_FIELDS = ("ref_doc_id",)  # what the faces of frameworks filter by themselves; so are names with an underscore
MAX_NAMES = 100  # a program that makes names up, such as "readers.ana", is not followed further
MAX_AT_ONCE = 4  # of one search, which waits for them


class FieldNames:
    """The names that filters of one store have used, each looked up once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._looked_up: set[tuple[str, str | None]] = set()
        self._missing: set[tuple[str, str | None]] = set()  # those that no document had
        self._empty = False  # when last looked at

    def unknown(self, filter: ParsedFilter, hits: Sequence[Hit]) -> list[Exists]:
        """What is to be looked up: names that are new here, and that none of the hits shows."""
        if isinstance(filter, EngineFilter) or self._empty:
            return []
        return list(islice(self._not_shown(filter, hits), MAX_AT_ONCE))

    def _not_shown(self, filter: tuple[Condition, ...], hits: Sequence[Hit]) -> Iterator[Exists]:
        for asked in _fields(filter):
            name = asked.field, asked.within
            if name in self._looked_up or len(self._looked_up) >= MAX_NAMES:
                continue
            first = field_path(asked.field)[0].name
            if first in OWN_FIELDS or first.startswith("_"):
                continue
            if any(map(test_of((asked,)), [hit.payload for hit in hits])):
                self._looked_up.add(name)
            else:
                yield asked

    def take(self, asked: Exists, found: bool | None) -> None:
        """Take note of what EngineMethods._has_field() says."""
        self._empty = found is None
        if found is None:
            return
        self._looked_up.add((asked.field, asked.within))
        if not found:
            self._missing.add((asked.field, asked.within))
            logger.warning(
                "%s: a filter names the field %r, which no document has: check how it is spelt; names of a store are paths such as "
                "'metadata.subject'",
                self._url,
                asked.field,
            )

    def not_found_out(self, asked: Exists, error: Exception) -> None:
        """The store failed to say: the search itself did not, and the name is not asked for again."""
        self._looked_up.add((asked.field, asked.within))
        logger.debug("%s: whether a document has the field %r was not found out: %s", self._url, asked.field, error)

    def missing(self, filter: ParsedFilter, has_field: Callable[[Exists], bool | None]) -> list[str]:
        """The names of a filter that were looked up and that, as EngineMethods._has_field() says now, still no document has."""
        if isinstance(filter, EngineFilter):
            return []
        asked = [each for each in _fields(filter) if (each.field, each.within) in self._missing]
        return [each.field for each in asked[:MAX_AT_ONCE] if _still_missing(each, has_field)]

    def written(self) -> None:
        """Documents were written: an empty store may be looked at again."""
        self._empty = False


def _fields(filter: tuple[Condition, ...]) -> list[Exists]:
    """The fields that a filter names, each once."""
    return list(dict.fromkeys([Exists(leaf.field, within=leaf.within) for leaf in leaves(filter)]))


def _still_missing(asked: Exists, has_field: Callable[[Exists], bool | None]) -> bool:
    try:
        return has_field(asked) is False
    except StoreError:  # a hint is no reason to fail
        return False
