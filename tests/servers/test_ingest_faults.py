"""The ingest against a real OpenSearch that dies, and processes that die against it: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion import checkpoint as checkpoint_module
from splade_ptbr_connectors.ingestion.engine import IngestReport, aingest, ingest
from splade_ptbr_connectors.ingestion.verify import verify
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore
from tests.support.collections import assert_holds, documents, encoded
from tests.support.encoders import HashingEncoder
from tests.support.opensearch_server import OpenSearchServer

ROOT = Path(__file__).parents[2]
COUNT = 2000
LOAD_SETTINGS = ("index.refresh_interval", "index.number_of_replicas")
Opener = Callable[..., OpenSearchStore]


@pytest.fixture
def saved_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "INTERVAL_S", 0.0)
    monkeypatch.setattr(checkpoint_module, "MAX_SHARE", 1.0)


def _settings(client: OpenSearch, index: str) -> dict[str, Any]:
    found = client.indices.get_settings(index=index, params={"flat_settings": "true"})[index]["settings"]
    return {name: found.get(name) for name in LOAD_SETTINGS}


def _assert_whole(store: Store, report: IngestReport, count: int = COUNT) -> None:
    assert (report.read, report.written + report.unchanged, report.rejected) == (count, count, 0)
    assert report.reconciled is not None and report.reconciled.ok
    assert_holds(store, documents(count))
    assert verify(documents(count), store).ok


def test_loaded_searched_and_the_settings_as_before(store: OpenSearchStore, raw: OpenSearch) -> None:
    before = _settings(raw, store.collection)
    report = ingest(documents(COUNT), store)
    assert report.written == COUNT
    _assert_whole(store, report)
    assert _settings(raw, store.collection) == before
    assert ingest(documents(COUNT), store).unchanged == COUNT


async def test_the_asynchronous_client_does_the_same(opener: Opener) -> None:
    store = opener()
    report = await aingest(encoded(documents(COUNT)), store)
    assert report.written == COUNT
    assert (await aingest(documents(COUNT), store)).written == COUNT  # now as texts: the same documents, other hashes
    _assert_whole(store, ingest(documents(COUNT), store))
    await store.aclose()


def test_ready_vectors_come_back_exactly(store: OpenSearchStore) -> None:
    collection = encoded(documents(500))
    assert ingest(collection, store, vectors=True).written == 500
    assert ingest(collection, store).unchanged == 500
    assert verify(collection, store).ok


def test_documents_the_server_refuses_are_set_aside_one_by_one(store: OpenSearchStore, tmp_path: Path) -> None:
    tiny = {"vector": {"7": 1.5e-38}}  # a float32, and nothing after the engine has rounded it
    collection = [{"_id": f"d{n}", **(tiny if n % 50 == 3 else {"vector": {"7": 1.0}})} for n in range(200)]
    report = ingest(collection, store, dead_letter=tmp_path / "dead.jsonl")
    dead = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()] if report.rejected else []
    assert report.written + report.rejected == 200
    assert all(line["reason"].startswith("refused by the store: ") for line in dead)
    assert store.count() == report.written
    assert verify([one for n, one in enumerate(collection) if n + 1 not in {line["line"] for line in dead}], store).ok


def test_the_settings_come_back_after_an_error_too(store: OpenSearchStore, raw: OpenSearch, tmp_path: Path) -> None:
    def failing() -> Iterator[Any]:
        yield from documents(600)
        raise ConnectionError("the source went away")

    before = _settings(raw, store.collection)
    with pytest.raises(ConnectionError):
        ingest(failing(), store, checkpoint=tmp_path / "checkpoint")
    assert _settings(raw, store.collection) == before
    report = ingest(documents(COUNT), store, checkpoint=tmp_path / "checkpoint")
    assert report.resumed_at == 600
    _assert_whole(store, report)


def test_two_ingesters_at_once(opener: Opener, raw: OpenSearch) -> None:
    stores = [opener(max_batch_documents=size) for size in (100, 170)]
    before = _settings(raw, stores[0].collection)
    reports: dict[int, IngestReport] = {}
    collections = [documents(COUNT), documents(COUNT)[::-1]]
    work = [threading.Thread(target=lambda n=n: reports.update({n: ingest(collections[n], stores[n])})) for n in (0, 1)]  # type: ignore[misc]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len(reports) == 2
    for n in (0, 1):
        _assert_whole(stores[n], reports[n])
    assert _settings(raw, stores[0].collection) == before


def test_an_index_deleted_in_mid_run(opener: Opener, raw: OpenSearch, tmp_path: Path, saved_often: None) -> None:
    store = opener()

    def deleting() -> Iterator[Any]:
        for n, document in enumerate(documents(COUNT)):
            if n == 1200:
                raw.indices.delete(index=store.collection)
            yield document

    with pytest.raises(errors.StoreNotFoundError):
        ingest(deleting(), store, checkpoint=tmp_path / "checkpoint")
    again = opener()
    with pytest.raises(errors.IngestError, match=r"another store.*restart=True"):
        ingest(documents(COUNT), again, checkpoint=tmp_path / "checkpoint")
    _assert_whole(again, ingest(documents(COUNT), again, checkpoint=tmp_path / "checkpoint", restart=True))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_dies_is_resumed_and_the_settings_restored(
    opener: Opener, store_url: str, raw: OpenSearch, tmp_path: Path, number: int
) -> None:
    with opener() as first:
        before, index = _settings(raw, first.collection), first.collection
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents(COUNT)))
    command = [sys.executable, "-m", "tests.faults.child", "pause", str(tmp_path), store_url, "1500"]
    environment = {**os.environ, "PYTHONPATH": "."}
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == "paused\n"
        assert _settings(raw, index) != before
        if number == signal.SIGKILL:
            _wait_for_a_checkpoint(tmp_path / "run.checkpoint")
        process.send_signal(number)
        process.communicate(timeout=240)
    assert process.returncode == (130 if number == signal.SIGINT else -9)
    position = json.loads((tmp_path / "run.checkpoint").read_text())["position"]
    assert 0 < position < COUNT
    store = opener()
    report = ingest(tmp_path / "in.jsonl", store, checkpoint=tmp_path / "run.checkpoint")
    assert report.resumed_at == position
    _assert_whole(store, report)
    assert _settings(raw, index) == before


def _wait_for_a_checkpoint(path: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if path.exists() and json.loads(path.read_text())["position"]:
            return
        time.sleep(0.02)
    raise AssertionError("no checkpoint within 240 s")


def test_a_server_killed_and_restarted_in_mid_ingest(
    server_to_kill: OpenSearchServer, index_name: str, tmp_path: Path, saved_often: None
) -> None:
    killed = threading.Event()

    def killing() -> Iterator[Any]:
        for n, document in enumerate(documents(COUNT)):
            if n == 700:
                server_to_kill.kill()
                killed.set()
            yield document

    settings = {"replicas": 0, "load_timeout_s": 20}
    with (
        open_store(
            f"opensearch+{server_to_kill.url}/{index_name}", encoder=HashingEncoder(), max_batch_documents=50, settings=settings
        ) as store,
        ThreadPoolExecutor(1) as other,
    ):
        before = _of(server_to_kill, index_name)
        ingesting = other.submit(ingest, killing(), store, checkpoint=tmp_path / "checkpoint")
        if killed.wait(60):
            server_to_kill.start()  # by this thread: it ends with the one that started it
        report = ingesting.result()
        assert killed.is_set() and report.written == COUNT
        _assert_whole(store, report)
        assert _of(server_to_kill, index_name) == before


def _of(server: OpenSearchServer, name: str) -> dict[str, Any]:
    with OpenSearch([server.url], timeout=30) as client:
        index = next(iter(client.indices.get(index=name)))
        return _settings(client, index)
