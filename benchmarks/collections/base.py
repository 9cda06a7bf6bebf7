"""Collection: texts, queries and judgments, from wherever they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from splade_ptbr_connectors.evaluation.qrels import Qrels


@dataclass(frozen=True)
class Collection:
    """One split of a test collection.

    Attributes:
        name: what it is called in reports, the split included: "mrobust", "faquad:test".
        read_documents: starts anew at every call and yields (document id, content), content being title, a space, text; never held
            in memory as a whole. Raises InputFileError at a broken line or an id that comes twice.
        queries: query id -> text, in the order of their file; only those that are measured.
        qrels: judgments of these queries. Its queries are the denominator of every mean. Empty: speed and size are measured only.
        notes: what a reader of the figures must know: queries without a relevant document, judgments of documents that are not
            there, which denominator counts; one sentence each.
    """

    name: str
    read_documents: Callable[[], Iterator[tuple[str, str]]]
    queries: dict[str, str]
    qrels: Qrels = field(default_factory=dict)
    notes: tuple[str, ...] = ()
