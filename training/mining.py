"""Hard negatives: what a model itself retrieves for the training queries, without known positives and likely false negatives.

Sampling from ranges of ranks: SPLADE-v3 (arXiv 2403.06789). Leaving out what scores nearly as high as the positive: NV-Retriever
(arXiv 2407.15831). Everything that is removed is counted by reason.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from splade_ptbr_connectors.encoding.protocol import Encoder
from splade_ptbr_connectors.errors import ConfigError, InputError
from splade_ptbr_connectors.vectors import SparseBatch
from training.index import ExactIndex
from training.judged import JudgedCollection
from training.teachers import ResumableLines, bar

DOCUMENTS_AT_ONCE = 1024
PAIRS_AT_ONCE = 2048
NAMED_EXAMPLES = 5
"""Queries named for each reason why lines were left out."""


# -- choosing among candidates --------------------------------------------------------------------------------------------


class Candidate(NamedTuple):
    """A retrieved document."""

    doc_id: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Draw:
    """`count` negatives drawn at random from the first `depth` ranks."""

    count: int
    depth: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= self.depth:
            raise ConfigError(f"{self.count} negatives from the first {self.depth} ranks: expected 1 <= negatives <= ranks.")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which candidates may become negatives.

    Attributes:
        draws: one after the other, nothing twice; SPLADE-v3 is (Draw(50, 50), Draw(50, 1000)).
        skip_top: the first ranks, which are never taken.
        max_share_of_positive: candidates that score at least this share of the positive's score are taken for false
            negatives; infinity keeps them.
        teacher_margin: with teacher scores, a candidate must score lower than the positive by more than this.
        seed: of the drawing; each query has its own stream, whatever the order.
    """

    draws: tuple[Draw, ...] = (Draw(50, 200),)
    skip_top: int = 0
    max_share_of_positive: float = 0.95
    teacher_margin: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.draws:
            raise ConfigError("no draw is given: say how many negatives from how many ranks, e.g. 50 of 200.")
        if not 0 <= self.skip_top < self.depth:
            raise ConfigError(f"skip_top is {self.skip_top}: it must be at least 0 and less than the depth, {self.depth}.")
        if not self.max_share_of_positive > 0 or math.isnan(self.teacher_margin):
            raise ConfigError(f"max_share_of_positive is {self.max_share_of_positive}: it must be above 0 (0.95 is usual, inf keeps all).")

    @property
    def count(self) -> int:
        """Negatives of one line."""
        return sum(draw.count for draw in self.draws)

    @property
    def depth(self) -> int:
        """Candidates that have to be retrieved."""
        return max(draw.depth for draw in self.draws)


@dataclass(frozen=True, slots=True)
class Positive:
    """What is known about the right answers of one line.

    Attributes:
        doc_id: the positive of this line.
        score: its score by the retrieving model.
        known: ids of every known positive of the query.
        copies: normalised texts of every known positive.
    """

    doc_id: str
    score: float
    known: frozenset[str]
    copies: frozenset[str]


def normalized(text: str) -> str:
    """A text as it is compared for copies: compatibility forms and case folded, letters and digits only, one space between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split())


def choose(
    query_id: str,
    candidates: Sequence[Candidate],
    positive: Positive,
    selection: Selection,
    teacher: Mapping[str, float] | None = None,
) -> tuple[list[Candidate], Counter[str]]:
    """The negatives of one line, in order of rank, and how many candidates were removed for which reason.

    Args:
        query_id: seeds the drawing, together with the positive.
        candidates: best first; ranks count from the first.
        positive: what must not become a negative.
        selection: the rules.
        teacher: teacher scores of this query's documents; candidates that it has not scored are removed and counted.

    Raises:
        InputError: the teacher has not scored the positive.
    """
    allowed, removed = _allowed(query_id, candidates, positive, selection, teacher)
    rng = np.random.default_rng([selection.seed, zlib.crc32(f"{query_id}\t{positive.doc_id}".encode())])
    taken: set[int] = set()
    for draw in selection.draws:
        pool = [rank for rank in allowed if rank < draw.depth and rank not in taken]
        taken.update(pool[i] for i in rng.permutation(len(pool))[: draw.count])
    return [candidates[rank] for rank in sorted(taken)], removed


def _allowed(
    query_id: str, candidates: Sequence[Candidate], positive: Positive, selection: Selection, teacher: Mapping[str, float] | None
) -> tuple[list[int], Counter[str]]:
    """Ranks that may be drawn, and counts of the others."""
    if teacher is not None and positive.doc_id not in teacher:
        raise InputError(
            f"the teacher has not scored the positive {positive.doc_id!r} of query {query_id!r}: every positive needs a score."
        )
    removed: Counter[str] = Counter()
    seen: set[str] = set()
    allowed = []
    for rank, candidate in enumerate(candidates[: selection.depth]):
        text = normalized(candidate.text)
        reason = _why_not(rank, candidate, text, positive, selection, teacher) or ("copy_of_negative" if text in seen else None)
        if reason:
            removed[reason] += 1
        else:
            seen.add(text)
            allowed.append(rank)
    return allowed, removed


def _why_not(
    rank: int, candidate: Candidate, text: str, positive: Positive, selection: Selection, teacher: Mapping[str, float] | None
) -> str | None:
    """The reason why a candidate may not be a negative; None: it may."""
    if candidate.doc_id in positive.known:
        return "known_positive"
    if text in positive.copies:
        return "copy_of_positive"
    if rank < selection.skip_top:
        return "skipped_top"
    if candidate.score >= selection.max_share_of_positive * positive.score:
        return "near_positive_score"
    if teacher is not None:
        if candidate.doc_id not in teacher:
            return "not_scored_by_teacher"
        if teacher[candidate.doc_id] >= teacher[positive.doc_id] - selection.teacher_margin:
            return "near_positive_teacher_score"
    return None


# -- a whole collection ---------------------------------------------------------------------------------------------------


@dataclass
class MiningReport:
    """What came out.

    Attributes:
        documents: in the collection.
        pairs: query and positive; each becomes one line or is left out.
        lines, negatives: written.
        short: lines with fewer negatives than asked for.
        removed: candidates by reason.
        left_out: pairs without a line by reason.
        examples: the first queries left out for each reason.
    """

    documents: int = 0
    pairs: int = 0
    lines: int = 0
    negatives: int = 0
    short: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"removed": dict(self.removed), "left_out": dict(self.left_out)}

    def add(self, entry: Mapping[str, Any]) -> None:
        """Count one pair by its journal entry."""
        self.lines += entry["lines"]
        self.negatives += entry["negatives"]
        self.short += entry["short"]
        self.removed.update(entry["removed"])
        if entry["left_out"]:
            self.left_out[entry["left_out"]] += 1
            named = self.examples.setdefault(entry["left_out"], [])
            if len(named) < NAMED_EXAMPLES and entry["query_id"] not in named:
                named.append(entry["query_id"])


def mine(
    encoder: Encoder,
    collection: JudgedCollection,
    out: Path,
    selection: Selection = Selection(),
    *,
    teacher: Mapping[str, Mapping[str, float]] | None = None,
    resume: bool = False,
    progress: bool = False,
) -> MiningReport:
    """Write one line for each pair of a query and a positive: {"query_id", "query", "documents", "doc_ids", "positives"}.

    The positive is the first document. Document vectors and ids stay in memory, texts in a temporary file beside OUT.

    Args:
        encoder: the model whose neighbours become negatives.
        collection: documents and judged queries; relevance above 0 makes a positive.
        out: JSONL; it takes its name when it is complete.
        selection: the rules.
        teacher: query id -> document id -> score, for `teacher_margin`.
        resume: go on behind the last line of a run with the same settings that was broken off.
        progress: bars on stderr, if it is a terminal.

    Raises:
        InputError: a positive that the teacher has not scored, or no line at all could be written.
        ConfigError: an unfinished run, or one of other settings; see ResumableLines.
    """
    pairs = [(query_id, doc_id) for query_id in collection.qrels for doc_id in _positives(collection, query_id)]
    identity = {"mined_by": encoder.fingerprint, "collection": collection.sha256, "selection": repr(selection), "teacher": _digest(teacher)}
    report = MiningReport(pairs=len(pairs))
    with ResumableLines(out, identity, resume=resume) as lines, SpooledTexts(out.parent) as texts:
        for entry in lines.journal:
            report.add(entry)
        index = _indexed(encoder, collection, texts, progress=progress)
        report.documents = len(index)
        miner = _Miner(encoder, collection, index, texts, selection, teacher)
        for line, entry in miner.lines(pairs[len(lines.journal) :], progress=progress):
            lines.add([line] if line else [], entry)
            report.add(entry)
        if not report.lines:
            lines.discard()
            raise InputError(_nothing_left(report))
        lines.finish()
    return report


def _positives(collection: JudgedCollection, query_id: str) -> list[str]:
    return [doc_id for doc_id, relevance in collection.qrels[query_id].items() if relevance > 0]


def _digest(teacher: Mapping[str, Mapping[str, float]] | None) -> str | None:
    return None if teacher is None else hashlib.sha256(json.dumps(teacher, sort_keys=True).encode()).hexdigest()


def _nothing_left(report: MiningReport) -> str:
    return (
        f"no negatives were left for any of the {report.pairs} pairs (pairs left out: {dict(report.left_out)}, candidates removed: "
        f"{dict(report.removed)}): loosen max_share_of_positive, skip_top or the depth."
    )


def _indexed(encoder: Encoder, collection: JudgedCollection, texts: SpooledTexts, *, progress: bool) -> ExactIndex:
    index = ExactIndex(encoder.vocab_size)
    documents = bar(collection.documents(), "encode documents", progress, total=collection.counts.documents)
    while chunk := list(islice(documents, DOCUMENTS_AT_ONCE)):
        for doc_id, text in chunk:
            texts.add(doc_id, text)
        vectors = encoder.encode_documents(text for _, text in chunk)
        index.add([doc_id for doc_id, _ in chunk], SparseBatch.from_vectors(vectors).to_scipy(encoder.vocab_size))
    return index


@dataclass(frozen=True)
class _Miner:
    encoder: Encoder
    collection: JudgedCollection
    index: ExactIndex
    texts: SpooledTexts
    selection: Selection
    teacher: Mapping[str, Mapping[str, float]] | None

    def lines(self, pairs: Sequence[tuple[str, str]], *, progress: bool) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any]]]:
        """(line or None, journal entry) of each pair."""
        waiting = bar(iter(pairs), "mine", progress, total=len(pairs))
        while chunk := list(islice(waiting, PAIRS_AT_ONCE)):
            query_ids = list(dict.fromkeys(query_id for query_id, _ in chunk))
            queries = dict(zip(query_ids, self.encoder.encode_queries(self.collection.queries[q] for q in query_ids), strict=True))
            matrix = SparseBatch.from_vectors(queries.values()).to_scipy(self.encoder.vocab_size)
            hits = self.index.search(matrix, query_ids, self.selection.depth)
            there = list(dict.fromkeys(doc_id for _, doc_id in chunk if doc_id in self.texts))
            documents = dict(zip(there, self.encoder.encode_documents(self.texts[doc_id] for doc_id in there), strict=True))
            for query_id, doc_id in chunk:
                score = queries[query_id].dot(documents[doc_id]) if doc_id in documents else None
                yield self._line(query_id, doc_id, score, hits[query_id])

    def _line(
        self, query_id: str, doc_id: str, score: float | None, hits: Sequence[tuple[str, float]]
    ) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """`score` is None for a positive that the collection does not hold."""
        if score is None:
            return None, _entry(query_id, left_out="positive_not_in_collection")
        if not self.texts[doc_id].strip():
            return None, _entry(query_id, left_out="positive_is_blank")
        known = _positives(self.collection, query_id)
        copies = frozenset(normalized(self.texts[name]) for name in known if name in self.texts)
        positive = Positive(doc_id, score, frozenset(known), copies)
        candidates = [Candidate(name, self.texts[name], found) for name, found in hits]
        scores = None if self.teacher is None else self.teacher.get(query_id, {})
        chosen, removed = choose(query_id, candidates, positive, self.selection, scores)
        if not chosen:
            return None, _entry(query_id, left_out="all_candidates_removed" if candidates else "nothing_retrieved", removed=removed)
        documents = [(doc_id, self.texts[doc_id]), *((c.doc_id, c.text) for c in chosen)]
        line = {
            "query_id": query_id,
            "query": self.collection.queries[query_id],
            "documents": [text for _, text in documents],
            "doc_ids": [name for name, _ in documents],
            "positives": known,
        }
        return line, _entry(query_id, removed=removed, negatives=len(chosen), wanted=self.selection.count)


def _entry(
    query_id: str, *, left_out: str | None = None, removed: Mapping[str, int] | None = None, negatives: int = 0, wanted: int = 0
) -> dict[str, Any]:
    """What the journal keeps of one pair."""
    return {
        "query_id": query_id,
        "lines": int(left_out is None),
        "left_out": left_out,
        "negatives": negatives,
        "short": int(negatives < wanted),
        "removed": dict(removed or {}),
    }


# -- files ----------------------------------------------------------------------------------------------------------------


class SpooledTexts:
    """Texts by id in a temporary file of `folder`; in memory only where each begins."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)
        self._places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> SpooledTexts:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, doc_id: str, text: str) -> None:
        """Keep a text; all are added before the first is read."""
        data = text.encode("utf-8", "surrogatepass")
        self._places[doc_id] = (self._file.tell(), len(data))
        self._file.write(data)

    def __contains__(self, doc_id: str) -> bool:
        return doc_id in self._places

    def __getitem__(self, doc_id: str) -> str:
        start, size = self._places[doc_id]
        self._file.seek(start)
        return self._file.read(size).decode("utf-8", "surrogatepass")
