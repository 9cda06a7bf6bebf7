"""The last step of an ingest: does the store hold what it acknowledged? A count, and a sample that is read back and searched."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum

from ..errors import IngestError
from ..stores.base import Entry, Store
from ..vectors import SparseVector
from .items import Item, SeenIds
from .sample import Sample

logger = logging.getLogger(__name__)
QUERY_TERMS = 16
TOP_K = 10
SHOWN = 5


@dataclass(frozen=True)
class Reconciled:
    """What the check of a finished run found.

    Attributes:
        sampled: written documents that were read back and searched for.
        missing: documents of this run that the store acknowledged and does not hold, or does not find by their own terms: 0,
            or an IngestError had been raised.
        changed: sampled documents that somebody else has written anew meanwhile.
        count_expected: documents before the run and those it added, if nobody else wrote or deleted meanwhile and every
            document that was replaced had been written by an ingest.
        count_found: documents in the store after the run.
        ok: nothing is missing or changed. A count that is too small has every id of the run looked up in the store; one that
            somebody else's writing or deleting explains is no fault.
    """

    sampled: int
    missing: int
    changed: int
    count_expected: int
    count_found: int
    ok: bool


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
    missing, rewritten, damaged = found_by[Verdict.missing], found_by[Verdict.rewritten], found_by[Verdict.damaged]
    expected, found = before + sample.new, store.count()
    if found < expected and not missing:
        missing = _lines_not_stored(store, seen, first_line, sample.refused)
    if missing or damaged:
        raise IngestError(_message(store, missing, damaged))
    if rewritten:
        logger.warning("%s: %d of %d sampled documents were written anew by somebody else", store.url, len(rewritten), len(sample.items))
    return Reconciled(len(sample.items), 0, len(rewritten), expected, found, not rewritten)


class Verdict(Enum):
    """What became of a document that was written."""

    sound = "sound"
    missing = "missing"
    rewritten = "written anew by somebody else"
    damaged = "not as it was written"


def _check_sample(store: Store, items: list[Item]) -> dict[Verdict, list[str]]:
    """The ids of the sampled documents by what became of them."""
    found: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
    for start in range(0, len(items), store.batch_size):
        lot = {item.record.doc_id: item for item in items[start : start + store.batch_size] if item.record}
        stored = store.get(list(lot))
        for doc_id, item in lot.items():
            found[_verdict(store, item, stored.get(doc_id))].append(doc_id)
    return found


def _verdict(store: Store, item: Item, entry: Entry | None) -> Verdict:
    if entry is None:
        return Verdict.missing
    if entry.content_hash != item.mark or item.vector is None:
        return Verdict.rewritten
    kept = store.quantized(item.vector)
    if entry.vector not in (item.vector, kept):
        return Verdict.damaged
    return _searched(store, entry.doc_id, item.vector)


def _searched(store: Store, doc_id: str, vector: SparseVector) -> Verdict:
    """Whether a search by the document's heaviest terms finds it with the score it must have, unless better ones fill the page."""
    kept = store.quantized(vector)
    query = kept.prune(max_terms=QUERY_TERMS)
    if not len(query):
        return Verdict.sound
    score, tolerance = query.dot(kept), store.score_tolerance(query, vector)
    hits = store.search(query, TOP_K, with_payload=False)
    mine = next((hit.score for hit in hits if hit.doc_id == doc_id), None)
    if mine is not None:
        return Verdict.sound if abs(mine - score) <= tolerance else Verdict.damaged
    outranked = len(hits) == TOP_K and hits[-1].score >= score - tolerance
    return Verdict.sound if outranked else Verdict.missing


def _lines_not_stored(store: Store, seen: SeenIds, first_line: int, refused: set[int]) -> list[str]:
    """Looks up every id of the run in the store: lines whose ids are not there."""
    there = bytearray()
    for entry in store.scan(with_vectors=False):
        line = seen.line_of(entry.doc_id)
        if line >= len(there):
            there.extend(bytes(line + 1 - len(there)))
        there[line] = 1
    absent = [line for line in seen.lines() if line >= first_line and line not in refused and not (line < len(there) and there[line])]
    return [f"line {line}" for line in sorted(absent)]


def _message(store: Store, missing: list[str], damaged: list[str]) -> str:
    names, what = (missing, "does not hold or find") if missing else (damaged, "gives back with other vectors")
    shown = ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    return (
        f"{store.url} acknowledged {len(names):,} documents that it {what}: {shown}; was it cleared meanwhile? "
        "See all with splade-ptbr verify, then run the ingest again without a checkpoint."
    )
