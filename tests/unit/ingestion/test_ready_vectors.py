"""Records that bring their vector: stored as they are, without the encoder, and accounted for like texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion.engine import aingest, ingest
from splade_ptbr_connectors.records import EncodedRecord, Record, read_dense, read_vector
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.collections import assert_holds, documents, encoded
from tests.support.encoders import HashingEncoder
from tests.support.faulty import FaultyServer, FaultyStore
from tests.support.stores import MemoryStore

weights = st.dictionaries(st.integers(0, 4095), st.floats(2**-7, 100, width=32), max_size=8)


@pytest.fixture
def memory(encoder: HashingEncoder) -> MemoryStore:
    return MemoryStore(encoder)


@given(weights)
def test_every_form_of_a_vector_is_the_same_vector(terms: dict[int, float]) -> None:
    vector = SparseVector.from_dict(terms)
    line = {str(term): float(str(np.float32(weight))) for term, weight in terms.items()}  # as `splade-ptbr encode` writes it
    forms = (line, terms, {"indices": list(terms), "values": list(terms.values())}, vector, vector.to_opensearch())
    assert all(read_vector(form, "a") == vector for form in forms)


def _as_tuples(collection: list[dict[str, Any]]) -> list[Any]:
    return [(raw["_id"], SparseVector.from_opensearch(raw["vector"]), _payload(raw)) for raw in collection]


def _as_entries(collection: list[dict[str, Any]]) -> list[Any]:
    return [Entry(*entry) for entry in _as_tuples(collection)]


def _as_records(collection: list[dict[str, Any]]) -> list[Any]:
    return [Record(raw["_id"], raw["title"], raw["text"], {k: raw[k] for k in ("metadata", "vector")}) for raw in collection]


def _payload(raw: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name not in ("_id", "vector")}


@pytest.mark.parametrize("make", [list, _as_tuples, _as_entries, _as_records])
def test_ready_vectors_are_stored_as_they_are_and_nothing_is_encoded(store: Store, encoder: HashingEncoder, make: Any) -> None:
    collection = encoded(documents(200))
    report = ingest(make(collection), store)
    assert (report.read, report.written) == (200, 200)
    assert encoder.texts_encoded == 0
    for raw in collection:
        entry = store.get([raw["_id"]])[raw["_id"]]
        assert entry.vector == SparseVector.from_opensearch(raw["vector"])
        assert entry.payload == _payload(raw)
    assert ingest(make(collection), store).unchanged == 200
    assert encoder.texts_encoded == 0


def test_the_lines_that_encode_writes(store: Store, encoder: HashingEncoder, tmp_path: Path) -> None:
    lines = [{"_id": raw["_id"], "vector": raw["vector"]} for raw in encoded(documents(30))]
    (tmp_path / "vectors.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ingest(tmp_path / "vectors.jsonl", store, vectors=True).written == 30
    assert store.get(["d3"])["d3"].payload == {}
    query = encoder.encode_query("imposto renda")
    assert [hit.doc_id for hit in store.search(query, 5)]


def test_texts_and_vectors_in_one_input(store: Store, encoder: HashingEncoder) -> None:
    mixed = [ready if n % 3 else text for n, (text, ready) in enumerate(zip(documents(300), encoded(documents(300)), strict=True))]
    assert ingest(mixed, store).written == 300
    assert encoder.texts_encoded == 100
    assert {doc_id: entry.vector for doc_id, entry in store.get([f"d{n}" for n in range(300)]).items()} == {
        raw["_id"]: SparseVector.from_opensearch(raw["vector"]) for raw in encoded(documents(300))
    }


@pytest.mark.parametrize(
    ("change", "written"),
    [
        ({}, 0),
        ({"vector": {"7": 0.5}}, 1),
        ({"vector": {"7": 0.25, "8": 1.0}}, 1),
        ({"text": "outro"}, 1),
        ({"dense": [0.5, 1.0]}, 1),
    ],
)
def test_what_is_unchanged_is_told_by_vector_and_payload(memory: MemoryStore, change: dict[str, Any], written: int) -> None:
    first = {"_id": "a", "text": "um", "vector": {"7": 0.25}}
    assert ingest([first], memory).written == 1
    assert ingest([first | change], memory).written == written
    assert ingest([first | change], memory).written == 0


def test_dense_vectors_reach_the_store_and_no_payload(memory: MemoryStore) -> None:
    text, ready = {"_id": "a", "text": "um", "dense": [0.5, 1]}, {"_id": "b", "vector": {"3": 1.0}, "dense": [2, 0.25]}
    entry = Entry("c", SparseVector([3], [1.0]), {"n": 1}, None, (0.125, 3.0))
    assert ingest([text, ready, entry], memory).written == 3
    assert [memory.entries[doc_id].dense for doc_id in "abc"] == [(0.5, 1.0), (2.0, 0.25), (0.125, 3.0)]
    assert [dict(memory.entries[doc_id].payload) for doc_id in "abc"] == [{"title": "", "text": "um"}, {}, {"n": 1}]
    assert ingest([text, ready, entry], memory).unchanged == 3
    assert ingest([text | {"dense": [0.5, 2]}], memory).written == 1


BAD: list[tuple[Any, str]] = [
    ({"_id": "x", "vector": [0.5, 1.0]}, "it must be {term_id: weight}"),
    ({"_id": "x", "vector": {"a.b": 1.0}}, "not a term id"),
    ({"_id": "x", "vector": {"1": 0.0}}, "weight 0.0"),
    ({"_id": "x", "vector": {"1": -1.0}}, "weight -1.0"),
    ({"_id": "x", "vector": {"1": "a"}}, "weights must be numbers"),
    ({"_id": "x", "vector": {"4096": 1.0}}, "outside the vocabulary"),
    ({"_id": "x", "vector": {"1": 1.0, "01": 1.0}}, "more than once"),
    ({"_id": "x", "vector": {"indices": [1, 2], "values": [1.0]}}, "2 term ids but 1 weights"),
    ({"_id": "x", "vector": {"indices": [1.5], "values": [1.0]}}, "must be integers"),
    ({"_id": "x", "vector": {"1": 1.0}, "dense": [float("nan")]}, "finite numbers"),
    ({"_id": "x", "vector": {"1": 1.0}, "dense": "0.5"}, "finite numbers"),
    ({"_id": "x", "vector": {"1": 1.0}, "dense": []}, "finite numbers"),
    ({"_id": "x", "text": "um", "dense": [True]}, "finite numbers"),
    ({"_id": "x", "vector": {"1": 1.0}, "_hash": "1"}, "uses itself"),
    ({"_id": "x", "vector": {"1": 1.0}, "n": float("inf")}, "no such number"),
    ({"vector": {"1": 1.0}}, 'no "_id"'),
    ({"_id": "", "vector": {"1": 1.0}}, "blank"),
    (("x", [1.0]), "must be a SparseVector"),
    (("x", SparseVector([1], [1.0]), "payload"), "must be a mapping"),
    ((7, SparseVector([1], [1.0])), "ids are strings"),
    (("x", SparseVector([9999], [1.0])), "outside the vocabulary"),
    ((), "expected \\(doc_id, SparseVector\\)"),
    (("d3", SparseVector([1], [1.0])), "duplicate _id 'd3', first on line 4"),
]


def test_bad_vectors_are_listed_and_lose_nobody_else(memory: MemoryStore, tmp_path: Path) -> None:
    import re

    dead = tmp_path / "dead.jsonl"
    good = encoded(documents(30))
    report = ingest([*good, *(raw for raw, _ in BAD)], memory, dead_letter=dead, max_batch_documents=4)
    assert (report.written, report.rejected) == (30, len(BAD))
    lines = [json.loads(line) for line in dead.read_text().splitlines()]
    assert [line["line"] for line in lines] == list(range(31, 31 + len(BAD)))
    for line, (raw, reason) in zip(lines, BAD, strict=True):
        assert re.search(reason, line["reason"]), (raw, line["reason"])
    assert lines[-1]["record"] == {"_id": "d3", "vector": {"1": 1.0}}


def test_a_vector_of_another_model_stops_the_run(memory: MemoryStore, encoder: HashingEncoder) -> None:
    mine = {"_id": "a", "vector": {"1": 1.0}, "fingerprint": encoder.fingerprint}
    assert ingest([mine], memory).written == 1
    assert dict(memory.entries["a"].payload) == {}
    with pytest.raises(errors.ModelMismatchError, match=r"record 'b' .*ffff.*encode the texts again"):
        ingest([mine, {"_id": "b", "vector": {"1": 1.0}, "fingerprint": "f" * 64}], memory)
    assert "b" not in memory.entries


def test_the_switch_says_what_vector_means(memory: MemoryStore, encoder: HashingEncoder) -> None:
    raw = {"_id": "a", "text": "um", "vector": {"3": 1.0}, "dense": [1.0]}
    assert ingest([raw], memory, vectors=False).written == 1
    assert (encoder.texts_encoded, memory.entries["a"].dense) == (1, None)
    assert dict(memory.entries["a"].payload) == {"title": "", "text": "um", "vector": {"3": 1.0}, "dense": [1.0]}
    report = ingest([raw, {"_id": "b", "text": "dois"}], memory, vectors=True)
    assert (report.written, report.rejected) == (1, 1)
    assert ingest([("c", SparseVector([1], [1.0]))], memory, vectors=False).rejected == 1
    with pytest.raises(errors.ConfigError, match="vectors is 'yes'"):
        ingest([raw], memory, vectors="yes")  # type: ignore[arg-type]


class Stop(Exception):
    pass


def test_resumed_like_texts(tmp_path: Path) -> None:
    collection = encoded(documents(400))
    server = FaultyServer(HashingEncoder())
    store = FaultyStore(server.encoder, server, max_batch_documents=16)

    def stopping() -> Iterator[Any]:
        yield from collection[:150]
        raise Stop

    with pytest.raises(Stop):
        ingest(stopping(), store, checkpoint=tmp_path / "checkpoint")
    changed = [collection[0] | {"vector": {"1": 1.0}}, *collection[1:]]
    with pytest.raises(errors.IngestError, match="another input"):
        ingest(changed, store, checkpoint=tmp_path / "checkpoint")
    report = ingest(collection, store, checkpoint=tmp_path / "checkpoint")
    assert (report.resumed_at, report.read, report.written) == (150, 400, 400)
    assert store.count() == 400


def test_a_refused_ready_vector_can_be_loaded_again_from_the_dead_letter(tmp_path: Path) -> None:
    server = FaultyServer(HashingEncoder(), refuse=lambda entry: "no" if entry.doc_id == "d3" else None)
    store = FaultyStore(server.encoder, server)
    raw = encoded(documents(5))[3] | {"dense": [0.5, 0.25]}
    assert ingest([raw], store, dead_letter=tmp_path / "dead.jsonl").rejected == 1
    kept = json.loads((tmp_path / "dead.jsonl").read_text())["record"]
    assert kept == raw
    server.refuse = lambda entry: None
    assert ingest([kept], store).written == 1
    assert EncodedRecord.from_mapping(kept).content_hash == server.entries["d3"].content_hash


def test_an_empty_vector_is_kept(memory: MemoryStore) -> None:
    assert ingest([{"_id": "a", "vector": {}}], memory).written == 1
    assert read_dense(None, "a") is None


def test_the_same_vectors_as_encoding_here(store: Store) -> None:
    ingest(encoded(documents(50)), store)
    entries = store.get([f"d{n}" for n in range(50)])
    ingest(documents(50), store)
    assert_holds(store, documents(50))
    assert {doc_id: entry.vector for doc_id, entry in store.get(list(entries)).items()} == {k: e.vector for k, e in entries.items()}


@pytest.mark.parametrize("url", ["edge:{}", "numba:{}"])
@pytest.mark.parametrize("awaited", [False, True])
async def test_a_dense_vector_that_the_store_has_no_place_for_refuses_its_document_alone(tmp_path: Path, url: str, awaited: bool) -> None:
    settings = {"dense_size": 3} if url.startswith("edge") else {}
    collection, dead = encoded(documents(40)), tmp_path / "dead.jsonl"
    collection[17]["dense"] = [1.0, 2.0]
    with open_store(url.format(tmp_path / "store"), encoder=HashingEncoder(), settings=settings) as store:
        report = await aingest(collection, store, dead_letter=dead) if awaited else ingest(collection, store, dead_letter=dead)
        assert (report.written, report.rejected) == (39, 1)
        (line,) = dead.read_text(encoding="utf-8").splitlines()
        assert "the dense vector of" in json.loads(line)["reason"] and collection[17]["_id"] in line
        ids = [raw["_id"] for raw in collection]
        assert list(store.get(ids)) == [*ids[:17], *ids[18:]]


@pytest.mark.parametrize("awaited", [False, True])
async def test_documents_without_a_dense_vector_in_a_store_that_keeps_them_are_told(
    tmp_path: Path, awaited: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Hybrid searches would find them by their terms alone, in silence."""
    collection = documents(40)
    for raw in collection[:37]:
        raw["dense"] = [1.0, 2.0, 3.0]

    async def told(url: str, records: list[dict[str, Any]], settings: dict[str, Any]) -> list[str]:
        caplog.clear()
        with open_store(url, encoder=HashingEncoder(), settings=settings) as store:
            await aingest(records, store) if awaited else ingest(records, store)
        return [message for message in caplog.messages if "without a dense vector" in message]

    (message,) = await told(f"edge:{tmp_path / 'some'}", collection, {"dense_size": 3})
    assert "vector: 3, into edge:" in message and "vectors of 3 numbers" in message
    assert not await told(f"edge:{tmp_path / 'all'}", collection[:37], {"dense_size": 3})
    assert not await told(f"edge:{tmp_path / 'none kept'}", collection[37:], {})


def test_a_load_that_stops_tells_of_those_it_wrote(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The run that goes on behind them never sees them."""

    def stopping() -> Iterator[dict[str, Any]]:
        yield from documents(2000)
        raise KeyboardInterrupt

    with open_store(f"edge:{tmp_path / 'store'}", encoder=HashingEncoder(), settings={"dense_size": 3}) as store:
        with pytest.raises(KeyboardInterrupt):
            ingest(stopping(), store, max_batch_documents=10)
        written = store.count()
    (message,) = [message for message in caplog.messages if "without a dense vector" in message]
    assert written and f"vector: {written}, into edge:" in message
