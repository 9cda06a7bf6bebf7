"""ingest(): every record is accounted for, nothing is encoded twice, nothing is written half."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion.engine import IngestReport, aingest, ingest
from splade_ptbr_connectors.ingestion.report import IngestProgress
from splade_ptbr_connectors.records import Record
from splade_ptbr_connectors.sources import open_source
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Refusal, Store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.collections import assert_holds, documents
from tests.support.encoders import HashingEncoder


def _counts(report: IngestReport) -> tuple[int, int, int, int]:
    assert report.read == report.written + report.unchanged + report.rejected
    assert sum(report.reasons.values()) == report.rejected
    return report.read, report.written, report.unchanged, report.rejected


def test_a_second_run_writes_and_encodes_nothing(store: Store, encoder: HashingEncoder) -> None:
    collection = documents(700)
    assert _counts(ingest(collection, store)) == (700, 700, 0, 0)
    assert_holds(store, collection)
    encoded = encoder.texts_encoded
    assert _counts(ingest(collection, store)) == (700, 0, 700, 0)
    assert encoder.texts_encoded == encoded


def test_only_what_changed_is_encoded(store: Store, encoder: HashingEncoder) -> None:
    collection = documents(300)
    ingest(collection, store)
    encoded = encoder.texts_encoded
    collection[7]["text"] = "outro texto"
    collection[9]["metadata"] = {"year": 1}
    collection += documents(5, start=300)
    assert _counts(ingest(collection, store)) == (305, 7, 298, 0)
    assert encoder.texts_encoded == encoded + 7
    assert_holds(store, collection)


def _as_records(collection: list[dict[str, Any]]) -> list[Record]:
    return [Record.from_mapping(document) for document in collection]


@pytest.mark.parametrize("make", [list, iter, tuple, _as_records])
def test_any_iterable(store: Store, make: Any) -> None:
    collection = documents(20)
    assert _counts(ingest(make(collection), store)) == (20, 20, 0, 0)
    assert_holds(store, collection)


def test_a_source_a_path_and_a_string(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(doc) + "\n" for doc in documents(20)))
    assert _counts(ingest(open_source(path), store)) == (20, 20, 0, 0)
    assert _counts(ingest(path, store)) == (20, 0, 20, 0)
    assert _counts(ingest(str(path), store)) == (20, 0, 20, 0)
    with pytest.raises(errors.InputFileError):
        ingest("no/such/file.jsonl", store)


def test_nothing_in_nothing_out(store: Store) -> None:
    assert _counts(ingest([], store)) == (0, 0, 0, 0)


@pytest.mark.parametrize("records", [None, 7, {"_id": "a", "text": "x"}])
def test_what_is_no_collection(store: Store, records: Any) -> None:
    with pytest.raises(errors.ConfigError, match="iterable of records"):
        ingest(records, store)


@pytest.mark.parametrize(
    "setting", [{"max_batch_documents": 0}, {"max_batch_documents": 1.5}, {"max_batch_bytes": -1}, {"max_batch_bytes": True}]
)
def test_bad_settings(store: Store, setting: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigError, match="at least 1"):
        ingest([], store, **setting)


@pytest.mark.parametrize("store", [None, "edge:my-documents"])
def test_a_url_is_no_store(store: Any) -> None:
    for use in (ingest, lambda *given: asyncio.run(aingest(*given))):
        with pytest.raises(errors.ConfigError, match=r"store is .* must be an open store"):
            use([], store)


def test_batch_size_is_still_taken_as_the_name_of_max_batch_documents(store: Store) -> None:
    assert ingest(documents(3), store, batch_size=2).written == 3
    with pytest.raises(errors.ConfigError, match="max_batch_documents is 0"):
        ingest([], store, batch_size=0)
    with pytest.raises(errors.ConfigError, match="max_batch_documents and batch_size are the same argument"):
        ingest([], store, batch_size=2, max_batch_documents=2)


BAD = [
    None,
    "text",
    ["list"],
    {},
    {"_id": "x"},
    {"_id": "x", "text": 3},
    {"_id": "x", "text": float("nan")},
    {"_id": "x", "text": "\ud800"},
    {"_id": "x", "text": "\0"},
    {"_id": "x", "text": "  "},
    {"_id": "x" * 600, "text": "a"},
    {"_id": "x", "text": "a", "_hash": "1"},
    {"_id": "x", "text": "a", "n": 2**63},
    {"_id": "x", "text": "a", "n": float("inf")},
    {"_id": "x", "text": "a", "n": object()},
    {"_id": "x", "text": "a", "n": {1, 2}},
    {"_id": "x", "text": "a" * 1_000_001},
    {"_id": "x", "text": "palavra " * 20},
    Record("x", "", "", {}),
    {"_id": "x", "text": "a", "n.m": 1, "n": 2},
    {"_id": "x", "text": "a", "text.lang": "pt"},
]


def test_bad_records_are_listed_and_lose_nobody_else(tmp_path: Path) -> None:
    collection = documents(100)
    mixed: list[Any] = []
    for n, document in enumerate(collection):
        mixed += [document, BAD[n % len(BAD)]]
    dead = tmp_path / "dead.jsonl"
    with open_store(f"edge:{tmp_path / 'index'}", encoder=HashingEncoder(max_words=15)) as store:
        report = ingest(mixed, store, dead_letter=dead, max_batch_documents=16)
        assert _counts(report) == (200, 100, 0, 100)
        assert_holds(store, collection)
    lines = [json.loads(line) for line in dead.read_text().splitlines()]
    assert [line["line"] for line in lines] == list(range(2, 201, 2))
    assert all(set(line) == {"line", "reason", "record"} and line["reason"] for line in lines)
    assert report.dead_letter == str(dead)
    assert lines[4]["record"] == {"_id": "x"}
    assert lines[17]["reason"] == "text has 20 words: at most 15 are accepted."


def test_a_text_the_encoder_refuses_rejects_itself_alone(tmp_path: Path) -> None:
    collection = documents(200)
    for n in (0, 50, 51, 199):
        collection[n]["text"] = "palavra " * 40
    encoder = HashingEncoder(max_words=30, window=32)
    with open_store(f"edge:{tmp_path / 'index'}", encoder=encoder) as store:
        report = ingest(collection, store, dead_letter=tmp_path / "dead.jsonl")
        assert _counts(report) == (200, 196, 0, 4)
        assert_holds(store, [document for n, document in enumerate(collection) if n not in (0, 50, 51, 199)])
    lines = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert [line["line"] for line in lines] == [1, 51, 52, 200]
    assert lines[0]["record"] == collection[0]
    assert lines[0]["reason"] == "text has 42 words: at most 30 are accepted."


def test_later_duplicates_are_rejected_by_line(store: Store, tmp_path: Path) -> None:
    collection = documents(50)
    doubled = [*collection, {"_id": "d3", "text": "outra"}, {"id": "d3", "text": "mais outra"}]
    report = ingest(doubled, store, dead_letter=tmp_path / "dead.jsonl")
    assert _counts(report) == (52, 50, 0, 2)
    assert report.reasons == {"duplicate _id …, first on line ….": 2}
    assert_holds(store, collection)
    assert "duplicate _id 'd3', first on line 4." in (tmp_path / "dead.jsonl").read_text()


def test_a_rejected_record_does_not_claim_its_id(store: Store) -> None:
    assert _counts(ingest([{"_id": "a"}, {"_id": "a", "text": "x"}], store)) == (2, 1, 0, 1)


def test_no_dead_letter_file_without_rejected_records(store: Store, tmp_path: Path) -> None:
    dead = tmp_path / "dead.jsonl"
    ingest([{"_id": "a"}], store, dead_letter=dead)
    assert dead.exists()
    report = ingest(documents(3), store, dead_letter=dead)
    assert not dead.exists()
    assert report.dead_letter is None


def test_the_caller_may_reuse_its_objects(store: Store) -> None:
    def reused() -> Iterator[dict[str, Any]]:
        document: dict[str, Any] = {"_id": "", "text": "", "metadata": {}}
        for original in documents(100):
            document["_id"], document["title"], document["text"] = original["_id"], original["title"], original["text"]
            document["metadata"].update(original["metadata"])
            yield document

    ingest(reused(), store)
    assert_holds(store, documents(100))


def test_memory_is_bounded_by_the_window(store: Store, encoder: HashingEncoder) -> None:
    taken = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for document in documents(3000):
            taken += 1
            yield document

    seen: list[int] = []
    ingest(endless(), store, max_batch_documents=64, progress=lambda now: seen.append(taken - now.read))
    # in flight: the encoder's window, the batch being filled, those queued and the one being written
    assert max(seen) <= encoder.window + 64 * 5


def test_batches_are_bounded_by_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    load = store.load
    monkeypatch.setattr(store, "load", lambda entries: sizes.append(len(entries)) or load(entries))
    ingest([{"_id": str(n), "text": f"palavra{n} " * 1000} for n in range(40)], store, max_batch_bytes=60_000)
    assert sum(sizes) == 40
    assert max(sizes) <= 7


def test_an_error_of_the_input_comes_after_what_was_read(store: Store, tmp_path: Path) -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield from documents(100)
        raise ConnectionError("the source went away")

    checkpoint = tmp_path / "checkpoint.json"
    with pytest.raises(ConnectionError, match="went away"):
        ingest(failing(), store, checkpoint=checkpoint)
    assert_holds(store, documents(100))
    assert json.loads(checkpoint.read_text())["position"] == 100
    report = ingest(documents(150), store, checkpoint=checkpoint)
    assert (report.resumed_at, _counts(report)) == (100, (150, 150, 0, 0))
    assert not checkpoint.exists()


class FailingStore:
    """Wraps load so that it fails on one call."""

    def __init__(self, store: Store, call: int, error: BaseException) -> None:
        self.inner, self.call, self.error, self.calls = store.load, call, error, 0

    def __call__(self, entries: list[Entry]) -> list[Refusal]:
        self.calls += 1
        if self.calls == self.call:
            raise self.error
        return self.inner(entries)


@pytest.mark.parametrize("error", [errors.StoreWriteError("disk full"), KeyboardInterrupt(), ValueError("x")])
def test_an_error_of_the_store_stops_the_reader(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    taken = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for document in documents(1500):
            taken += 1
            yield document

    checkpoint = tmp_path / "checkpoint.json"
    with monkeypatch.context() as patched:
        patched.setattr(store, "load", FailingStore(store, 3, error))
        with pytest.raises(type(error)) as caught:
            ingest(counted(), store, max_batch_documents=50, checkpoint=checkpoint)
    assert caught.value is error
    assert taken < 1000
    assert store.count() == 100
    assert json.loads(checkpoint.read_text())["position"] == 100
    report = ingest(documents(1500), store, checkpoint=checkpoint)
    assert (report.resumed_at, _counts(report)) == (100, (1500, 1500, 0, 0))
    assert_holds(store, documents(1500))


def test_ctrl_c_keeps_what_was_encoded(store: Store, tmp_path: Path) -> None:
    def interrupted() -> Iterator[dict[str, Any]]:
        yield from documents(1000)
        raise KeyboardInterrupt

    checkpoint = tmp_path / "checkpoint.json"
    with pytest.raises(KeyboardInterrupt):
        ingest(interrupted(), store, max_batch_documents=100, checkpoint=checkpoint)
    position = json.loads(checkpoint.read_text())["position"]
    assert position == store.count() >= 800
    assert _counts(ingest(documents(1000), store, checkpoint=checkpoint)) == (1000, 1000, 0, 0)


class CountingEncoder(HashingEncoder):
    """Gives one vector too few or too many."""

    def __init__(self, off_by: int) -> None:
        super().__init__()
        self.off_by = off_by

    def _stream(self, texts: Any) -> Iterator[SparseVector]:
        vectors = list(super()._stream(texts))
        yield from vectors[: len(vectors) + min(self.off_by, 0)]
        yield from vectors[:1] * max(self.off_by, 0)


@pytest.mark.parametrize(("off_by", "message"), [(-1, "fewer vectors"), (1, "more vectors")])
def test_an_encoder_that_loses_count_is_found_out(tmp_path: Path, off_by: int, message: str) -> None:
    with (
        open_store(f"edge:{tmp_path / 'index'}", encoder=CountingEncoder(off_by)) as store,
        pytest.raises(errors.IngestError, match=message),
    ):
        ingest(documents(10), store)


def test_progress_hook_and_bar(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[IngestProgress] = []
    ingest(documents(500), store, max_batch_documents=100, progress=seen.append)
    assert [now.read for now in seen] == sorted(now.read for now in seen)
    assert seen[-1][:4] == (500, 500, 0, 0)
    assert capsys.readouterr().err == ""
    ingest(documents(500), store, progress=True)
    assert "500/500" in capsys.readouterr().err
    ingest(documents(500), store)  # stderr is not a terminal here
    ingest(documents(500), store, progress=False)
    assert capsys.readouterr() == ("", "")


def test_report_as_json(store: Store) -> None:
    report = ingest([*documents(3), {"_id": "x"}], store)
    content = json.loads(json.dumps(report.to_dict()))
    assert content["reasons"] == {'no "text" in the record … (fields: _id).': 1}
    assert content["documents_per_second"] > 0


raw_records = st.one_of(
    st.builds(lambda n, text: {"_id": f"d{n}", "text": text}, st.integers(0, 30), st.sampled_from(["um", "dois três", "", "x\0"])),
    st.sampled_from([None, {}, {"_id": "d1"}, {"text": "x"}]),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(f"edge:{tmp_path_factory.mktemp('ingest')}", encoder=HashingEncoder(window=3)) as opened:
        yield opened


@given(runs=st.lists(st.tuples(st.lists(raw_records, max_size=30), st.integers(1, 7)), max_size=3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_store_ends_up_like_a_dict(shared: Store, runs: list[tuple[list[Any], int]]) -> None:
    shared.delete([f"d{n}" for n in range(31)])
    expected: dict[str, Any] = {}
    for records, batch_size in runs:
        within: dict[str, Any] = {}
        for raw in records:
            if raw and raw.get("_id") and raw.get("text", "").strip() and "\0" not in raw["text"]:
                within.setdefault(raw["_id"], {"title": "", **raw})
        changed = [doc_id for doc_id, raw in within.items() if expected.get(doc_id) != raw]
        report = ingest(records, shared, max_batch_documents=batch_size)
        assert _counts(report) == (len(records), len(changed), len(within) - len(changed), len(records) - len(within))
        expected |= within
    assert_holds(shared, list(expected.values()))
