"""verify(): every difference between a store and an input is found, counted and named, whatever it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.ingestion.verify import FIRST_IDS, VerifyProgress, VerifyReport, verify
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.collections import documents, encoded
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore


def _counts(report: VerifyReport) -> dict[str, int]:
    kinds = ("missing", "extra", "changed", "doubled", "wrong_model")
    return {kind: getattr(report, kind).count for kind in kinds if getattr(report, kind).count}


@pytest.mark.parametrize("make", [list, encoded])
def test_a_store_that_was_just_filled_is_as_its_input(store: Store, encoder: HashingEncoder, make: Any, tmp_path: Path) -> None:
    collection = make(documents(300))
    ingest(collection, store)
    encoded_before = encoder.texts_encoded
    report = verify(collection, store)
    assert report.ok and (report.records, report.documents, _counts(report)) == (300, 300, {})
    assert report.model == report.filled_with == encoder.fingerprint
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(raw) + "\n" for raw in collection))
    assert verify(tmp_path / "in.jsonl", store).ok
    assert encoder.texts_encoded == encoded_before


def test_each_kind_of_difference_is_named(store: Store) -> None:
    ingest(documents(100), store)
    store.delete(["d7", "d8"])
    store.upsert_vectors([("extra", SparseVector([1], [1.0])), ("d9", SparseVector([1], [1.0]))])
    asked = documents(100)
    asked[11]["text"] = "mudou"
    report = verify([*asked, {"_id": "broken"}, asked[0]], store)
    assert not report.ok
    assert (report.missing.first, report.extra.first, sorted(report.changed.first)) == (["d7", "d8"], ["extra"], ["d11", "d9"])
    assert _counts(report) == {"missing": 2, "extra": 1, "changed": 2}
    assert (report.records, report.documents, report.rejected) == (100, 99, 2)
    assert report.reasons == {'no "text" in the record … (fields: _id).': 1, "duplicate _id …, first on line ….": 1}
    content = json.loads(json.dumps(report.to_dict()))
    assert content["ok"] is False and content["missing"] == {"count": 2, "first": ["d7", "d8"]}


@given(
    asked=st.dictionaries(st.integers(0, 30), st.sampled_from("ab"), max_size=20),
    stored=st.dictionaries(st.integers(0, 30), st.sampled_from("ab"), max_size=20),
)
def test_the_differences_are_those_of_two_dicts(asked: dict[int, str], stored: dict[int, str]) -> None:
    memory = MemoryStore(HashingEncoder())
    ingest([{"_id": f"d{n}", "text": text} for n, text in stored.items()], memory, reconcile=0)
    report = verify([{"_id": f"d{n}", "text": text} for n, text in asked.items()], memory)
    assert report.missing.count == len(asked.keys() - stored.keys())
    assert report.extra.count == len(stored.keys() - asked.keys())
    assert report.changed.count == sum(asked[n] != stored[n] for n in asked.keys() & stored.keys())
    assert report.ok == (asked == stored)


def test_only_the_first_ids_are_kept() -> None:
    report = verify(documents(1000), MemoryStore(HashingEncoder()))
    assert report.missing.count == 1000
    assert report.missing.first == [f"d{n}" for n in range(FIRST_IDS)]


def test_a_document_that_is_stored_twice_is_found() -> None:
    class Doubling(MemoryStore):
        def _scan_page(self, cursor: Any, size: int, with_vectors: bool) -> tuple[list[Entry], Any]:
            entries, following = super()._scan_page(cursor, size, with_vectors)
            return [*entries, *(entry for entry in entries if entry.doc_id == "d5")], following

    store = Doubling(HashingEncoder())
    ingest(documents(10), store)
    assert _counts(verify(documents(10), store)) == {"doubled": 1}


def test_a_store_of_another_model(tmp_path: Path) -> None:
    url = f"edge:{tmp_path / 'index'}"
    with open_store(url, encoder=HashingEncoder("first")) as store:
        ingest(documents(20), store)
    with open_store(url, encoder=HashingEncoder("second"), allow_mismatch=True) as store:
        report = verify(documents(20), store)
    assert _counts(report) == {"wrong_model": 20} and not report.ok
    assert (report.filled_with, report.model) == (HashingEncoder("first").fingerprint, HashingEncoder("second").fingerprint)


def test_vectors_of_another_model(store: Store) -> None:
    records = encoded(documents(20))
    ingest(records, store)
    records[3]["fingerprint"] = "f" * 64
    records[4]["fingerprint"] = store.encoder.fingerprint
    report = verify(records, store)
    assert (_counts(report), report.wrong_model.first) == ({"wrong_model": 1}, ["d3"])


def test_passages_of_another_model(store: Store) -> None:
    spans = [{"start": n, "end": n + 1, "vector": {str(n): 1.0}} for n in range(2)]
    record = {"_id": "a", "text": "abc", "passages": spans}
    ingest([record], store)
    report = verify([{**record, "fingerprint": "f" * 64}], store)
    assert (_counts(report), report.wrong_model.first) == ({"wrong_model": 1}, ["a"])


def test_passages_that_a_store_of_whole_documents_does_not_take(tmp_path: Path) -> None:
    spans = [{"start": n, "end": n + 1, "vector": {str(n): 1.0}} for n in range(2)]
    records = [{"_id": "a", "text": "abc", "passages": spans}, *documents(2)]
    with open_store(f"edge:{tmp_path}/whole", encoder=HashingEncoder(), passages=False) as whole:
        assert ingest(records, whole).rejected == 1
        report = verify(records, whole)
    assert report.ok and (report.records, report.rejected) == (2, 1)


def test_a_closed_store_and_what_is_no_input(store: Store) -> None:
    with pytest.raises(errors.ConfigError, match="iterable of records"):
        verify(7, store)  # type: ignore[arg-type]
    store.close()
    with pytest.raises(errors.StoreClosedError):
        verify([], store)


def test_progress(store: Store) -> None:
    ingest(documents(50), store)
    seen: list[VerifyProgress] = []
    verify(documents(50), store, progress=seen.append)
    assert seen[-1][:2] == (50, 50)


def test_a_hundred_thousand_documents_take_little_memory() -> None:
    """By what is held, not by the clock or the process: the ids and the packed tables of the input."""
    import sys

    from splade_ptbr_connectors.ingestion.verify import _Wanted

    wanted = _Wanted()
    for n in range(100_000):
        wanted.add(f"document-{n}", f"{n:032x}")
    held = sum(map(sys.getsizeof, (wanted.found, wanted._hashes, wanted._ids, wanted._ends, wanted._places._keys, wanted._places._lines)))
    assert held / 100_000 < 110
    assert wanted.find("document-77") == 77 and wanted.content_hash(77) == f"{77:032x}" and wanted.find("other") is None
