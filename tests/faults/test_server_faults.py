"""What servers do in the middle of a load: afterwards nothing is lost and nothing doubled, by ingest() and aingest() alike."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion.engine import IngestReport, aingest, ingest
from splade_ptbr_connectors.ingestion.verify import verify
from splade_ptbr_connectors.stores.base import Entry
from splade_ptbr_connectors.stores.retries import RetryPolicy
from tests.support.collections import assert_holds, documents
from tests.support.encoders import HashingEncoder
from tests.support.faulty import Fault, FaultyServer, FaultyStore

COUNT = 400
Ingest = Callable[..., IngestReport]


def _in_a_loop(*arguments: Any, **settings: Any) -> IngestReport:
    return asyncio.run(aingest(*arguments, **settings))


@pytest.fixture(params=[ingest, _in_a_loop], ids=["ingest", "aingest"])
def run(request: pytest.FixtureRequest) -> Ingest:
    chosen: Ingest = request.param
    return chosen


def _store(plan: Callable[[int, Sequence[Entry]], Fault | None] | None, **settings: Any) -> FaultyStore:
    server = FaultyServer(HashingEncoder(), plan, slowest_s=0.002)
    return FaultyStore(server.encoder, server, **settings)


def _assert_whole(store: FaultyStore, report: IngestReport) -> None:
    assert (report.read, report.written + report.unchanged, report.rejected) == (COUNT, COUNT, 0)
    assert report.reconciled is not None and report.reconciled.ok
    assert_holds(store, documents(COUNT))
    assert verify(documents(COUNT), store).ok


FAULTS = {
    "429": Fault("429"),
    "429 with Retry-After": Fault("429", retry_after_s=0.02),
    "429 with a Retry-After of an hour": Fault("429", retry_after_s=3600),
    "503": Fault("503"),
    "503 half-way": Fault("503", applied=16),
    "read time-out after the write was applied": Fault("timeout", applied=32),
    "connection reset": Fault("reset"),
    "connection reset after half of it": Fault("reset", applied=10),
    "invalid JSON": Fault("invalid JSON", applied=32),
    "502": Fault("502"),
    "504": Fault("504", applied=1),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_passes_is_waited_for(run: Ingest, name: str) -> None:
    store = _store(lambda number, entries: FAULTS[name] if number % 3 == 2 else None)
    report = run(documents(COUNT), store)
    assert report.written == COUNT
    _assert_whole(store, report)
    assert len(store.server.writes) > COUNT / 32 + 3  # it did fail, and was asked again


def test_retry_after_is_kept_to(run: Ingest) -> None:
    times: list[float] = []

    def plan(number: int, entries: Sequence[Entry]) -> Fault | None:
        times.append(time.monotonic())
        return Fault("429", retry_after_s=0.3) if number == 1 else None

    store = _store(plan, max_in_flight=1, policy=RetryPolicy(first_wait_s=0.001, longest_wait_s=0.002, load_deadline_s=5.0))
    _assert_whole(store, run(documents(COUNT), store))
    assert times[1] - times[0] >= 0.3


def test_more_than_a_server_takes_is_split_and_a_document_too_large_by_itself_is_set_aside(run: Ingest, tmp_path: Path) -> None:
    def plan(number: int, entries: Sequence[Entry]) -> Fault | None:
        return Fault("413") if len(entries) > 5 or any(entry.doc_id == "d77" for entry in entries) else None

    store = _store(plan)
    report = run(documents(COUNT), store, dead_letter=tmp_path / "dead.jsonl")
    assert (report.written, report.rejected) == (COUNT - 1, 1)
    dead = json.loads((tmp_path / "dead.jsonl").read_text())
    assert dead["line"] == 78 and dead["reason"].startswith("refused by the store: the server answered 413")
    assert_holds(store, [document for document in documents(COUNT) if document["_id"] != "d77"])


def test_item_level_failures_are_set_aside_one_by_one(run: Ingest, tmp_path: Path) -> None:
    store = _store(lambda number, entries: Fault("503", applied=3) if number in (2, 5) else None)
    store.server.refuse = lambda entry: f"document {entry.doc_id} failed to parse" if entry.doc_id.endswith("9") else None
    report = run(documents(COUNT), store, dead_letter=tmp_path / "dead.jsonl")
    kept = [document for document in documents(COUNT) if not document["_id"].endswith("9")]
    assert (report.written, report.rejected) == (len(kept), COUNT - len(kept))
    assert_holds(store, kept)
    dead = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert [line["record"]["_id"] for line in dead] == [f"d{n}" for n in range(9, COUNT, 10)]


@pytest.mark.parametrize("kind", ["503", "reset", "401", "400"])
def test_a_server_that_stays_away_ends_the_run_and_the_next_one_goes_on(run: Ingest, tmp_path: Path, kind: str) -> None:
    policy = RetryPolicy(first_wait_s=0.001, longest_wait_s=0.01, load_deadline_s=0.1)
    store = _store(lambda number, entries: Fault(kind) if number > 5 else None, policy=policy)
    with pytest.raises(errors.StoreError, match=f"answered {kind}"):
        run(documents(COUNT), store, checkpoint=tmp_path / "checkpoint")
    position = json.loads((tmp_path / "checkpoint").read_text())["position"]
    assert {f"d{n}" for n in range(position)} <= store.server.entries.keys()
    store.server.plan = None
    report = run(documents(COUNT), store, checkpoint=tmp_path / "checkpoint")
    assert report.resumed_at == position
    _assert_whole(store, report)


def test_index_deleted_in_mid_run(run: Ingest, tmp_path: Path) -> None:
    def plan(number: int, entries: Sequence[Entry]) -> Fault | None:
        if number == 6:
            store.server.entries.clear()
        return Fault("404") if number >= 6 else None

    store = _store(plan, max_in_flight=1)
    with pytest.raises(errors.StoreNotFoundError):
        run(documents(COUNT), store, checkpoint=tmp_path / "checkpoint")
    store.server.plan = None
    assert _position(tmp_path) > 0
    with pytest.raises(errors.IngestError, match=r"some have been deleted or lost since\. Pass restart=True"):
        run(documents(COUNT), store, checkpoint=tmp_path / "checkpoint")
    _assert_whole(store, run(documents(COUNT), store, checkpoint=tmp_path / "checkpoint", restart=True))


def test_two_ingesters_at_once(run: Ingest) -> None:
    server = FaultyServer(HashingEncoder(), lambda number, entries: Fault("503", applied=9) if number % 4 == 0 else None, slowest_s=0.01)
    stores = [FaultyStore(HashingEncoder(), server, max_batch_documents=size) for size in (16, 24)]
    reports: list[IngestReport] = []
    threads = [threading.Thread(target=lambda store=store: reports.append(run(documents(COUNT), store))) for store in stores]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 2
    for store, report in zip(stores, reports, strict=True):
        _assert_whole(store, report)


def test_an_interrupted_run_over_a_server_has_exact_counts(run: Ingest, tmp_path: Path) -> None:
    def interrupted() -> Any:
        yield from documents(250)
        raise KeyboardInterrupt

    store = _store(lambda number, entries: Fault("503", applied=3) if number % 3 == 0 else None)
    with pytest.raises(KeyboardInterrupt):
        run(interrupted(), store, checkpoint=tmp_path / "checkpoint")
    position = _position(tmp_path)
    assert position and store.server.entries.keys() == {f"d{n}" for n in range(position)}
    _assert_whole(store, run(documents(COUNT), store, checkpoint=tmp_path / "checkpoint"))


def test_a_full_disk_under_the_checkpoint(run: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from splade_ptbr_connectors import atomic
    from splade_ptbr_connectors.ingestion import checkpoint

    monkeypatch.setattr(checkpoint, "INTERVAL_S", 0.0)
    monkeypatch.setattr(checkpoint, "MAX_SHARE", 1e9)
    saves = 0
    sync = atomic.os.fsync

    def full_after_three(file: int) -> None:
        nonlocal saves
        saves += 1
        if saves > 6:
            raise OSError(28, "No space left on device")
        sync(file)

    store = _store(None)
    with monkeypatch.context() as patched:
        patched.setattr(atomic.os, "fsync", full_after_three)
        with pytest.raises(errors.IngestError, match="No space left on device"):
            run(documents(COUNT), store, checkpoint=tmp_path / "checkpoint")
    assert 0 < _position(tmp_path) < COUNT
    _assert_whole(store, run(documents(COUNT), store, checkpoint=tmp_path / "checkpoint"))


def _position(folder: Path) -> int:
    return int(json.loads((folder / "checkpoint").read_text())["position"])
