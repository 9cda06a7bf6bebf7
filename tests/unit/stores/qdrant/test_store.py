"""QdrantStore: aliases, waiting for the index, several event loops, and what goes over the wire."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores.base import Entry
from splade_ptbr_connectors.stores.oversize import batched_by_bytes
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from splade_ptbr_connectors.stores.qdrant.wire import request_bytes
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import StandIn
from tests.unit.stores.qdrant.conftest import Open

VECTOR = SparseVector([1, 7], [0.1, 1 / 3])
QUERY = SparseVector([7], [3.0])


def test_what_goes_in_comes_out(store: QdrantStore) -> None:
    payload = {"title": "Ação", "none": None, "deep": {"list": [1, 2.5, "x", {"y": True}]}, "big": 2**63 - 1, "small": -(2**63)}
    entry = Entry("ação/1", VECTOR, payload, "ab" * 16)
    assert store.upsert_vectors([entry]) == 1
    assert store.get(["ação/1", "other", "ação/1"]) == {"ação/1": entry}
    assert store.content_hashes(["ação/1", "other"]) == {"ação/1": "ab" * 16}
    [hit] = store.search(QUERY)
    assert (hit.doc_id, hit.payload) == ("ação/1", payload)
    assert hit.score == pytest.approx(1.0, rel=1e-6)
    assert [entry.doc_id for entry in store.scan(with_vectors=False)] == ["ação/1"]
    assert next(store.scan(with_vectors=False)) == Entry("ação/1", SparseVector([], []), {}, "ab" * 16)


def test_every_float32_comes_back_bit_by_bit(store: QdrantStore) -> None:
    import numpy as np

    bits = np.random.default_rng(0).integers(0x00800000, 0x7F7FFFFF, 500, dtype=np.int64).astype(np.int32)
    ordinary = np.random.default_rng(1).random(500).astype(np.float32) * 4 + np.float32(1e-4)
    for name, weights in (("any", bits.view(np.float32)), ("ordinary", ordinary)):
        vector = SparseVector(np.arange(500), weights)
        store.upsert_vectors([(name, vector)])
        assert store.get([name])[name].vector == vector


def test_weights_are_sent_with_few_digits(store: QdrantStore, server: StandIn) -> None:
    import numpy as np

    weights = np.random.default_rng(1).random(1000).astype(np.float32) + np.float32(0.2)
    store.upsert_vectors([("a", SparseVector(np.arange(1000), weights))])
    sent = json.loads(server.seen[-1].body)["points"][0]["vector"]["splade"]["values"]
    assert np.array_equal(np.array(sent, np.float32), weights)
    assert max(len(repr(value)) for value in sent) <= 10


def test_more_documents_than_one_request_takes_are_got_and_deleted(store: QdrantStore) -> None:
    ids = [f"d{n}" for n in range(2300)]
    store.upsert_vectors((doc_id, QUERY) for doc_id in ids)
    assert list(store.get(ids)) == ids
    assert len({entry.doc_id for entry in store.scan(page_size=700)}) == 2300
    assert store.delete(ids) == 2300


def test_writes_wait_and_searches_leave_the_vectors_there(store: QdrantStore, server: StandIn) -> None:
    store.upsert_vectors([("a", VECTOR)])
    store.search(QUERY)
    query = json.loads(server.seen[-1].body)
    assert query["using"] == "splade"
    assert query["with_payload"] is True
    assert not query.get("with_vector")
    assert not query.get("params")


@pytest.mark.parametrize("documents", [2, 5], ids=["no tie at the cut", "a tie at the cut"])
def test_searches_without_payloads_leave_them_there_too(store: QdrantStore, server: StandIn, documents: int) -> None:
    store.upsert_vectors([(f"d{n}", QUERY, {"text": "longo"}) for n in range(documents)])
    before = len(server.seen)
    assert [(hit.doc_id, hit.payload) for hit in store.search(QUERY, 2, with_payload=False)] == [("d0", {}), ("d1", {})]
    asked = [json.loads(request.body)["with_payload"] for request in server.seen[before:]]
    assert asked and all(wanted == ["_id", "_hash", "_passage", "_passages"] for wanted in asked)


def test_a_native_filter_is_taken_and_confined_to_the_tenant(opening: Open) -> None:
    mine, theirs, everything = opening(tenant="A"), opening(tenant="B"), opening()
    for store in (mine, theirs):
        store.upsert_vectors([("a", QUERY, {"n": 1}), ("b", QUERY, {"n": 2})])
    wide = models.Filter(should=[models.FieldCondition(key="_tenant", match=models.MatchValue(value="B")), models.Filter(must=[])])
    assert everything.count() == 4
    assert mine.count(filter=wide) == 2
    assert [hit.doc_id for hit in mine.search(QUERY, filter=wide)] == ["a", "b"]
    assert mine.delete_where(wide) == 2
    assert (mine.count(), theirs.count(), everything.count()) == (0, 2, 2)
    with pytest.raises(errors.ConfigError, match="'_tenant' is not a field of a payload"):
        theirs.search(QUERY, filter={"_tenant": "A"})
    with pytest.raises(errors.ConfigError, match=r"filter is str: it must be a mapping such as .*, or a qdrant_client.models.Filter"):
        mine.search(QUERY, filter="n = 1")


@pytest.mark.parametrize("datatype", ["float16", "uint8"])
def test_a_score_may_be_off_by_what_the_datatype_takes(opening: Open, datatype: str) -> None:
    """Whoever owns the largest weight of a term: the index has one range for all tenants."""
    settings = {"datatype": datatype}
    mine, theirs = opening(tenant="A", settings=settings), opening(tenant="B", settings=settings)
    mine.upsert_vectors([("a", VECTOR), ("empty", SparseVector([], []))])
    theirs.upsert_vectors([("b", SparseVector([7], [5.0]))])
    exact = QUERY.dot(VECTOR)
    if datatype == "uint8":
        assert mine.quantized(VECTOR) == VECTOR
        assert mine.score_tolerance(QUERY, VECTOR) == pytest.approx(3.0 * 5.0 / 255 + 1e-4 * exact)
        assert mine.score_tolerance(QUERY, SparseVector([3], [1.0])) == 0.0
    else:
        kept = QUERY.dot(mine.quantized(VECTOR))
        assert mine.quantized(VECTOR) == SparseVector([1, 7], [0.0999755859375, 0.333251953125])
        assert mine.score_tolerance(QUERY, VECTOR) == pytest.approx(exact - kept + 1e-4 * kept)


def test_a_weight_that_float16_cannot_keep_refuses_its_document_only(opening: Open) -> None:
    store = opening(settings={"datatype": "float16"})
    [refusal] = store.load([("a", QUERY), ("huge", SparseVector([7], [1e5]))])
    assert refusal.doc_id == "huge" and "a weight is 100000, more than float16 keeps" in refusal.reason
    assert store.get(["a", "huge"]).keys() == {"a"}


@pytest.mark.parametrize("status", ["green", "grey"])
def test_finish_loading_returns_when_the_index_is_there(store: QdrantStore, server: StandIn, status: str) -> None:
    server.status = status
    store.finish_loading()


def test_finish_loading_waits_and_goes_on(store: QdrantStore, server: StandIn) -> None:
    server.status = "yellow"
    timer = threading.Timer(0.3, lambda: setattr(server, "status", "green"))
    timer.start()
    store.finish_loading()
    assert server.status == "green"
    timer.join()


def test_finish_loading_gives_up_with_a_warning(opening: Open, server: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    store = opening(query="?finish_timeout_s=0.2")
    server.status = "yellow"
    with caplog.at_level(logging.WARNING):
        store.finish_loading()
    assert "still optimizing" in caplog.text


def test_finish_loading_of_a_red_collection(store: QdrantStore, server: StandIn) -> None:
    server.status = "red"
    with pytest.raises(errors.StoreError, match="is red"):
        store.finish_loading()


def test_an_alias_is_pointed_and_pointed_again_in_one_request(opening: Open, server: StandIn) -> None:
    old, new = opening("laws-1"), opening("laws-2")
    assert old.point_alias("laws") is None
    old.upsert_vectors([("old", QUERY)])
    new.upsert_vectors([("new", QUERY)])
    behind = opening("laws")
    assert behind.collection == "laws-1"
    assert behind.identity == old.identity
    assert [hit.doc_id for hit in behind.search(QUERY)] == ["old"]
    assert new.point_alias("laws") == "laws-1"
    assert server.count_of("POST", "/collections/aliases") == 2
    assert [hit.doc_id for hit in behind.search(QUERY)] == ["old"]  # an open store stays with the collection that it opened
    again = opening("laws")
    assert again.collection == "laws-2"
    assert [hit.doc_id for hit in again.search(QUERY)] == ["new"]
    assert again.point_alias("laws") == "laws-2"  # the alias means what it means already


def test_an_alias_may_not_have_the_name_of_a_collection(opening: Open) -> None:
    opening("laws")
    store = opening("laws-2")
    with pytest.raises(errors.ConfigError, match="'laws' is a collection, not an alias"):
        store.point_alias("laws")
    with pytest.raises(errors.ConfigError, match="is not accepted"):
        store.point_alias("a/b")
    assert opening("laws").collection == "laws"


def test_info_is_json_and_says_what_there_is(opening: Open) -> None:
    store = opening(query="?dense_size=2", tenant="A")
    store.upsert_vectors([("a", QUERY)])
    info = json.loads(json.dumps(store.info()))
    assert info["version"] == "1.18.0"
    assert (info["documents"], info["status"], info["shards"]) == (1, "green", 1)
    assert (info["tenant_index"], info["described"]) == (True, True)
    assert info["settings"]["dense_size"] == 2


def test_use_after_close(store: QdrantStore) -> None:
    store.close()
    store.close()
    uses: list[Any] = [store.count, store.info, store.adopt, store.finish_loading, lambda: store.search("a"), lambda: store.get(["a"])]
    uses += [lambda: store.point_alias("x"), lambda: store.upsert_vectors([("a", VECTOR)])]
    for use in uses:
        with pytest.raises(errors.StoreClosedError, match="open it again"):
            use()


# -- asynchronous ------------------------------------------------------------------------------------------------------


def test_searches_of_one_loop_run_at_once_and_do_not_block_it(store: QdrantStore, server: StandIn) -> None:
    store.upsert_vectors([("a", VECTOR)])

    async def many() -> list[Any]:
        server.gate.clear()
        searches = [asyncio.create_task(store.asearch(QUERY)) for _ in range(10)]
        while server.count_of("POST", "/query") < 10:  # all are under way, and this coroutine runs
            await asyncio.sleep(0.01)
        assert not any(search.done() for search in searches)
        server.gate.set()
        found = await asyncio.gather(*searches)
        await store.aclose()
        return found

    assert [len(hits) for hits in asyncio.run(many())] == [1] * 10


def test_each_event_loop_has_a_client_of_its_own(store: QdrantStore) -> None:
    store.upsert_vectors([("a", VECTOR)])

    async def once() -> Any:
        assert [hit.doc_id for hit in await store.asearch(QUERY)] == ["a"]
        assert "a" in await store.aget(["a"])
        client = store._connection.async_clients.pop(asyncio.get_running_loop())
        await client.close()
        return id(client)

    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(asyncio.run(once()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    asyncio.run(once())


def test_a_client_of_ones_own_is_used_and_left_open(server: StandIn) -> None:
    async def use() -> None:
        client, async_client = QdrantClient(server.url, check_compatibility=False), AsyncQdrantClient(server.url, check_compatibility=False)
        store = QdrantStore.from_client(client, "laws", encoder=HashingEncoder(), async_client=async_client)
        assert await store.aload([("a", VECTOR)]) == []
        assert [hit.doc_id for hit in await store.asearch(QUERY)] == ["a"]
        await store.aclose()
        assert (await async_client.count("laws")).count == client.count("laws").count == 1
        await async_client.close()
        client.close()

    asyncio.run(use())


def test_local_mode_takes_threads_one_at_a_time() -> None:
    client = QdrantClient(":memory:")
    store = QdrantStore.from_client(client, "laws", encoder=HashingEncoder())
    assert store.max_in_flight == 1
    failures: list[BaseException] = []

    def load(part: int) -> None:
        try:
            for n in range(10):
                store.upsert_vectors([(f"{part}-{n}", VECTOR)])
                assert store.search(QUERY, 5)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=load, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.count() == 40
    client.close()


# -- the size of requests ------------------------------------------------------------------------------------------------


def test_parts_hold_every_entry_once_and_in_order() -> None:
    entries = [Entry(f"d{n}", SparseVector(range(n), [1.0] * n), {"text": "é" * n}) for n in range(1, 60)]
    for limit in (1, 500, 5000, 10**9):
        parts = list(batched_by_bytes(entries, request_bytes, limit))
        assert [entry for part in parts for entry in part] == entries
        assert all(len(part) == 1 or sum(map(request_bytes, part)) <= limit for part in parts)
    assert list(batched_by_bytes([], request_bytes, 10)) == []
