"""Nodes that are killed, a cluster that is red, disks that are full: nothing lost, nothing doubled, and an error that says what to do."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion.engine import IngestReport, aingest, ingest
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore
from splade_ptbr_connectors.vectors import SparseVector
from tests.cluster.conftest import COUNT, TEST_S, Open
from tests.support.collections import documents
from tests.support.encoders import HashingEncoder
from tests.support.opensearch_cluster import DISK_WATERMARKS, OpenSearchCluster

IMPATIENT = {"timeout_s": 8, "deadline_s": 4, "load_timeout_s": 8, "load_deadline_s": 10}
Whole = Callable[[Store], None]
Ingest = Callable[..., IngestReport]


def _in_a_loop(records: Any, store: OpenSearchStore, **settings: Any) -> IngestReport:
    async def run() -> IngestReport:
        try:
            return await aingest(records, store, **settings)
        finally:
            await store._connection.aclose()

    return asyncio.run(run())


def _copies(cluster: OpenSearchCluster, index: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = cluster.ask("GET", f"_cat/shards/{index}?format=json")
    return found


def _replicas(cluster: OpenSearchCluster, index: str) -> str:
    settings = cluster.ask("GET", f"{index}/_settings?flat_settings=true")[index]["settings"]
    return str(settings["index.number_of_replicas"])


def _documents(*, at: int, event: Callable[[], object]) -> Iterator[dict[str, Any]]:
    """All documents; something happens on the way."""
    for n, document in enumerate(documents(COUNT)):
        if n == at:
            event()
        yield document


def test_shards_and_replicas_are_as_asked(cluster: OpenSearchCluster, opening: Open, assert_whole: Whole) -> None:
    store = opening()
    ingest(documents(COUNT), store)
    cluster.start()
    copies = _copies(cluster, store.collection)
    assert sorted((copy["shard"], copy["prirep"]) for copy in copies) == [(str(n), kind) for n in range(3) for kind in "pr"]
    assert {copy["state"] for copy in copies} == {"STARTED"}
    assert Counter(copy["node"] for copy in copies) == {"node-0": 2, "node-1": 2, "node-2": 2}
    assert (store.info()["shards"], store.info()["replicas"]) == (3, 1)
    assert sum(int(copy["docs"]) for copy in copies if copy["prirep"] == "p") >= COUNT
    assert_whole(store)
    for node in (1, 2):
        assert_whole(opening(node=node))


@pytest.mark.parametrize("run", [ingest, _in_a_loop], ids=["ingest", "aingest"])
def test_a_node_is_killed_and_comes_back_while_an_index_is_first_filled(
    cluster: OpenSearchCluster, opening: Open, assert_whole: Whole, run: Ingest
) -> None:
    """There are no replicas then: what lies on the node cannot be written until it is back."""

    def kill_and_start() -> None:
        cluster.kill(2)
        cluster.starting(2)

    store = opening()
    report = run(_documents(at=700, event=kill_and_start), store)
    assert (report.written, report.rejected) == (COUNT, 0)
    cluster.start()
    assert _replicas(cluster, store.collection) == "1"
    assert_whole(store)


def test_a_node_is_killed_while_more_is_added_and_neither_loads_nor_searches_wait_for_it(
    cluster: OpenSearchCluster, opening: Open, assert_whole: Whole
) -> None:
    store = opening()
    ingest(documents(COUNT // 2), store)
    cluster.start()
    report = ingest(_documents(at=1500, event=lambda: cluster.kill(2)), store)
    assert (report.written, report.unchanged) == (COUNT - COUNT // 2, COUNT // 2)
    assert_whole(store)
    cluster.start(2)
    assert_whole(store)
    cluster.kill(0)  # what it held, the node has that was away
    assert_whole(opening(node=1))


def test_a_client_of_all_nodes_does_without_the_one_it_talked_to(cluster: OpenSearchCluster, opening: Open, assert_whole: Whole) -> None:
    first = opening()
    ingest(documents(COUNT // 2), first)
    cluster.start()
    with OpenSearch(cluster.urls, timeout=60) as client:
        store = OpenSearchStore.from_client(client, first.collection, encoder=HashingEncoder())
        report = ingest(_documents(at=1500, event=lambda: cluster.kill(0)), store)
        assert (report.written, report.unchanged) == (COUNT - COUNT // 2, COUNT // 2)
        assert_whole(store)
        store.close()


def _assert_each_says_that_a_node_is_down(uses: dict[str, Callable[[], object]]) -> None:
    for use in uses.values():
        with pytest.raises(errors.StoreUnavailableError, match="node"):
            use()


def _uses(store: OpenSearchStore) -> dict[str, Callable[[], object]]:
    more = [(f"d{n}", SparseVector([1], [1.0])) for n in range(COUNT, COUNT + 50)]
    return {
        "search": lambda: store.search("imposto renda"),
        "count": store.count,
        "get": lambda: store.get([f"d{n}" for n in range(COUNT)]),
        "scan": lambda: list(store.scan()),
        "load": lambda: store.load(more),
        "search after a load": lambda: store.search("imposto renda"),
        "ingest": lambda: ingest(documents(COUNT), store),
    }


def test_a_node_without_replicas_is_gone_and_comes_back(cluster: OpenSearchCluster, opening: Open, assert_whole: Whole) -> None:
    store = opening(replicas=0, **IMPATIENT)
    ingest(documents(COUNT), store)
    cluster.kill(2)
    _assert_each_says_that_a_node_is_down(_uses(store))
    cluster.start(2)
    assert store.search("imposto renda")
    patient = opening()
    patient.delete([f"d{n}" for n in range(COUNT, COUNT + 50)])
    assert_whole(patient)
    assert ingest(documents(COUNT), patient).unchanged == COUNT


def test_two_of_three_are_down_and_come_back(cluster: OpenSearchCluster, opening: Open, assert_whole: Whole) -> None:
    store = opening(**IMPATIENT)
    ingest(documents(COUNT), store)
    cluster.start()
    cluster.kill(1, 2)
    _assert_each_says_that_a_node_is_down(_uses(store) | {"open": lambda: opening(**IMPATIENT)})
    cluster.start(1, 2)
    assert store.search("imposto renda")
    patient = opening()
    patient.delete([f"d{n}" for n in range(COUNT, COUNT + 50)])
    assert_whole(patient)
    assert ingest(documents(COUNT), patient).unchanged == COUNT


# -- disks ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(cluster: OpenSearchCluster) -> Iterator[Callable[[bool], None]]:
    """Lets all disks count as full, or not; returns when the nodes have noticed."""

    def set_full(full: bool) -> None:
        value = "1000tb" if full else None
        settings = {f"{DISK_WATERMARKS}.{name}": value for name in ("low", "high", "flood_stage")}
        cluster.ask("PUT", "_cluster/settings", {"persistent": settings})
        deadline = time.monotonic() + 120
        while bool(_blocked(cluster)) != full:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    yield set_full
    set_full(False)


def _blocked(cluster: OpenSearchCluster) -> list[str]:
    state = cluster.ask("GET", "_cluster/state/blocks")
    return sorted(state.get("blocks", {}).get("indices", {}))


def test_full_disks_stop_a_load_that_goes_on_when_there_is_room(
    cluster: OpenSearchCluster, opening: Open, assert_whole: Whole, full: Callable[[bool], None], tmp_path: Path
) -> None:
    store = opening(load_deadline_s=2 * TEST_S)  # what is tried again does not end in time
    with pytest.raises(errors.StoreWriteError, match="free disk space"):
        ingest(_documents(at=1000, event=lambda: full(True)), store, checkpoint=tmp_path / "checkpoint")
    assert store.search("imposto renda")
    assert 500 < store.count() < COUNT
    with pytest.raises(errors.StoreWriteError, match="free disk space"):
        ingest(documents(COUNT), store)
    with pytest.raises(errors.StoreWriteError, match="free disk space"):
        opening("t-another-x")
    full(False)
    position = json.loads((tmp_path / "checkpoint").read_text())["position"]
    report = ingest(documents(COUNT), store, checkpoint=tmp_path / "checkpoint")
    assert report.resumed_at == position > 0
    assert report.written + report.unchanged == COUNT
    cluster.start()
    assert _replicas(cluster, store.collection) == "1"
    assert_whole(store)
