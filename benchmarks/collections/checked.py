"""From documents, queries and judgments to a Collection: what does not fit is an error, what its figures depend on is a note.

Everything is read once when a collection is opened: hours of encoding do not end at a broken line.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from benchmarks.collections.base import Collection
from benchmarks.collections.notes import Facts, notes_of
from splade_ptbr_connectors.errors import InputError, InputFileError
from splade_ptbr_connectors.evaluation.files import check_name
from splade_ptbr_connectors.evaluation.qrels import Qrels, check_grade
from splade_ptbr_connectors.records import check_doc_id
from training.judged import JudgedCounts


@dataclass(frozen=True)
class Documents:
    """Where documents come from.

    Attributes:
        name: a file or a dataset, for messages.
        numbered: starts anew at every call and yields (number, id, content).
        unit: what the number counts.
    """

    name: str
    numbered: Callable[[], Iterator[tuple[int, str, str]]]
    unit: str = "line"

    def stream(self) -> Iterator[tuple[str, str]]:
        """(id, content), from the beginning."""
        return ((doc_id, content) for _, doc_id, content in self.numbered())

    def fail(self, number: int, why: str) -> NoReturn:
        """Raise InputFileError for one of them."""
        raise InputFileError(f"{self.name}, {self.unit} {number}: {why}")


@dataclass(frozen=True)
class Judgments:
    """Queries and what is judged of them.

    Attributes:
        queries: all that there are, judged or not.
        name: of the judgments, for messages; `queries_name`: of the queries.
    """

    queries: Mapping[str, str]
    qrels: Qrels
    name: str
    queries_name: str

    def relevant(self) -> Qrels:
        """Judgments of the queries that have a relevant document (1 and above).

        Raises InputFileError: a judged query without a text, no relevant document at all, or an id or a grade that no file holds.
        """
        for query_id, judged in self.qrels.items():
            self._check(query_id, judged)
        unknown = [query_id for query_id in self.qrels if query_id not in self.queries]
        if unknown:
            raise InputFileError(
                f"{self.name}: {len(unknown)} of {len(self.qrels)} judged queries have no text in {self.queries_name} "
                f"(first: {unknown[0]!r}): name the queries that belong to these judgments."
            )
        relevant = {query_id: judged for query_id, judged in self.qrels.items() if max(judged.values()) > 0}
        if not relevant:
            raise InputFileError(f"{self.name}: none of its {len(self.qrels)} queries has a relevant document, so nothing can be measured.")
        return relevant

    def _check(self, query_id: str, judged: Mapping[str, int]) -> None:
        try:
            check_name(query_id, "query id", blanks=True)
            for doc_id, grade in judged.items():
                check_name(doc_id, "document id", blanks=True)
                check_grade(grade, doc_id)
        except InputError as error:
            raise InputFileError(f"{self.name}: {error}") from error


def checked_collection(
    name: str, documents: Documents, judgments: Judgments, *, keep_without_relevant: bool, notes: tuple[str, ...] = ()
) -> Collection:
    """Read everything once, and put it together.

    Args:
        keep_without_relevant: whether queries without a relevant document count, as 0, in every mean. They are left out by
            default, as `python -m training` leaves them out of the figures on its cards.
        notes: come before those about counts.

    Raises:
        InputFileError: see Judgments.relevant and Documents.fail; an id that comes twice; no document, or none of the relevant.
    """
    relevant = judgments.relevant()
    measured = judgments.qrels if keep_without_relevant else relevant
    scan = _scan(documents, measured)
    queries = {query_id: text for query_id, text in judgments.queries.items() if query_id in measured}
    qrels = {query_id: measured[query_id] for query_id in queries}
    facts = _facts(scan, judgments, qrels, relevant)
    return Collection(name, documents.stream, queries, qrels, (*notes, *notes_of(facts)))


@dataclass(frozen=True)
class _Scan:
    """What one pass over documents tells. `found`: the judged ones that are there."""

    count: int
    blank: int
    found: set[str]


def _scan(documents: Documents, qrels: Qrels) -> _Scan:
    judged = {doc_id for grades in qrels.values() for doc_id in grades}
    wanted = {doc_id for grades in qrels.values() for doc_id, grade in grades.items() if grade > 0}
    found: set[str] = set()
    hashes, blank = array("q"), 0
    for number, doc_id, content in tqdm(documents.numbered(), documents.name, unit=" documents", disable=None):
        _check_id(documents, number, doc_id)
        hashes.append(hash(doc_id))
        blank += not content.strip()
        if doc_id in judged:
            found.add(doc_id)
    if not hashes:
        raise InputFileError(f"{documents.name} holds no document.")
    _check_repeated(documents, hashes)
    if not found & wanted:
        raise InputFileError(f"{documents.name}: none of the {len(wanted)} relevant documents is in it: is it another collection?")
    return _Scan(len(hashes), blank, found)


def _check_id(documents: Documents, number: int, doc_id: str) -> None:
    try:
        check_doc_id(doc_id)
    except InputError as error:
        documents.fail(number, str(error))


def _check_repeated(documents: Documents, hashes: array[int]) -> None:
    """Holds 8 bytes a document. Equal hashes may be chance: only then are ids themselves compared, in a second pass."""
    values, times = np.unique(np.frombuffer(hashes, dtype=np.int64), return_counts=True)
    suspect = set(values[times > 1].tolist())
    seen: set[str] = set()
    for number, doc_id, _ in documents.numbered() if suspect else ():
        if hash(doc_id) in suspect:
            if doc_id in seen:
                documents.fail(number, f"document {doc_id!r} is there twice.")
            seen.add(doc_id)


def _facts(scan: _Scan, judgments: Judgments, qrels: Qrels, relevant: Qrels) -> Facts:
    named = [(doc_id, grade) for judged in qrels.values() for doc_id, grade in judged.items()]
    missing = [(doc_id, grade) for doc_id, grade in named if doc_id not in scan.found]
    without = [query_id for query_id in judgments.qrels if query_id not in relevant]
    counts = JudgedCounts(
        documents=scan.count,
        collection_documents=scan.count,
        blank_documents=scan.blank,
        queries=len(qrels),
        judged_queries=len(judgments.qrels),
        without_relevant=len(without),
        missing_documents=len({doc_id for doc_id, _ in missing}),
        missing_relevant=len({doc_id for doc_id, grade in missing if grade > 0}),
    )
    return Facts(
        counts,
        without_relevant=without,
        unfindable=sum(not any(grade > 0 and doc_id in scan.found for doc_id, grade in qrels[query_id].items()) for query_id in relevant),
        unjudged=len(judgments.queries) - len(judgments.qrels),
        judgments=len(named),
        missing_judgments=len(missing),
        best_grade=max(grade for _, grade in named),
    )
