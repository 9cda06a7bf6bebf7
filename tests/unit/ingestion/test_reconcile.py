"""The last step of an ingest: a store that does not hold what it acknowledged is found out, and nobody else is accused."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion.engine import Reconciled, ingest
from splade_ptbr_connectors.ingestion.items import Item
from splade_ptbr_connectors.ingestion.reconcile import Sample
from splade_ptbr_connectors.stores.base import Entry, Hit, Refusal, Store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.collections import documents
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore


def test_a_sound_run(store: Store) -> None:
    report = ingest(documents(300), store)
    assert report.reconciled == Reconciled(64, 0, 0, 300, 300, True)
    assert report.to_dict()["reconciled"]["ok"] is True
    again = ingest([*documents(200), *documents(50, start=300)], store, reconcile=7)
    assert again.reconciled == Reconciled(7, 0, 0, 350, 350, True)
    assert ingest(documents(350), store, reconcile=10).reconciled == Reconciled(0, 0, 0, 350, 350, True)
    assert ingest(documents(360), store, reconcile=0).reconciled is None


def test_replaced_documents_add_nothing_to_the_count(store: Store) -> None:
    ingest(documents(100), store)
    changed = [document | {"title": "outro"} for document in documents(100)]
    assert ingest([*changed, *documents(10, start=100)], store).reconciled == Reconciled(64, 0, 0, 110, 110, True)


def test_a_document_stored_without_a_hash_is_no_loss_when_it_is_replaced(store: Store) -> None:
    store.upsert_vectors([("d1", SparseVector([1], [1.0])), ("other", SparseVector([1], [1.0]))])
    report = ingest(documents(10), store)
    assert report.reconciled == Reconciled(10, 0, 0, 12, 11, True)  # it was taken for a new one, and then looked for


class Faithless(MemoryStore):
    """Does something to the entries once the run has ended its load."""

    def __init__(self, then: Callable[[dict[str, Entry]], Any], **arguments: Any) -> None:
        super().__init__(HashingEncoder(), **arguments)
        self.then = then

    def finish_loading(self) -> None:
        self.then(self.entries)


def _replace(entries: dict[str, Entry], **changes: Any) -> None:
    for doc_id, entry in entries.items():
        entries[doc_id] = entry._replace(**changes)


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (lambda entries: entries.clear(), "does not hold or find"),
        (lambda entries: entries.pop("d17"), "does not hold or find: '(d17|line 18)'"),
        (lambda entries: _replace(entries, vector=SparseVector([5], [2.0])), "other vectors: 'd"),
    ],
)
@pytest.mark.parametrize("before", [0, 30])
def test_what_was_acknowledged_and_is_not_there_is_an_error(then: Any, message: str, before: int, tmp_path: Any) -> None:
    store = Faithless(then)
    store.upsert_vectors([Entry(f"old{n}", SparseVector([1], [1.0]), {}, "h") for n in range(before)])
    with pytest.raises(errors.IngestError, match=message):
        ingest(documents(500), store, checkpoint=tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint").exists()


def test_one_loss_in_many_is_named_by_its_line_though_no_sample_holds_it() -> None:
    lost = [f"d{n}" for n in (3, 77, 411)]
    with pytest.raises(errors.IngestError, match=r"3 documents .*'line 4', 'line 78', 'line 412'"):
        ingest(documents(500), Faithless(lambda entries: [entries.pop(doc_id) for doc_id in lost]), reconcile=1)


def test_refused_and_rejected_documents_are_not_missed() -> None:
    class Choosy(Faithless):
        def _upsert(self, entries: list[Entry]) -> list[Refusal]:
            super()._upsert([entry for entry in entries if entry.doc_id != "d3"])
            return [Refusal(entry.doc_id, "no") for entry in entries if entry.doc_id == "d3"]

    store = Choosy(lambda entries: [entries.pop(doc_id) for doc_id in list(entries) if doc_id.startswith("old")])
    store.encoder.max_words = 20  # type: ignore[attr-defined]
    store.upsert_vectors([Entry(f"old{n}", SparseVector([1], [1.0]), {}, "h") for n in range(9)])
    records = [*documents(20), {"_id": "long", "text": "palavra " * 40}, {"_id": "broken"}]
    report = ingest(records, store)  # somebody deleted the old ones: the count falls short, and every id is looked up
    assert report.rejected == 3
    assert report.reconciled is not None and report.reconciled.ok
    assert report.reconciled.count_found == 19 < report.reconciled.count_expected == 28


def test_an_index_that_lost_a_document_it_still_returns() -> None:
    class Blind(MemoryStore):
        def _search(self, query: SparseVector, top_k: int, filter: Any, with_payload: bool) -> list[Hit]:
            return [hit for hit in super()._search(query, top_k + 1, filter, with_payload) if hit.doc_id != "d5"][:top_k]

    with pytest.raises(errors.IngestError, match="does not hold or find: 'd5'"):
        ingest(documents(30), Blind(HashingEncoder()))


def test_scores_that_are_wrong_are_an_error() -> None:
    class Wrong(MemoryStore):
        def _search(self, query: SparseVector, top_k: int, filter: Any, with_payload: bool) -> list[Hit]:
            return [hit._replace(score=hit.score * 1.001) for hit in super()._search(query, top_k, filter, with_payload)]

    with pytest.raises(errors.IngestError, match="other vectors"):
        ingest(documents(30), Wrong(HashingEncoder()))


def test_documents_outranked_by_many_are_no_loss() -> None:
    same = [{"_id": f"d{n}", "text": "a mesma coisa"} for n in range(200)]
    assert ingest(same, MemoryStore(HashingEncoder())).reconciled == Reconciled(64, 0, 0, 200, 200, True)


def test_the_engines_own_rounding_is_no_change() -> None:
    class Rounding(MemoryStore):
        def quantized(self, vector: SparseVector) -> SparseVector:
            return SparseVector(vector.term_ids, (vector.weights * 2).round() / 2 + 0.25)

        def _upsert(self, entries: list[Entry]) -> list[Refusal]:
            return super()._upsert([entry._replace(vector=self.quantized(entry.vector)) for entry in entries])

    report = ingest(documents(100), Rounding(HashingEncoder()))
    assert report.reconciled is not None and report.reconciled.ok


def test_what_somebody_else_has_rewritten_is_said_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        report = ingest(documents(100), Faithless(lambda entries: _replace(entries, content_hash="theirs")), reconcile=5)
    assert report.reconciled == Reconciled(5, 0, 5, 100, 100, False)
    assert "5 of 5 sampled documents have been overwritten by somebody else" in caplog.text


def test_the_sample_is_drawn_evenly_and_the_same_each_time() -> None:
    items = [Item(n + 1, f"{n}", vector=SparseVector([1], [1.0])) for n in range(400)]
    drawn: Counter[int] = Counter()
    for size in range(1, 101):
        samples = [Sample(size), Sample(size)]
        for sample in samples:
            for item in items:
                sample.record(item)
        assert samples[0].items == samples[1].items
        assert len({item.line for item in samples[0].items}) == size
        drawn.update(item.line for item in samples[0].items)
    expected = sum(range(1, 101)) / 400
    quarters = [sum(drawn[line] for line in range(start, start + 100)) / 100 for start in range(1, 400, 100)]
    assert all(abs(quarter - expected) < 0.25 * expected for quarter in quarters)


@pytest.mark.parametrize("setting", [-1, True, 1.5])
def test_bad_settings(store: Store, setting: Any) -> None:
    with pytest.raises(errors.ConfigError, match="reconcile is"):
        ingest([], store, reconcile=setting)


def test_the_report_is_plain() -> None:
    assert {field.name for field in dataclasses.fields(Reconciled)} == {
        "sampled", "missing", "changed", "count_expected", "count_found", "ok",
    }  # fmt: skip
