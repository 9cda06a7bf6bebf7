"""A JudgedCollection assembled from documents, queries and judgments: what does not fit together is an error, the rest is counted.

Documents are read to their end once, so that hours of encoding do not end at a broken line.
"""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from ...errors import ConfigError, InputError, InputFileError
from ...records import check_doc_id
from ..files import check_name
from ..qrels import Qrels, check_grade
from .collection import CollectionCounts, JudgedCollection
from .notes import JudgmentFacts, notes_of

BAR_DELAY_S = 3.0
"""Reading has no progress bar before so long."""


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
    qrels: Mapping[str, Mapping[str, int]]
    name: str
    queries_name: str

    def checked(self) -> Qrels:
        """All judgments.

        Raises InputFileError: a judged query without text, no relevant document at all, or an id or a grade that no file can hold.
        """
        for query_id, grades in self.qrels.items():
            self._check(query_id, grades)
        unknown = [query_id for query_id in self.qrels if query_id not in self.queries]
        if unknown:
            raise InputFileError(
                f"{self.name}: {len(unknown)} of {len(self.qrels)} judged queries have no text in {self.queries_name} "
                f"(first: {unknown[0]!r}): name the queries that belong to these judgments."
            )
        if not any(has_relevant(grades) for grades in self.qrels.values()):
            raise InputFileError(f"{self.name}: none of its {len(self.qrels)} queries has a relevant document, so nothing can be measured.")
        return {query_id: dict(grades) for query_id, grades in self.qrels.items()}

    def _check(self, query_id: str, grades: Mapping[str, int]) -> None:
        try:
            check_name(query_id, "query id", blanks=True)
            for doc_id, grade in grades.items():
                check_name(doc_id, "document id", blanks=True)
                check_grade(grade, doc_id)
        except InputError as error:
            raise InputFileError(f"{self.name}: {error}") from error


@dataclass(frozen=True)
class Sample:
    """A part of a collection, drawn with a seed. None: all of it.

    Attributes:
        documents: how many documents beside the judged ones, which always stay.
        queries: how many of the judged queries that have a relevant document.
    """

    documents: int | None = None
    queries: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for what in ("documents", "queries"):
            size = getattr(self, what)
            if size is not None and size < 1:
                raise ConfigError(f"a sample of {size} {what} is asked for: it must be at least 1; leave it out to take everything.")


WHOLE = Sample()


def assemble(
    name: str,
    documents: Documents,
    judgments: Judgments,
    *,
    keep_without_relevant: bool = False,
    sample: Sample = WHOLE,
    notes: tuple[str, ...] = (),
) -> JudgedCollection:
    """Read everything once, and put it together. Sampled documents are held in memory, others stay where they are.

    Args:
        keep_without_relevant: whether queries without a relevant document count, as 0, in every mean.
        notes: come before those about counts.

    Raises:
        InputFileError: see Judgments.checked and Documents.fail; an id that comes twice; no document, or none of the relevant.
    """
    qrels = judgments.checked()
    relevant = {query_id: grades for query_id, grades in qrels.items() if has_relevant(grades)}
    measured = _sampled_queries(qrels if keep_without_relevant else relevant, sample)
    queries = {query_id: judgments.queries[query_id] for query_id in measured}
    scan = _scan(documents, measured)
    read, searched = documents.stream, scan
    if sample.documents is not None:
        kept = _sampled_documents(documents, scan, sample.documents, sample.seed)
        searched = _scan(Documents(documents.name, lambda: _numbered(kept), "document"), measured)
        read = partial(iter, kept.items())
    without = [query_id for query_id in qrels if query_id not in relevant]
    counts = CollectionCounts(
        documents=searched.count,
        collection_documents=scan.count,
        blank_documents=searched.blank,
        queries=len(measured),
        judged_queries=len(qrels),
        without_relevant=len(without),
        missing_documents=len(_judged_documents(measured) - scan.found),
        missing_relevant=len(_relevant_documents(measured) - scan.found),
    )
    facts = JudgmentFacts.of(measured, scan.found, without=without, unjudged=len(judgments.queries) - len(qrels))
    return JudgedCollection(
        name=name,
        queries=queries,
        qrels=measured,
        read_documents=read,
        notes=(*notes, *notes_of(counts, facts)),
        counts=counts,
        sha256=hashlib.sha256(json.dumps([queries, measured, searched.sha256]).encode()).hexdigest(),
    )


def collection_in_memory(name: str, documents: Mapping[str, str], queries: Mapping[str, str], qrels: Qrels) -> JudgedCollection:
    """A collection of what is in memory already: document id -> text, query id -> text, judgments.

    Raises:
        InputError: a judged query without text, or no relevant document in the collection.
    """
    return assemble(name, Documents(name, lambda: _numbered(documents), "document"), Judgments(queries, qrels, name, "the queries"))


def has_relevant(grades: Mapping[str, int]) -> bool:
    """Whether any document is relevant (a grade above 0)."""
    return any(grade > 0 for grade in grades.values())


# -- queries ------------------------------------------------------------------------------------------------------------


def _relevant_documents(qrels: Qrels) -> set[str]:
    return {doc_id for grades in qrels.values() for doc_id, grade in grades.items() if grade > 0}


def _judged_documents(qrels: Qrels) -> set[str]:
    return {doc_id for grades in qrels.values() for doc_id in grades}


def _sampled_queries(qrels: Qrels, sample: Sample) -> Qrels:
    """`sample.queries` of them in their order; all of them when there are not more."""
    if sample.queries is None or sample.queries >= len(qrels):
        return qrels
    ids = list(qrels)
    drawn = np.random.default_rng([sample.seed, 0]).choice(len(ids), size=sample.queries, replace=False)
    return {ids[place]: qrels[ids[place]] for place in sorted(drawn.tolist())}


# -- documents ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scan:
    """What one pass over documents tells. `found`: the judged ones that are there."""

    count: int
    blank: int
    found: set[str]
    sha256: str


def _scan(documents: Documents, qrels: Qrels) -> _Scan:
    """Read documents to their end, holding 8 bytes of each.

    Raises InputFileError for an id that is broken or comes twice, and where no relevant document is found.
    """
    judged, relevant = _judged_documents(qrels), _relevant_documents(qrels)
    found: set[str] = set()
    hashes, digest, blank = array("q"), hashlib.sha256(), 0
    for number, doc_id, content in _with_bar(documents):
        _check_id(documents, number, doc_id)
        hashes.append(hash(doc_id))
        digest.update(_hashed_bytes(doc_id, content))
        blank += not content.strip()
        if doc_id in judged:
            found.add(doc_id)
    if not hashes:
        raise InputFileError(f"{documents.name} holds no document.")
    _check_unique(documents, hashes)
    if not found & relevant:
        raise InputFileError(f"{documents.name}: none of the {len(relevant)} relevant documents is in it: is it another collection?")
    return _Scan(len(hashes), blank, found, digest.hexdigest())


def _with_bar(documents: Documents) -> Iterable[tuple[int, str, str]]:
    bar: Iterable[tuple[int, str, str]] = tqdm(
        documents.numbered(), documents.name, unit=" documents", disable=None, delay=BAR_DELAY_S, file=sys.stderr
    )
    return bar


def _check_id(documents: Documents, number: int, doc_id: str) -> None:
    try:
        check_doc_id(doc_id)
    except InputError as error:
        documents.fail(number, str(error))


def _check_unique(documents: Documents, hashes: array[int]) -> None:
    """Equal hashes may be chance: only then are ids themselves compared, in a second pass."""
    values, times = np.unique(np.frombuffer(hashes, dtype=np.int64), return_counts=True)
    suspect = set(values[times > 1].tolist())
    seen: set[str] = set()
    for number, doc_id, _ in documents.numbered() if suspect else ():
        if hash(doc_id) in suspect:
            if doc_id in seen:
                documents.fail(number, f"duplicate document id {doc_id!r}.")
            seen.add(doc_id)


def _sampled_documents(documents: Documents, scan: _Scan, size: int, seed: int) -> dict[str, str]:
    """The judged documents and `size` others in the order of the collection; all when there are not more."""
    others = scan.count - len(scan.found)
    taken = np.zeros(others, dtype=np.bool_)
    taken[np.random.default_rng([seed, 1]).choice(others, size=min(size, others), replace=False)] = True
    turn = iter(taken.tolist())
    return {doc_id: content for doc_id, content in documents.stream() if doc_id in scan.found or next(turn)}


def _numbered(documents: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    return ((number, doc_id, content) for number, (doc_id, content) in enumerate(documents.items(), 1))


def _hashed_bytes(doc_id: str, content: str) -> bytes:
    """What is hashed of a document: lengths first, so that no two collections give the same bytes."""
    return f"{len(doc_id)} {len(content)} {doc_id}{content}".encode("utf-8", "surrogatepass")
