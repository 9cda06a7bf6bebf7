"""A test collection: documents, queries and relevance judgments, with the counts that its figures depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field

from ..qrels import Qrels


@dataclass(frozen=True, kw_only=True)
class Collection:
    """One split of a test collection; its documents are a stream and never held in memory as a whole.

    Attributes:
        name: what it is called in reports, the split included: "mrobust", "faquad:test".
        queries: query id -> text; only those that are measured.
        qrels: judgments of exactly these queries, in the same order. They are the denominator of every mean. Empty: nothing is
            judged, so speed and size can be measured and quality cannot.
        kinds: query id -> kind, of queries that say so; means are then reported for each kind too.
        notes: what a reader of the figures must know, one sentence each.
        read_documents: starts anew at every call.
    """

    name: str
    queries: dict[str, str]
    read_documents: Callable[[], Iterable[tuple[str, str]]] = field(repr=False, compare=False)
    qrels: Qrels = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def documents(self) -> Iterator[tuple[str, str]]:
        """(document id, content) in the order of the collection, from its beginning; content is title, a space, text.

        Raises InputFileError at a broken line.
        """
        return iter(self.read_documents())


@dataclass(frozen=True)
class CollectionCounts:
    """What a collection holds and which denominators its measures have.

    Attributes:
        documents: documents that are searched (after sampling).
        collection_documents: documents of the file.
        blank_documents: searched documents without a visible character: nothing can find them.
        queries: queries that are measured, the denominator of every mean.
        judged_queries: all queries of the judgments.
        without_relevant: those of them without a relevant document, as topic 672 of Robust04. By default they are not measured:
            they score 0 whatever is found.
        missing_documents: judged documents of the measured queries that the collection does not have. They stay in the
            judgments, as trec_eval has them: no search can find them, an ideal ranking has them.
        missing_relevant: those of them that are relevant.
    """

    documents: int
    collection_documents: int
    blank_documents: int
    queries: int
    judged_queries: int
    without_relevant: int
    missing_documents: int
    missing_relevant: int

    def describe(self) -> str:
        """One sentence for logs and model cards."""
        missing = f"{self.missing_documents:,} judged documents ({self.missing_relevant:,} relevant) are not in the collection"
        return (
            f"means over {self.queries:,} of {self.judged_queries:,} judged queries ({self.without_relevant:,} have no relevant document); "
            f"{self.documents:,} of {self.collection_documents:,} documents searched; {missing}, and stay in the judgments"
        )

    def to_dict(self) -> dict[str, int]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class JudgedCollection(Collection):
    """A collection with judgments, read to its end once.

    Attributes:
        counts: sizes and denominators.
        sha256: identity of documents, queries and judgments.
    """

    counts: CollectionCounts
    sha256: str
