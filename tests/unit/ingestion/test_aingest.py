"""aingest(): the same engine on the store's asynchronous client, with the event loop free all the while."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion.engine import aingest, ingest
from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.collections import assert_holds, documents
from tests.support.encoders import HashingEncoder
from tests.support.faulty import Fault, FaultyServer, FaultyStore, all_at_once
from tests.support.stores import MemoryStore

VARYING = {"seconds", "documents_per_second"}


def _steady(report: Any) -> dict[str, Any]:
    return {name: value for name, value in report.to_dict().items() if name not in VARYING}


async def test_the_same_report_and_content_as_ingest(tmp_path: Path) -> None:
    records = [*documents(300), {"_id": "broken"}, *documents(3)]
    stores = [FaultyStore(HashingEncoder(), max_batch_documents=16) for _ in range(2)]
    dead = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    mine = await aingest(records, stores[0], dead_letter=dead[0])
    theirs = ingest(records, stores[1], dead_letter=dead[1])
    assert _steady(mine) | {"dead_letter": ""} == _steady(theirs) | {"dead_letter": ""}
    assert dead[0].read_bytes() == dead[1].read_bytes()
    assert_holds(stores[0], documents(300))
    assert stores[0].async_server.loops == {asyncio.get_running_loop()} and not stores[1].async_server.loops
    again = await aingest(records, stores[0])
    assert (again.written, again.unchanged) == (0, 300)


async def test_encoding_and_loads_run_beside_the_loop_and_loads_at_once() -> None:
    beat, loop = threading.Event(), asyncio.get_running_loop()

    class Waiting(HashingEncoder):
        """Goes on when the event loop has come round."""

        def _encode(self, text: str) -> SparseVector:
            beat.clear()
            loop.call_soon_threadsafe(beat.set)
            assert beat.wait(60), "the event loop is blocked"
            return super()._encode(text)

    server = FaultyServer(HashingEncoder(), all_at_once(3))
    store = FaultyStore(Waiting(), server, max_in_flight=3, max_batch_documents=20)
    assert (await aingest(documents(200), store, reconcile=0)).written == 200
    assert server.most_at_once == 3
    assert server.entries.keys() == {f"d{n}" for n in range(200)}


async def test_an_embedded_store_works_too(store: Store) -> None:
    assert (await aingest(documents(100), store)).written == 100
    assert_holds(store, documents(100))


async def test_many_at_once_do_not_wait_for_each_other() -> None:
    stores = [MemoryStore(HashingEncoder(), max_batch_documents=8) for _ in range(12)]  # more than the loop's default threads
    reports = await asyncio.wait_for(asyncio.gather(*(aingest(documents(50), one) for one in stores)), 60)
    assert [report.written for report in reports] == [50] * 12


async def test_errors_come_out_as_from_ingest(tmp_path: Path) -> None:
    server = FaultyServer(HashingEncoder(window=1), lambda number, entries: Fault("400") if entries[0].doc_id == "d40" else None)
    store = FaultyStore(server.encoder, server, max_batch_documents=20)
    with pytest.raises(errors.StoreError, match="400"):
        await aingest(documents(200), store, checkpoint=tmp_path / "checkpoint")
    assert json.loads((tmp_path / "checkpoint").read_text())["position"] == 40
    with pytest.raises(errors.ConfigError, match="max_batch_documents"):
        await aingest([], store, max_batch_documents=0)
    server.plan = None
    assert (await aingest(documents(200), store, checkpoint=tmp_path / "checkpoint")).resumed_at == 40
    assert_holds(store, documents(200))


@pytest.mark.parametrize("cancels", [1, 3])
async def test_cancelling_is_ctrl_c(tmp_path: Path, cancels: int) -> None:
    server = FaultyServer(HashingEncoder(window=1), slowest_s=0.01)
    store = FaultyStore(server.encoder, server, max_batch_documents=10)
    under_way = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watched() -> Iterator[Any]:
        for n, document in enumerate(documents(5000)):
            if n == 200:
                loop.call_soon_threadsafe(under_way.set)
            yield document

    task = asyncio.create_task(aingest(watched(), store, checkpoint=tmp_path / "checkpoint"))
    await under_way.wait()
    for _ in range(cancels):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    position = json.loads((tmp_path / "checkpoint").read_text())["position"]
    assert 0 < position < 5000
    assert server.entries.keys() == {f"d{n}" for n in range(position)}  # exact: nothing in flight was left behind
    assert server._running == 0
    report = await aingest(documents(600), store, checkpoint=tmp_path / "checkpoint")
    assert report.resumed_at == position
    assert_holds(store, documents(600))


async def _passing_the_deadline(store: FaultyStore, checkpoint: Path) -> None:
    """Ingest under a deadline that passes while the tenth batch is written."""
    loop = asyncio.get_running_loop()

    def plan(number: int, entries: Sequence[Entry]) -> None:
        if number == 10:
            loop.call_soon_threadsafe(lambda: deadline.reschedule(loop.time()))

    store.server.plan = plan
    async with asyncio.timeout(None) as deadline:
        await aingest(documents(20_000), store, checkpoint=checkpoint)


async def test_a_deadline_of_the_callers_ends_it_in_order(tmp_path: Path) -> None:
    server = FaultyServer(HashingEncoder(window=1), slowest_s=0.01)
    store = FaultyStore(server.encoder, server, max_batch_documents=10)
    with pytest.raises(TimeoutError):
        await _passing_the_deadline(store, tmp_path / "checkpoint")
    position = json.loads((tmp_path / "checkpoint").read_text())["position"]
    assert 0 < position < 20_000
    assert server.entries.keys() == {f"d{n}" for n in range(position)}


def test_the_loop_may_end_right_after_a_cancelled_ingest(tmp_path: Path) -> None:
    store = FaultyStore(HashingEncoder(window=1), max_batch_documents=10)
    with pytest.raises(TimeoutError):
        asyncio.run(_passing_the_deadline(store, tmp_path / "checkpoint"))
    position = json.loads((tmp_path / "checkpoint").read_text())["position"]
    assert store.server.entries.keys() == {f"d{n}" for n in range(position)}
