"""A load over HTTP into a Qdrant that fails on cue: afterwards nothing is lost and nothing doubled."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qdrant_client")

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion.engine import IngestReport, aingest, ingest
from splade_ptbr_connectors.ingestion.verify import verify
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from tests.faults.conftest import Child
from tests.support.collections import assert_holds, documents, encoded
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import Fault, StandIn, stand_in

COUNT = 150
FEW: dict[str, Any] = {"reconcile": 5}  # the stand-in searches slowly
POINTS = "/points"
FAULTS = {
    "429 with Retry-After": [Fault(429, headers={"Retry-After": "1"}, path=POINTS)],
    "429 without": [Fault(429, path=POINTS)],
    "503 half-way": [Fault(503, path=POINTS, after=True), Fault(503, path=POINTS)],
    "413": [Fault(413, body=b"too large", path=POINTS)],
    "reset": [Fault(reset=True, path=POINTS)],
    "reset after the write was applied": [Fault(reset=True, after=True, path=POINTS)],
    "invalid JSON": [Fault(200, body=b'{"result": {"oper', after=True, path=POINTS)],
    "read time-out after the write was applied": [Fault(delay_s=1.5, path=POINTS)],
}


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as running:
        yield running


def _open(server: StandIn, **settings: Any) -> Store:
    url = f"qdrant+http://127.0.0.1:{server.port}/documents"
    return open_store(url, encoder=HashingEncoder(), max_batch_documents=32, settings=settings)


def _assert_whole(store: Store, report: IngestReport) -> None:
    assert (report.read, report.written + report.unchanged, report.rejected) == (COUNT, COUNT, 0)
    assert report.reconciled is not None and report.reconciled.ok
    assert_holds(store, documents(COUNT))
    assert verify(documents(COUNT), store).ok


@pytest.mark.parametrize("name", FAULTS)
async def test_what_passes_is_waited_for(server: StandIn, name: str) -> None:
    with _open(server, **({"timeout_s": 1} if "time-out" in name else {})) as store:
        server.faults += FAULTS[name]
        _assert_whole(store, ingest(documents(COUNT), store, max_batch_documents=16, **FEW))
        assert not server.faults


async def test_and_on_the_asynchronous_client(server: StandIn) -> None:
    store = _open(server, timeout_s=1)
    server.faults += [fault for faults in FAULTS.values() for fault in faults]
    _assert_whole(store, await aingest(documents(COUNT), store, max_batch_documents=16, **FEW))
    assert not server.faults
    await store.aclose()  # type: ignore[attr-defined]


def test_a_request_too_large_is_split_and_loses_nobody(server: StandIn) -> None:
    with _open(server) as store:
        server.max_body_bytes = 4000
        report = ingest(documents(COUNT), store, **FEW)
        server.max_body_bytes = 2**20
        _assert_whole(store, report)


def test_documents_that_the_server_refuses_are_set_aside_one_by_one(server: StandIn, tmp_path: Path) -> None:
    server.refuse = "bad"
    records = [document | ({"bad": 1} if n % 50 == 7 else {}) for n, document in enumerate(documents(COUNT))]
    with _open(server) as store:
        report = ingest(records, store, dead_letter=tmp_path / "dead.jsonl", **FEW)
        assert (report.written, report.rejected) == (COUNT - 3, 3)
        assert_holds(store, [document for n, document in enumerate(documents(COUNT)) if n % 50 != 7])
    dead = [json.loads(line)["line"] for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert dead == [n + 1 for n in range(7, COUNT, 50)]


def test_a_collection_deleted_in_mid_run(server: StandIn, tmp_path: Path) -> None:
    def deleting() -> Iterator[Any]:
        for n, document in enumerate(documents(COUNT)):
            if n == 100:
                server.client.delete_collection("documents")
            yield document

    with _open(server) as store, pytest.raises(errors.StoreError):
        ingest(deleting(), store, checkpoint=tmp_path / "checkpoint")
    with _open(server) as store:
        with pytest.raises(errors.IngestError, match=r"another store.*restart=True"):
            ingest(documents(COUNT), store, checkpoint=tmp_path / "checkpoint")
        _assert_whole(store, ingest(documents(COUNT), store, checkpoint=tmp_path / "checkpoint", restart=True, **FEW))


def test_ready_vectors_with_their_texts(server: StandIn) -> None:
    with _open(server) as store:
        assert ingest(encoded(documents(COUNT)), store, vectors=True, **FEW).written == COUNT
        assert ingest(documents(COUNT), store, **FEW).written == COUNT  # the same points, now as texts: none of them twice
        assert_holds(store, documents(COUNT))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_dies_is_resumed(server: StandIn, child: Callable[..., Child], tmp_path: Path, number: int) -> None:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents(COUNT)))
    process = child("pause", tmp_path, f"qdrant+http://127.0.0.1:{server.port}/documents", 100)
    assert process.stdout is not None and process.stdout.readline() == "paused\n"
    process.send_signal(number)
    assert process.wait(120) == (130 if number == signal.SIGINT else -9)
    position = json.loads((tmp_path / "run.checkpoint").read_text())["position"]
    with _open(server) as store:
        stored = {entry.doc_id for entry in store.scan(with_vectors=False)}
        assert {f"d{n}" for n in range(position)} <= stored
        if number == signal.SIGINT:
            assert position > 0 and stored == {f"d{n}" for n in range(position)}
        report = ingest(tmp_path / "in.jsonl", store, checkpoint=tmp_path / "run.checkpoint", **FEW)
        assert report.resumed_at == position
        _assert_whole(store, report)
