"""Hard negatives: what a model itself retrieves for the training queries, written line by line (training/negatives.py chooses)."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from splade_ptbr_connectors.batches import batched
from splade_ptbr_connectors.encoding.protocol import Encoder
from splade_ptbr_connectors.errors import InputError
from splade_ptbr_connectors.evaluation.collections import JudgedCollection
from splade_ptbr_connectors.vectors import SparseBatch
from training.measure.exact_search import ExactIndex
from training.measure.progress import bar
from training.mining.mined_lines import ResumableLines
from training.mining.negatives import Candidate, Positive, Selection, choose, normalized

DOCUMENTS_AT_ONCE = 1024
PAIRS_AT_ONCE = 2048
DEFAULT_SELECTION = Selection()
NAMED_EXAMPLES = 5
"""Queries named for each reason why lines were left out."""


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
    selection: Selection = DEFAULT_SELECTION,
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
        resume: continue behind the last line of an interrupted run with the same settings.
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
    for chunk in batched(documents, DOCUMENTS_AT_ONCE):
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
        waiting = bar(pairs, "mine", progress, total=len(pairs))
        for chunk in batched(waiting, PAIRS_AT_ONCE):
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
