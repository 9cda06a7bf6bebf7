"""What a reader of a collection's figures must know: denominators, and what no search can find. One sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ..qrels import Qrels
from .collection import CollectionCounts

_NAMED = 5  # queries that a note names


@dataclass(frozen=True)
class JudgmentFacts:
    """What notes say beside the counts.

    Attributes:
        without_relevant: ids of the judged queries without a relevant document, measured or not.
        unfindable: measured queries with relevant documents of which the collection has none.
        unjudged: queries without a judgment; they are not measured.
        judgments: of the measured queries; `missing_judgments`: those of documents that the collection does not have.
        best_grade: the highest relevance.
    """

    without_relevant: Sequence[str]
    unfindable: int
    unjudged: int
    judgments: int
    missing_judgments: int
    best_grade: int

    @classmethod
    def of(cls, qrels: Qrels, found: AbstractSet[str], *, without: Sequence[str], unjudged: int) -> JudgmentFacts:
        """Of the measured judgments; `found` are the judged documents that the collection has."""
        judged = [(doc_id, grade) for grades in qrels.values() for doc_id, grade in grades.items()]
        relevant = [{doc_id for doc_id, grade in grades.items() if grade > 0} for grades in qrels.values()]
        return cls(
            without_relevant=without,
            unfindable=sum(bool(wanted) and not wanted & found for wanted in relevant),
            unjudged=unjudged,
            judgments=len(judged),
            missing_judgments=sum(doc_id not in found for doc_id, _ in judged),
            best_grade=max(grade for _, grade in judged),
        )


def notes_of(counts: CollectionCounts, facts: JudgmentFacts) -> tuple[str, ...]:
    """The sentences; those about what there is none of are left out."""
    described = counts.describe()
    notes = [
        f"{described[0].upper()}{described[1:]}.",
        _without_relevant(counts, facts),
        _missing(facts),
        _grades(facts),
        f"{facts.unjudged:,} queries without a judgment are not measured." if facts.unjudged else "",
        f"{counts.blank_documents:,} documents have no text: nothing can find them." if counts.blank_documents else "",
    ]
    return tuple(note for note in notes if note)


def _without_relevant(counts: CollectionCounts, facts: JudgmentFacts) -> str:
    """Both denominators, and how to get from one to the other."""
    without, every = len(facts.without_relevant), counts.judged_queries
    some = every - without
    if not without or counts.queries not in (some, every):  # of a sample of queries neither is a denominator
        return ""
    names = ", ".join(facts.without_relevant[:_NAMED]) + (", ..." if without > _NAMED else "")
    if counts.queries == every:
        return f"Without a relevant document, counted as 0: {names}; means over the other {some:,} queries are {every:,}/{some:,} of these."
    return f"Without a relevant document, left out: {names}; means over all {every:,} judged queries are {some:,}/{every:,} of these."


def _missing(facts: JudgmentFacts) -> str:
    if not facts.missing_judgments:
        return ""
    never = f"; {facts.unfindable:,} queries have no other relevant document and always count as 0" if facts.unfindable else ""
    return f"{facts.missing_judgments:,} of {facts.judgments:,} judgments are of documents that the collection does not have{never}."


def _grades(facts: JudgmentFacts) -> str:
    if facts.best_grade < 2:
        return ""
    return f"Relevance is graded up to {facts.best_grade}: nDCG takes the grade as gain, R and RR count 1 and above."
