"""What a reader of a collection's figures must know: denominators, and what no search can find. One sentence each."""

from __future__ import annotations

from dataclasses import dataclass

from training.judged import JudgedCounts

_NAMED = 5  # queries that a note names


@dataclass(frozen=True)
class Facts:
    """Counts beside those that the cards of models state.

    Attributes:
        without_relevant: ids of the judged queries without a relevant document, measured or not.
        unfindable: measured queries with relevant documents of which the collection has none.
        unjudged: queries without a judgment; they are not measured.
        judgments: of the measured queries; `missing_judgments`: those of documents that the collection does not have.
        best_grade: the highest relevance.
    """

    counts: JudgedCounts
    without_relevant: list[str]
    unfindable: int
    unjudged: int
    judgments: int
    missing_judgments: int
    best_grade: int


def notes_of(facts: Facts) -> tuple[str, ...]:
    """The sentences; those about what there is none of are left out."""
    described = facts.counts.describe()
    notes = [
        f"{described[0].upper()}{described[1:]}.",
        _without_relevant(facts),
        _missing(facts),
        _grades(facts),
        f"{facts.unjudged:,} queries without a judgment are not measured." if facts.unjudged else "",
        f"{facts.counts.blank_documents:,} documents have no text: nothing can find them." if facts.counts.blank_documents else "",
    ]
    return tuple(note for note in notes if note)


def _without_relevant(facts: Facts) -> str:
    """Both denominators, and how to get from one to the other."""
    without, every = len(facts.without_relevant), facts.counts.judged_queries
    if not without:
        return ""
    names = ", ".join(facts.without_relevant[:_NAMED]) + (", ..." if without > _NAMED else "")
    some = every - without
    if facts.counts.queries == every:
        return f"Without a relevant document, counted as 0: {names}; means over the other {some:,} queries are {every:,}/{some:,} of these."
    return f"Without a relevant document, left out: {names}; means over all {every:,} judged queries are {some:,}/{every:,} of these."


def _missing(facts: Facts) -> str:
    if not facts.missing_judgments:
        return ""
    never = f"; {facts.unfindable:,} queries have no other relevant document and always count as 0" if facts.unfindable else ""
    return f"{facts.missing_judgments:,} of {facts.judgments:,} judgments are of documents that the collection does not have{never}."


def _grades(facts: Facts) -> str:
    if facts.best_grade < 2:
        return ""
    return f"Relevance is graded up to {facts.best_grade}: nDCG takes the grade as gain, R and RR count 1 and above."
