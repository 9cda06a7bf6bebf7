"""The last step of an ingest: does the store hold what it acknowledged? A count, and a sample that is read back and searched for."""

from __future__ import annotations

import logging
import random
from enum import Enum
from typing import Generic, TypeVar

from ..batches import batched
from ..errors import IngestError
from ..stores.base import Entry, Store
from ..vectors import SparseVector
from .items import Item
from .report import Reconciled
from .seen_ids import SeenIds

logger = logging.getLogger(__name__)
QUERY_TERMS = 16
TOP_K = 10
OFF_AT_MOST = 0.1  # of a score, where weights that are gone may have widened the steps of the index
SHOWN = 5
SEED = 0

T = TypeVar("T")


class Reservoir(Generic[T]):
    """At most `size` of the things offered, each of them kept with the same probability, however many there are."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: list[T] = []
        self.offered = 0
        self._random = random.Random(SEED)

    def offer(self, thing: T) -> None:
        """Keep it or not."""
        self.offered += 1
        if len(self.kept) < self.size:
            self.kept.append(thing)
        elif (place := self._random.randrange(self.offered)) < self.size:
            self.kept[place] = thing


class Sample:
    """Which of the documents that a run wrote are checked at the end, and what has to be known for that.

    Attributes:
        items: at most `size` written items.
        new: written items that the store did not hold before.
        refused: lines of valid records that were rejected late, by the encoder or the store: their ids are in no store.
    """

    def __init__(self, size: int) -> None:
        self.new = 0
        self.refused: set[int] = set()
        self._reservoir: Reservoir[Item] = Reservoir(size)

    @property
    def items(self) -> list[Item]:
        return self._reservoir.kept

    def record(self, item: Item) -> None:
        """Take note of an item that is dealt with."""
        if not self._reservoir.size:
            return
        if item.reason:
            if item.content_hash:
                self.refused.add(item.line)
        elif item.vector is not None:
            self.new += not item.replaces
            self._reservoir.offer(item)


def reconcile(store: Store, sample: Sample, before: int, seen: SeenIds, first_line: int) -> Reconciled:
    """Check a finished run.

    Args:
        before: documents in the store when the run began.
        seen: ids of the input.
        first_line: the first line that this run itself dealt with.

    Raises:
        IngestError: documents are missing that were acknowledged, or are not as they were written.
    """
    found_by = _check_sample(store, sample.items)
    missing, overwritten, damaged = found_by[Verdict.missing], found_by[Verdict.overwritten], found_by[Verdict.damaged]
    expected, found = before + sample.new, store.count()
    if found < expected and not missing:
        missing = _lines_not_stored(store, seen, first_line, sample.refused)
    if missing or damaged:
        raise IngestError(_message(store, missing, damaged))
    if overwritten:
        logger.warning(
            "%s: %d of %d sampled documents have been overwritten by somebody else", store.url, len(overwritten), len(sample.items)
        )
    return Reconciled(len(sample.items), 0, len(overwritten), expected, found, not overwritten)


class Verdict(Enum):
    """What became of a document that was written."""

    sound = "sound"
    missing = "missing"
    overwritten = "written by somebody else since"
    damaged = "not as it was written"


def _check_sample(store: Store, items: list[Item]) -> dict[Verdict, list[str]]:
    """The ids of the sampled documents by what became of them."""
    found: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
    for batch in batched(items, store.max_batch_documents):
        by_id = {item.record.doc_id: item for item in batch if item.record}
        stored = store.get(list(by_id))
        for doc_id, item in by_id.items():
            found[_verdict(store, item, stored.get(doc_id))].append(doc_id)
    return found


def _verdict(store: Store, item: Item, entry: Entry | None) -> Verdict:
    if entry is None:
        return Verdict.missing
    if entry.content_hash != item.content_hash or item.vector is None:
        return Verdict.overwritten
    written = item.to_entry()
    if entry.spans != written.spans:
        return Verdict.damaged
    for found, vector in zip(entry.vectors, written.vectors, strict=True):
        if found not in (vector, store.quantized(vector)):
            return Verdict.damaged
    return _searched(store, entry.doc_id, written.vectors)


def _searched(store: Store, doc_id: str, vectors: list[SparseVector]) -> Verdict:
    """Whether a search by the heaviest terms of the document's last passage finds it with the score it must have.

    Unless better ones fill the page.
    """
    kept = [store.quantized(vector) for vector in vectors]
    query = kept[-1].prune(max_terms=QUERY_TERMS)
    if not len(query):
        return Verdict.sound
    score = max(map(query.dot, kept))
    tolerance = max([store.score_tolerance(query, vector) for vector in vectors])
    if not store.knows_tolerance:
        tolerance = max(tolerance, OFF_AT_MOST * score)
    hits = store.search(query, TOP_K, with_payload=False)
    mine = next((hit.score for hit in hits if hit.doc_id == doc_id), None)
    if mine is not None:
        return Verdict.sound if abs(mine - score) <= tolerance else Verdict.damaged
    outranked = len(hits) == TOP_K and hits[-1].score >= score - tolerance
    return Verdict.sound if outranked else Verdict.missing


def _lines_not_stored(store: Store, seen: SeenIds, first_line: int, refused: set[int]) -> list[str]:
    """Look up every id of the run in the store: the lines whose ids are not there."""
    there = bytearray()
    for entry in store.scan(with_vectors=False):
        line = seen.line_of(entry.doc_id)
        if line >= len(there):
            there.extend(bytes(line + 1 - len(there)))
        there[line] = 1
    absent = [line for line in seen.lines() if line >= first_line and line not in refused and not (line < len(there) and there[line])]
    return [f"line {line}" for line in sorted(absent)]


def _message(store: Store, missing: list[str], damaged: list[str]) -> str:
    names, what = (missing, "does not hold or find") if missing else (damaged, "returns with other vectors")
    shown = ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    return (
        f"{store.url} acknowledged {len(names):,} documents that it {what}: {shown}; was it cleared in the meantime? "
        "See all with splade-ptbr verify, then run the ingest again without a checkpoint."
    )
