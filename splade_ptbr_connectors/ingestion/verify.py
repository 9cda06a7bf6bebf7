"""verify(): what a store holds compared with an input: missing, extra, changed, doubled, made by another model."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..records import FINGERPRINT_FIELD, VECTOR_FIELD, brings_passages
from ..sources import Row, as_source
from ..stores.base import Store
from .items import ReadyVectors, read_items
from .report import IngestCounts
from .seen_ids import SeenIds

FIRST_IDS = 10
HASH_BYTES = 16
SHOW_EVERY = 5000


class VerifyProgress(NamedTuple):
    """What a progress callable is given: records of the input and documents of the store looked at so far."""

    records: int
    documents: int
    seconds: float


@dataclass
class Difference:
    """One kind of difference: how many documents, and the first few ids."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, doc_id: str) -> None:
        """Count one document."""
        self.count += 1
        if len(self.first) < FIRST_IDS:
            self.first.append(doc_id)


@dataclass
class VerifyReport:
    """What verify() found.

    Attributes:
        records: documents that the input asks for: its valid records, each id once.
        documents: documents in the store.
        missing: in the input, not in the store.
        extra: in the store, not in the input.
        changed: in both, with another content hash, or stored without one.
        doubled: more than once in the store.
        wrong_model: documents whose vector is of another model: all of the store, if it says that another one filled it, else
            the records that bring a vector with another "fingerprint".
        rejected: records that the store would not take, by kind of reason in `reasons`; they are not expected in the store. What an
            encoder refuses is known only when it is encoded, so such records count as missing.
        model: fingerprint of the encoder that the store was opened with.
        filled_with: fingerprint that the store says; None if it says nothing.
    """

    records: int = 0
    documents: int = 0
    missing: Difference = field(default_factory=Difference)
    extra: Difference = field(default_factory=Difference)
    changed: Difference = field(default_factory=Difference)
    doubled: Difference = field(default_factory=Difference)
    wrong_model: Difference = field(default_factory=Difference)
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    model: str = ""
    filled_with: str | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """The store holds the input's documents, as they are, and nothing else."""
        differences = (self.missing, self.extra, self.changed, self.doubled, self.wrong_model)
        return not any(difference.count for difference in differences)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"ok": self.ok, **asdict(self)}


def verify(
    records: Iterable[Any] | str | Path, store: Store, *, progress: Callable[[VerifyProgress], object] | None = None
) -> VerifyReport:
    """Compare a store with an input by reading both; nothing is encoded or written.

    Memory: an id and about 70 bytes for each record of the input.

    Args:
        records: as ingest() takes them, ready vectors included.
        store: is read completely, by scan().
        progress: a callable given VerifyProgress.

    Raises:
        InputFileError: the input is damaged.
        StoreError: the store cannot be read.
    """
    started = time.monotonic()
    report = VerifyReport(model=store.encoder.fingerprint, filled_with=store.fingerprint)

    def show(every: int = 1) -> None:
        if progress is not None and (report.records + report.documents) % every == 0:
            progress(VerifyProgress(report.records, report.documents, time.monotonic() - started))

    wanted = _Wanted()
    for doc_id, content_hash in _expected(records, store, report):
        wanted.add(doc_id, content_hash)
        report.records += 1
        show(SHOW_EVERY)
    for entry in store.scan(with_vectors=False):
        report.documents += 1
        _compare(entry.doc_id, entry.content_hash, wanted, report)
        show(SHOW_EVERY)
    for doc_id in wanted.not_found():
        report.missing.add(doc_id)
    show()
    report.seconds = time.monotonic() - started
    return report


def _expected(records: Iterable[Any] | str | Path, store: Store, report: VerifyReport) -> Iterator[tuple[str, str]]:
    """Id and content hash of the records that have to be in the store; the others are counted in the report."""
    counts = IngestCounts()
    mine = ReadyVectors(store.encoder.vocab_size, store.encoder.fingerprint, whole=store.passage_settings is None)
    for item in read_items(_without_fingerprints(as_source(records), mine.fingerprint, report), mine):
        if item.record is None:
            counts.reject(item.reason)
        else:
            yield item.record.doc_id, item.content_hash
    report.rejected, report.reasons = counts.rejected, counts.reasons


def _without_fingerprints(records: Iterable[Any], mine: str, report: VerifyReport) -> Iterator[Any]:
    """The records with another model's fingerprint are counted, where ingest() would stop."""
    for raw in records:
        mapping = raw.raw if isinstance(raw, Row) else raw
        vectors = isinstance(mapping, dict) and (mapping.get(VECTOR_FIELD) is not None or brings_passages(mapping))
        if not vectors or mapping.get(FINGERPRINT_FIELD, mine) == mine:
            yield raw
            continue
        if report.filled_with in (None, mine):
            report.wrong_model.add(str(mapping.get("_id")))
        same = {name: value for name, value in mapping.items() if name != FINGERPRINT_FIELD}
        yield Row(raw.line, same) if isinstance(raw, Row) else same


def _compare(doc_id: str, content_hash: str | None, wanted: _Wanted, report: VerifyReport) -> None:
    if report.filled_with not in (None, report.model):
        report.wrong_model.add(doc_id)
    place = wanted.find(doc_id)
    if place is None:
        report.extra.add(doc_id)
    elif wanted.found[place]:
        report.doubled.add(doc_id)
    else:
        wanted.found[place] = 1
        if content_hash != wanted.content_hash(place):
            report.changed.add(doc_id)


class _Wanted:
    """Ids and content hashes, packed: a Python object for each of a million records would take half a gigabyte."""

    def __init__(self) -> None:
        self.found = bytearray()
        self._places = SeenIds()
        self._hashes = bytearray()
        self._ids = bytearray()
        self._ends = array("Q")

    def add(self, doc_id: str, content_hash: str) -> None:
        self._hashes += bytes.fromhex(content_hash)
        self._ids += doc_id.encode()
        self._ends.append(len(self._ids))
        self.found.append(0)
        self._places.first_line(doc_id, len(self._ends))

    def find(self, doc_id: str) -> int | None:
        place = self._places.line_of(doc_id) - 1
        return place if place >= 0 and self._id(place) == doc_id else None

    def content_hash(self, place: int) -> str:
        return self._hashes[HASH_BYTES * place : HASH_BYTES * (place + 1)].hex()

    def not_found(self) -> Iterator[str]:
        return (self._id(place) for place, found in enumerate(self.found) if not found)

    def _id(self, place: int) -> str:
        return self._ids[self._ends[place - 1] if place else 0 : self._ends[place]].decode()
