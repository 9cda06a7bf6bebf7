"""The benchmark's Qdrant engines: what they leave on a server, what they wait for, and a server that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from benchmarks.engines import open_engine
from benchmarks.engines.base import Engine, Query, Settings
from benchmarks.engines.servers import name_prefix, saved_name
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.errors import ConfigError, StoreError, StoreNotFoundError, StoreUnavailableError
from tests.benchmarks.small_workloads import make_workload
from tests.support.qdrant_server import Fault, StandIn, stand_in


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return make_workload(tmp_path_factory.mktemp("workload"), documents=30, queries=5)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as running:
        yield running


def engine(name: str, workload: Workload, home: Path, server: StandIn, options: dict[str, str] | None = None) -> Engine:
    return open_engine(name, workload, home, Settings({"qdrant": server.url}, options or {}, {}))


def collections(server: StandIn) -> set[str]:
    return {found.name for found in server.client.get_collections().collections}


@pytest.mark.parametrize("name", ["qdrant", "qdrant:store"])
def test_a_rebuild_drops_its_own_collection_and_no_other(name: str, workload: Workload, tmp_path: Path, server: StandIn) -> None:
    server.client.create_collection("mine", vectors_config={})
    homes = [tmp_path / "a", tmp_path / "b"]
    for home in homes:
        home.mkdir()
        engine(name, workload, home, server).build()
    first = saved_name(homes[0])
    (homes[0] / "name.txt").unlink()  # as a runner does that empties the folder
    engine(name, workload, homes[0], server).build()
    assert collections(server) == {"mine", saved_name(homes[0]), saved_name(homes[1])} and saved_name(homes[0]) != first
    assert saved_name(homes[0]).startswith(name_prefix(homes[0]))
    engine(name, workload, homes[1], server).remove()
    assert collections(server) == {"mine", saved_name(homes[0])}
    with pytest.raises(StoreNotFoundError):
        engine(name, workload, homes[1], server).open()


def test_points_are_rows_without_payloads(workload: Workload, tmp_path: Path, server: StandIn) -> None:
    engine("qdrant", workload, tmp_path, server).build()
    points, _ = server.client.scroll(saved_name(tmp_path), limit=1000, with_payload=True)
    assert sorted(point.id for point in points) == list(range(30)) and not any(point.payload for point in points)


def test_a_collection_that_does_not_become_green(workload: Workload, tmp_path: Path, server: StandIn) -> None:
    server.status = "yellow"
    with pytest.raises(StoreUnavailableError, match=r"is still yellow after 0.3 s: raise qdrant.index_timeout_s"):
        engine("qdrant", workload, tmp_path, server, {"qdrant.index_timeout_s": "0.3"}).build()
    server.status = "red"
    with pytest.raises(StoreError, match="is red"):
        engine("qdrant", workload, tmp_path, server).build()


def test_a_server_that_fails_is_a_typed_error(workload: Workload, tmp_path: Path, server: StandIn) -> None:
    built = engine("qdrant", workload, tmp_path, server)
    built.build()
    built.open()
    query = Query(workload.query_ids[0], "", workload.queries[0])
    server.faults = [Fault(status=503), Fault(status=400)]
    with pytest.raises(StoreUnavailableError, match="503"):
        built.search(query, 10)
    with pytest.raises(StoreError, match="made up"):
        built.search_batch([query], 10, 1)
    assert len(built.search(query, 10).rows)
    built.close()
    server.close()
    with pytest.raises(StoreUnavailableError):
        engine("qdrant", workload, tmp_path, server).open()


def test_documents_that_the_server_has_lost(workload: Workload, tmp_path: Path, server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QdrantClient, "count", lambda *_, **__: type("Count", (), {"count": 29}))
    with pytest.raises(StoreError, match="holds 29 of 30 documents"):
        engine("qdrant", workload, tmp_path, server).build()


def test_size_on_disk_where_the_storage_can_be_seen(workload: Workload, tmp_path: Path, server: StandIn) -> None:
    home, data = tmp_path / "home", tmp_path / "storage"
    home.mkdir()
    options = {"qdrant.data": str(data), "qdrant.pid": "1"}
    built = engine("qdrant", workload, home, server, options)
    built.build()
    with pytest.raises(ConfigError, match="must be the storage folder of this server"):
        built.bytes_on_disk()
    folder = data / "collections" / saved_name(home) / "0"
    folder.mkdir(parents=True)
    (folder / "segment").write_bytes(b"x" * 10_000)
    assert 10_000 <= (built.bytes_on_disk() or 0) < 20_000
    assert 1 in built.processes()


@pytest.mark.parametrize("url", ["127.0.0.1:6333", "ftp://127.0.0.1:6333", "http://user:secret@127.0.0.1:6333", "http://"])
def test_addresses_that_cannot_be_used(workload: Workload, tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        open_engine("qdrant", workload, tmp_path, Settings({"qdrant": url}, {}, {})).build()
    assert "secret" not in str(raised.value)
