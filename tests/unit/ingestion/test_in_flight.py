"""Several loads at once: they end in any order, and are counted in the order of the input all the same."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion import checkpoint as checkpoint_module
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores.base import Entry
from tests.support.collections import assert_holds, documents
from tests.support.encoders import HashingEncoder
from tests.support.faulty import Fault, FaultyServer, FaultyStore, all_at_once
from tests.support.stores import MemoryStore


@pytest.fixture
def saved_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "INTERVAL_S", 0.0)
    monkeypatch.setattr(checkpoint_module, "MAX_SHARE", 1e9)


class Moments:
    """What a kill -9 would leave behind at every moment at which a write had just been applied."""

    def __init__(self, server: FaultyServer, checkpoint: Path) -> None:
        self.server, self.checkpoint = server, checkpoint
        self.seen: list[tuple[str | None, dict[str, Entry]]] = []
        server.after_write = self

    def __call__(self) -> None:  # under the server's lock: no document comes in while the checkpoint is read
        content = self.checkpoint.read_text() if self.checkpoint.exists() else None
        self.seen.append((content, dict(self.server.entries)))


@given(
    count=st.integers(1, 120),
    max_batch_documents=st.integers(1, 9),
    max_in_flight=st.integers(1, 5),
    seed=st.integers(0, 1000),
    fails_at=st.one_of(st.none(), st.integers(1, 20)),
    killed_at=st.integers(0, 1000),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_the_order_and_the_moment_of_death_a_checkpoint_has_no_hole(
    saved_often: None, count: int, max_batch_documents: int, max_in_flight: int, seed: int, fails_at: int | None, killed_at: int
) -> None:
    encoder = HashingEncoder(window=5)
    plan = (lambda number, entries: Fault("400") if number == fails_at else None) if fails_at else None
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        server = FaultyServer(encoder, plan, slowest_s=0.003, seed=seed)
        moments = Moments(server, checkpoint)
        store = FaultyStore(encoder, server, max_in_flight=max_in_flight, max_batch_documents=max_batch_documents)
        try:
            ingest(documents(count), store, checkpoint=checkpoint)
        except errors.StoreError:
            assert fails_at
        moments()
        for content, entries in moments.seen:
            position = json.loads(content)["position"] if content else 0
            assert {f"d{n}" for n in range(position)} <= entries.keys()
        content, entries = moments.seen[killed_at % len(moments.seen)]
        checkpoint.write_text(content) if content else checkpoint.unlink(missing_ok=True)
        server.plan, server.entries = None, entries
        report = ingest(documents(count), store, checkpoint=checkpoint)
        assert report.read == report.written + report.unchanged == count
        assert_holds(store, documents(count))


def test_as_many_loads_at_once_as_the_store_allows_and_no_more() -> None:
    for max_in_flight in (1, 3, 6):
        server = FaultyServer(HashingEncoder(), all_at_once(max_in_flight), slowest_s=0.01)
        ingest(documents(400), FaultyStore(server.encoder, server, max_in_flight=max_in_flight, max_batch_documents=10))
        assert server.most_at_once == max_in_flight
        assert len(server.entries) == 400


def test_a_slow_store_holds_back_the_reader() -> None:
    taken = 0
    held = threading.Event()

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for document in documents(2000):
            taken += 1
            if taken == 1500:
                held.set()
            yield document

    def first_is_slow(number: int, entries: Sequence[Entry]) -> None:
        if number == 1:
            held.wait(0.5)

    encoder = HashingEncoder(window=1)
    server = FaultyServer(encoder, first_is_slow)
    store = FaultyStore(encoder, server, max_in_flight=3, max_batch_documents=10)
    ahead: list[int] = []
    ingest(endless(), store, progress=lambda now: ahead.append(taken - now.read))
    assert max(ahead) <= 10 * (2 * 3 + 1 + 2) + 1  # the window, the batch being filled, the one being recorded
    assert len(server.entries) == 2000


def test_the_error_is_that_of_the_first_batch_in_the_input_that_failed(tmp_path: Path) -> None:
    def plan(number: int, entries: Sequence[Entry]) -> Fault | None:
        place = int(entries[0].doc_id[1:]) // 10
        if place in (3, 4, 5):
            time.sleep({3: 0.15, 4: 0.05, 5: 0.0}[place])  # the last one fails first
            return Fault(str(600 + place))
        return None

    for _ in range(3):
        server = FaultyServer(HashingEncoder(window=1), plan)
        store = FaultyStore(server.encoder, server, max_in_flight=4, max_batch_documents=10)
        with pytest.raises(errors.StoreError, match="603"):
            ingest(documents(300), store, checkpoint=tmp_path / "checkpoint", restart=True)
        assert json.loads((tmp_path / "checkpoint").read_text())["position"] == 30
        assert {f"d{n}" for n in range(30)} <= server.entries.keys()
        assert len(server.entries) <= 110  # nothing was begun behind the failures
    server.plan = None
    report = ingest(documents(300), store, checkpoint=tmp_path / "checkpoint")
    assert (report.resumed_at, report.read) == (30, 300)
    assert_holds(store, documents(300))


def test_loads_in_flight_end_before_the_error_is_raised() -> None:
    running = threading.Semaphore(0)

    def plan(number: int, entries: Sequence[Entry]) -> Fault | None:
        if number == 1:
            return Fault("400")
        time.sleep(0.1)
        running.release()
        return None

    server = FaultyServer(HashingEncoder(window=1), plan)
    with pytest.raises(errors.StoreError):
        ingest(documents(300), FaultyStore(server.encoder, server, max_in_flight=3, max_batch_documents=5))
    assert server._running == 0
    assert "splade-ingest-writer" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("max_in_flight", [1, 4])
def test_refused_documents_are_listed_in_their_place_and_lose_nobody_else(tmp_path: Path, max_in_flight: int) -> None:
    refused = {"d3", "d4", "d77", "d199"}
    server = FaultyServer(
        HashingEncoder(), slowest_s=0.005, refuse=lambda entry: "mapper_parsing_exception" if entry.doc_id in refused else None
    )
    store = FaultyStore(server.encoder, server, max_in_flight=max_in_flight, max_batch_documents=7)
    dead = tmp_path / "dead.jsonl"
    report = ingest(documents(200), store, dead_letter=dead)
    assert (report.read, report.written, report.rejected) == (200, 196, 4)
    assert report.reasons == {"refused by the store: mapper_parsing_exception": 4}
    lines = [json.loads(line) for line in dead.read_text().splitlines()]
    assert [(line["line"], line["record"]) for line in lines] == [(n + 1, documents(1, start=n)[0]) for n in (3, 4, 77, 199)]
    assert_holds(store, [document for document in documents(200) if document["_id"] not in refused])
    server.refuse = lambda entry: None
    mended = ingest([line["record"] for line in lines], store)
    assert mended.written == 4
    assert_holds(store, documents(200))


def test_a_store_that_names_a_document_it_was_not_given_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore(HashingEncoder())
    monkeypatch.setattr(store, "load", lambda entries: [("other", "no")])
    with pytest.raises(errors.IngestError, match="not given: 'other'"):
        ingest(documents(3), store)


def test_batches_are_of_the_stores_own_size_by_default() -> None:
    server = FaultyServer(HashingEncoder())
    ingest(documents(100), FaultyStore(server.encoder, server, max_batch_documents=25))
    assert server.writes == [25] * 4


def test_what_has_waited_long_enough_is_loaded_although_its_batch_is_not_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splade_ptbr_connectors.ingestion.writer.MAX_BATCH_AGE_S", 0.0)
    server = FaultyServer(HashingEncoder())
    ingest(documents(10), FaultyStore(server.encoder, server, max_batch_documents=25))
    assert server.writes == [1] * 10


def test_settings_of_the_engine_are_restored_whatever_happens() -> None:
    from contextlib import contextmanager

    class Tuned(MemoryStore):
        depth = entered = 0

        @contextmanager
        def loading(self) -> Iterator[None]:
            self.depth, self.entered = self.depth + 1, self.entered + 1
            try:
                yield
            finally:
                self.depth -= 1

        def _upsert(self, entries: list[Entry]) -> Any:
            assert self.depth == 1
            if self.entered == 2:
                raise errors.StoreUnavailableError("gone")
            return super()._upsert(entries)

    store = Tuned(HashingEncoder())
    ingest(documents(10), store)
    with pytest.raises(errors.StoreUnavailableError):
        ingest(documents(20), store)
    assert (store.depth, store.entered) == (0, 2)
