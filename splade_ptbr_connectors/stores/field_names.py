"""Filters on names that no document has: a misspelt one finds nothing, or with `not` everything, so it is worth a warning."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from ..filters import Exists, field_path, leaves
from .entries import EngineFilter, Hit, ParsedFilter
from .matching import test_of

logger = logging.getLogger(__name__)
OWN_FIELDS = ("ref_doc_id",)  # what the faces of frameworks filter by themselves; so are names with an underscore


class FieldNames:
    """The names that filters of one store have used, each looked up once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._looked_up: set[tuple[str, str | None]] = set()

    def unknown(self, filter: ParsedFilter, hits: Sequence[Hit]) -> Iterator[Exists]:
        """What is to be looked up: names that are new here, and that none of the hits shows."""
        for leaf in () if isinstance(filter, EngineFilter) else leaves(filter):
            first, asked = field_path(leaf.field)[0].name, Exists(leaf.field, within=leaf.within)
            if first in OWN_FIELDS or first.startswith("_") or (leaf.field, leaf.within) in self._looked_up:
                continue
            if any(map(test_of((asked,)), [hit.payload for hit in hits])):
                self._looked_up.add((leaf.field, leaf.within))
            else:
                yield asked

    def found(self, asked: Exists, documents: int, held: int) -> None:
        """Take note that so many documents have the field, of so many that are held; without any nothing is known yet."""
        if not held:
            return
        self._looked_up.add((asked.field, asked.within))
        if not documents:
            logger.warning(
                "%s: a filter names the field %r, which none of the %d documents has: check how it is spelt; names of a store are paths "
                "such as 'metadata.subject'",
                self._url,
                asked.field,
                held,
            )
