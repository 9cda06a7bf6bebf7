"""A write that is cut off leaves the old document or the new one, and nothing of the other that counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from splade_ptbr_connectors.stores import open_store, replacement
from splade_ptbr_connectors.stores.edge.engine import EdgeEngine
from splade_ptbr_connectors.stores.numba import store as numba_store
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from tests.support.encoders import HashingEncoder
from tests.support.interrupted import Interrupter, check_interruptions, of_length, state

ENCODER = HashingEncoder(vocab_size=24)


def test_on_qdrant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacement, "LEFT_OVER_S", -60)
    client, interrupter = QdrantClient(":memory:"), Interrupter()
    with QdrantStore.from_client(client, "all", encoder=ENCODER) as store:
        for name in ("upsert", "delete"):
            monkeypatch.setattr(client, name, interrupter(getattr(client, name)))
        check_interruptions(store, interrupter, lambda: client.count("all").count)
    client.close()


def test_a_deletion_that_is_late_meets_no_passage_of_another_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process stands still before it deletes what it replaced, and others write the same contents again meanwhile."""
    client = QdrantClient(":memory:")
    delete, late = client.delete, list[Any]()
    with QdrantStore.from_client(client, "all", encoder=ENCODER) as store:
        first, other = of_length(4, 1.0), of_length(3, 2.0)
        store.upsert_vectors([first])
        monkeypatch.setattr(client, "delete", lambda *args, **arguments: late.append((args, arguments)))
        store.upsert_vectors([other])
        monkeypatch.undo()
        store.upsert_vectors([first])
        before = state(store)
        [(args, arguments)] = late
        delete(*args, **arguments)
        assert state(store) == before and before is not None
    client.close()


def test_what_another_process_may_be_writing_is_not_swept() -> None:
    client = QdrantClient(":memory:")
    with QdrantStore.from_client(client, "all", encoder=ENCODER) as store:
        store.upsert_vectors([of_length(3, 1.0)])
        [head] = [point.id for point in client.scroll("all", limit=9)[0] if "_passages" in (point.payload or {})]
        client.delete("all", [head])
        assert state(store) is None and store.sweep() == 0 and client.count("all").count == 2
    client.close()


def interrupting_edge(interrupter: Interrupter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it interrupt the updates of every shard that is used from now on."""
    use = EdgeEngine.use

    class Shard:
        def __init__(self, shard: Any) -> None:
            self._shard = shard
            self.update = interrupter(shard.update)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._shard, name)

    @contextmanager
    def proxied(engine: EdgeEngine, doing: str) -> Iterator[Any]:
        with use(engine, doing) as shard:
            yield Shard(shard)

    monkeypatch.setattr(EdgeEngine, "use", proxied)


def test_on_edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupter = Interrupter()
    with open_store(f"edge:{tmp_path}/store", encoder=ENCODER) as store:
        store.upsert_vectors([of_length(2, 1.0)])
        interrupting_edge(interrupter, monkeypatch)
        check_interruptions(store, interrupter, lambda: int(store.info()["points"]))
        monkeypatch.undo()


@pytest.mark.parametrize("then", ["another document is written", "another is deleted", "it is closed", "the load ends"])
def test_whatever_follows_an_interrupted_write_nothing_of_it_is_found(then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, interrupter, other = f"edge:{tmp_path}/store", Interrupter(), of_length(2, 9.0)._replace(doc_id="other")
    store = open_store(url, encoder=ENCODER)
    for at in range(1, 3):
        for after in (False, True):
            for written in (of_length(2, 2.0), None):
                store.upsert_vectors([of_length(6, 1.0), other])
                with monkeypatch.context() as patch:
                    interrupting_edge(interrupter, patch)
                    with interrupter.armed(at, after=after):
                        store.upsert_vectors([written]) if written else store.delete(["a"])
                if then == "another document is written":
                    store.upsert_vectors([other])
                elif then == "the load ends":
                    store.finish_loading()
                elif then == "it is closed":
                    store.close()
                    store = open_store(url, encoder=ENCODER)
                store.delete(["other"])
                assert state(store) in (of_length(6, 1.0), written)
    store.close()


def test_on_numba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupter = Interrupter()
    with open_store(f"numba:{tmp_path}/store", encoder=ENCODER) as store:
        for name in ("replace", "delete"):
            monkeypatch.setattr(numba_store.schema, name, interrupter(getattr(numba_store.schema, name)))
        check_interruptions(store, interrupter, lambda: len(store._contents))  # type: ignore[attr-defined]


def test_an_edge_store_that_was_killed_is_swept_when_it_is_opened(tmp_path: Path) -> None:
    """A real death is tests/faults' matter; here the files are those of a store that was not closed."""
    url = f"edge:{tmp_path}/store"
    with open_store(url, encoder=ENCODER) as store:
        store.upsert_vectors([of_length(3, 1.0)])
        with store._edge.use("delete") as shard:  # type: ignore[attr-defined]
            head = store._point_ids(["a"])  # type: ignore[attr-defined]
            store._writer.remove(shard, store._writer.replaced(shard, head)[0])  # type: ignore[attr-defined]
        assert store.info()["points"] == 2 and store.count() == 0
        store._seal = lambda: None  # type: ignore[attr-defined,method-assign]
    with open_store(url, encoder=ENCODER) as store:
        assert store.info()["points"] == 0
