"""OpenSearchStore on a real server: what it keeps and finds, whose documents it shows, and what it does to the index around a load."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from opensearchpy import AsyncOpenSearch, OpenSearch
from opensearchpy.helpers.query import Q

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry
from splade_ptbr_connectors.stores.model_stamp import UnknownOriginWarning
from splade_ptbr_connectors.stores.opensearch import NativeFilter, OpenSearchStore
from splade_ptbr_connectors.stores.opensearch.mapping import LOADING, META
from splade_ptbr_connectors.stores.opensearch.wire import FeatureLayout, index_actions
from splade_ptbr_connectors.stores.opensearch.write import Action
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

VECTOR = SparseVector([1, 7], [0.5, 0.25])
Opener = Callable[..., OpenSearchStore]


def settings_of(raw: OpenSearch, name: str) -> dict[str, Any]:
    [index] = raw.indices.get_settings(index=name, params={"flat_settings": "true"}).values()
    return {key: index["settings"].get(f"index.{key}") for key in ("refresh_interval", "number_of_replicas")}


def note_of(raw: OpenSearch, name: str) -> Any:
    [index] = raw.indices.get_mapping(index=name).values()
    return index["mappings"]["_meta"].get(LOADING)


# -- documents ---------------------------------------------------------------------------------------------------------


def test_what_goes_in_comes_out(store: OpenSearchStore) -> None:
    payload = {"title": "Ação", "none": None, "deep": {"list": [1, 2.5, "x", {"y": True}, []], "": {}}, "big": 2**63 - 1, "a.b": 1e300}
    entry = Entry("ação/1", VECTOR, payload, "ab" * 16)
    assert store.upsert_vectors([entry, ("plain", SparseVector([], []))]) == 2
    assert store.get(["ação/1", "other", "ação/1"]) == {"ação/1": entry}
    assert store.content_hashes(["ação/1", "plain", "other"]) == {"ação/1": "ab" * 16}
    assert [(hit.doc_id, hit.payload) for hit in store.search(VECTOR)] == [("ação/1", payload)]
    assert store.count() == 2
    assert (store.exists("plain"), store.exists("other")) == (True, False)


def test_upsert_replaces_the_whole_document(store: OpenSearchStore) -> None:
    store.upsert_vectors([Entry("a", VECTOR, {"old": 1}, "h1")])
    store.upsert_vectors([("a", SparseVector([2], [1.0]), {"new": 2})])
    assert store.get(["a"]) == {"a": Entry("a", SparseVector([2], [1.0]), {"new": 2}, None)}
    assert store.search(VECTOR) == []
    assert store.count(filter={"old": 1}) == 0


def test_contents_survive_closing_and_a_store_made_anew_is_another_one(opener: Opener, raw: OpenSearch) -> None:
    with opener() as store:
        store.upsert_vectors([("a", VECTOR)])
        identity = store.identity
    with opener(create=False, encoder=HashingEncoder()) as store:
        assert (store.get(["a"])["a"].vector, store.identity) == (VECTOR, identity)
        raw.indices.delete(index=store.collection)
    with pytest.raises(errors.StoreNotFoundError, match="there is no store at"):
        opener(create=False)
    assert opener().identity != identity


def test_a_scan_sees_one_moment_and_every_document_once(store: OpenSearchStore) -> None:
    store.upsert_vectors((f"{n:03}", VECTOR, {"n": n}) for n in range(25))
    seen = []
    for entry in store.scan(page_size=7):
        seen.append(entry.doc_id)
        store.upsert_vectors([(f"new-{len(seen)}", VECTOR)])
        store.delete(["024"])
    assert sorted(seen) == [f"{n:03}" for n in range(25)]
    assert store.count() == 49


def test_products_beyond_float32_are_no_hits_or_an_error(store: OpenSearchStore) -> None:
    store.upsert_vectors([("a", SparseVector([1], [1e-30]))])
    assert store.search(SparseVector([1], [1e-30])) == []
    assert store.search(SparseVector([1], [1e-10]))[0].doc_id == "a"


# -- the query -----------------------------------------------------------------------------------------------------------


def test_a_query_of_more_terms_than_the_server_takes_keeps_the_largest_weights(opener: Opener, caplog: pytest.LogCaptureFixture) -> None:
    store = opener(encoder=HashingEncoder(vocab_size=30_000))
    limit = 1024
    store.upsert_vectors((f"{term:05}", SparseVector([term], [1.0]), {"n": term}) for term in range(limit + 200))
    exact = SparseVector(np.arange(limit), np.arange(1, limit + 1))
    assert len(store.search(exact, 10_000)) == limit
    assert store.pruned_queries == 0
    query = SparseVector(np.arange(limit + 200), np.arange(1, limit + 201))
    with caplog.at_level(logging.WARNING):
        hits = store.search(query, 10_000)
    assert sorted(hit.score for hit in hits) == [float(n) for n in range(201, limit + 201)]
    assert (store.pruned_queries, "cut to the 1024 largest weights" in caplog.text) == (1, True)
    hits = store.search(query, 10_000, filter={"n": {"gte": 0}, "m": {"not": [1, "a"]}})
    assert limit - 20 <= len(hits) < limit
    assert min(hit.score for hit in hits) > 201


@pytest.mark.parametrize(
    "filter",
    [
        {"$or": [{"n": {"gte": n, "lt": n + 1}} for n in range(1021)]},
        {"$or": [{"n": n, "m": None} for n in range(340)]},
        {"$or": [{"$not": {"n": {"not": n}}, "m": n} for n in range(510)] + [{"n": 0}]},
        {"$and": [{"n": {"not": n + 9}} for n in range(1021)]},
    ],
    ids=["ranges", "pairs", "negations", "all"],
)
def test_as_many_conditions_as_the_server_takes_leave_the_query_whole(opener: Opener, filter: dict[str, Any]) -> None:
    store = opener(passages={"passage_tokens": 16})
    store.upsert_vectors([("a", SparseVector([1, 2, 3], [1.0, 2.0, 3.0]), {"n": 0})])
    [hit] = store.search(SparseVector([1, 2, 3], [1.0, 1.0, 1.0]), filter=filter)
    assert (hit.score, store.pruned_queries) == (6.0, 0)


@pytest.mark.parametrize("tenant", [None, "a"])
def test_a_name_that_no_document_has_is_warned_of_once(opener: Opener, caplog: pytest.LogCaptureFixture, tenant: str | None) -> None:
    store = opener(tenant=tenant)
    for filled, expected in ((False, 0), (True, 1), (True, 0)):
        store.upsert_vectors([("a", VECTOR, {"n": 1})] if filled else [])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            store.search(VECTOR, filter={"$or": [{"yeer": 1}, {"n": 7}]})
        assert [record.args[1] for record in caplog.records if isinstance(record.args, tuple)] == ["yeer"] * expected


def test_top_k_beyond_the_collection_and_no_overlap(store: OpenSearchStore) -> None:
    store.upsert_vectors((str(n), VECTOR) for n in range(3))
    assert len(store.search(VECTOR, 10_000)) == 3
    assert store.search(SparseVector([2], [1.0])) == []
    assert store.search(SparseVector([], [])) == []
    assert store.search(SparseVector([2], [1.0]), filter={"x": {"not": 1}}) == []  # a filter alone makes no hit


# -- tenants and filters -------------------------------------------------------------------------------------------------

WIDENING = [
    {"tenant": ["a", "b"]},
    {"tenant": {"not": "a"}},
    {},
    None,
    {"x": {"not": 5}},
    {"$or": [{"of": "b"}, {"$not": {"of": "b"}}]},
    {"$not": {"$or": [{"of": "a"}, {"tenant": "a"}]}},
    NativeFilter({"match_all": {}}),
    NativeFilter({"bool": {"should": [{"match_all": {}}, {"term": {"tenant": "b"}}], "minimum_should_match": 0}}),
    NativeFilter({"bool": {"must_not": {"term": {"tenant": "a"}}}}),
    Q("match_all"),
    Q("terms", tenant=["a", "b"]),
]


@pytest.mark.parametrize("filter", WIDENING, ids=lambda filter: str(filter)[:40])
def test_no_filter_reaches_beyond_the_tenant(opener: Opener, filter: Any) -> None:
    a, b = opener(tenant="a"), opener(tenant="b")
    for store in (a, b):
        store.upsert_vectors([("same", VECTOR, {"of": store.tenant}), (f"only-{store.tenant}", VECTOR, {"of": store.tenant})])
    assert {hit.payload["of"] for hit in a.search(VECTOR, filter=filter)} <= {"a"}
    assert a.count(filter=filter) <= 2
    assert [entry.payload["of"] for entry in a.scan()] == ["a", "a"]
    assert a.get(["only-b"]) == {}
    assert a.delete(["only-b"]) == 0
    if filter:
        assert a.delete_where(filter) <= 2
    assert sorted(b.get(["same", "only-b"])) == ["only-b", "same"]
    assert b.count() == 2


def test_two_tenants_may_use_the_same_ids(opener: Opener) -> None:
    a, b, everyone = opener(tenant="a"), opener(tenant="b"), opener()
    a.upsert_vectors([Entry("x", VECTOR, {"of": "a"}, "ha")])
    b.upsert_vectors([Entry("x", SparseVector([1], [3.0]), {"of": "b"}, "hb")])
    assert (a.content_hashes(["x"]), b.content_hashes(["x"])) == ({"x": "ha"}, {"x": "hb"})
    assert a.get(["x"])["x"].vector == VECTOR
    for store in (a, b):
        store.finish_loading()
    assert [entry.payload["of"] for entry in everyone.scan(page_size=1)] == ["a", "b"]
    assert a.delete(["x"]) == 1
    assert b.exists("x")


def test_a_native_filter_passes_through(store: OpenSearchStore) -> None:
    store.upsert_vectors(Entry(str(n), VECTOR, {"n": n}, "h" if n == 3 else None) for n in range(5))
    for native in (NativeFilter({"term": {"doc_id": "3"}}), Q("term", doc_id="3")):
        assert [hit.doc_id for hit in store.search(VECTOR, filter=native)] == ["3"]
    with pytest.raises(errors.StoreError, match="unknown query"):
        store.search(VECTOR, filter=NativeFilter({"nonsense": {}}))


def test_delete_where_counts_what_it_deleted(store: OpenSearchStore) -> None:
    store.upsert_vectors((str(n), VECTOR, {"n": n}) for n in range(10))
    assert store.delete_where({"n": {"gte": 4}}) == 6
    assert store.delete_where({"n": {"gte": 4}}) == 0
    assert sorted(entry.doc_id for entry in store.scan()) == ["0", "1", "2", "3"]
    with pytest.raises(errors.ConfigError, match="empty filter"):
        store.delete_where({})


# -- indices that are not as they should be ------------------------------------------------------------------------------


def test_an_index_of_another_kind_is_refused_by_name(opener: Opener, raw: OpenSearch, index_name: str) -> None:
    raw.indices.create(index=index_name, body={"mappings": {"properties": {"sparse": {"type": "float"}}}})
    with pytest.raises(errors.StoreFormatError, match=rf"{index_name}' has float as its field 'sparse'"):
        opener()
    raw.indices.delete(index=index_name)
    raw.indices.create(index=index_name)
    with pytest.raises(errors.StoreFormatError, match="has nothing as its field 'sparse'"):
        opener()


def without_description(raw: OpenSearch, store: OpenSearchStore) -> None:
    raw.indices.put_mapping(index=store.collection, body={"_meta": {"owner": "somebody"}})


def test_an_index_of_unknown_origin_is_warned_about_and_adopted(opener: Opener, raw: OpenSearch) -> None:
    with opener() as store:
        store.upsert_vectors([("a", VECTOR)])
        without_description(raw, store)
    with pytest.raises(errors.ConfigError, match="does not say which model filled it"):
        opener(encoder=None)
    with pytest.warns(UnknownOriginWarning, match="scores mean something only if"):
        store = opener()
    assert store.fingerprint is None
    assert store.upsert_vectors([("b", VECTOR)]) == 1
    store.adopt()
    assert store.fingerprint == store.encoder.fingerprint
    [index] = raw.indices.get(index=store.collection).values()
    assert (index["mappings"]["_meta"]["owner"], META in index["mappings"]["_meta"]) == ("somebody", True)
    store.adopt()  # again: nothing is left to do
    store.upsert_vectors([("c", VECTOR)])
    store.close()
    assert opener().count() == 3
    with pytest.raises(errors.ModelMismatchError):
        opener(encoder=HashingEncoder("another"))


def test_another_model_is_refused_by_name(opener: Opener, store_url: str) -> None:
    opener(encoder=HashingEncoder("first"))
    with pytest.raises(errors.ModelMismatchError, match=r"'first'.*'second'"):
        opener(encoder=HashingEncoder("second"))
    opener(encoder=HashingEncoder("second"), allow_mismatch=True)
    with pytest.raises(errors.ConfigError, match="is new: say which model"):
        opener(url=f"{store_url}-new", encoder=None)


@pytest.mark.parametrize("change", [{"feature_scheme": "tokens"}, {"format_version": 99}, {"engine": "edge"}, {"fingerprint": None}])
def test_descriptions_that_do_not_fit(opener: Opener, raw: OpenSearch, change: dict[str, Any]) -> None:
    store = opener()
    [index] = raw.indices.get_mapping(index=store.collection).values()
    meta = index["mappings"]["_meta"]
    raw.indices.put_mapping(index=store.collection, body={"_meta": {**meta, META: meta[META] | change}})
    with pytest.raises(errors.StoreFormatError, match=META):
        opener()


def test_two_processes_that_create_an_index_at_once_agree_on_one(opener: Opener) -> None:
    stores: list[OpenSearchStore] = []
    threads = [threading.Thread(target=lambda: stores.append(opener())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({store.identity for store in stores}) == 1
    assert len(stores) == 4


# -- deleted, replaced, aliased ------------------------------------------------------------------------------------------


def test_an_index_deleted_while_it_is_loaded_is_not_made_again(store: OpenSearchStore, raw: OpenSearch) -> None:
    store.load([("a", VECTOR)])
    raw.indices.delete(index=store.collection)
    for write in (lambda: store.load([("b", VECTOR)]), lambda: store.delete(["a"]), lambda: store.delete_where({"n": 1})):
        with pytest.raises(errors.StoreNotFoundError):
            write()
    assert not raw.indices.exists(index=store.collection)
    for read in (store.count, lambda: store.search(VECTOR), lambda: store.get(["a"]), lambda: list(store.scan()), store.finish_loading):
        with pytest.raises(errors.StoreNotFoundError):
            read()
    with pytest.raises(errors.StoreNotFoundError), store.loading():
        raise AssertionError("a load of an index that is gone has begun")


def test_an_index_that_took_the_name_is_neither_read_nor_written(opener: Opener, raw: OpenSearch) -> None:
    old = opener()
    old.load([("a", VECTOR)])
    raw.indices.delete(index=old.collection)
    new = opener(encoder=HashingEncoder("another"))
    with pytest.raises(errors.StoreNotFoundError):
        old.load([("b", VECTOR)])
    with pytest.raises(errors.StoreNotFoundError):
        old.search(VECTOR)
    assert new.count() == 0


def test_an_alias_moves_in_one_step_and_nobody_sees_it_missing(opener: Opener, store_url: str) -> None:
    alias_url, alias = f"{store_url}-alias", f"{store_url.rpartition('/')[2]}-alias"
    old, new = opener(url=f"{store_url}-1"), opener(url=f"{store_url}-2")
    old.upsert_vectors([("a", VECTOR, {"of": 1})])
    new.upsert_vectors([("a", VECTOR, {"of": 2})])
    old.finish_loading()
    new.finish_loading()
    assert old.point_alias(alias) is None
    seen: set[Any] = set()
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            with open_store(alias_url, encoder=HashingEncoder(), create=False) as store:
                seen.add(tuple(hit.payload["of"] for hit in store.search(VECTOR)))

    thread = threading.Thread(target=search)
    thread.start()
    for _ in range(10):
        assert new.point_alias(alias) == old.collection
        assert old.point_alias(alias) == new.collection
    stop.set()
    thread.join()
    assert seen <= {(1,), (2,)}
    assert old.point_alias(alias) == old.collection
    opened = opener(url=alias_url)
    assert (opened.collection, opened.identity) == (old.collection, old.identity)
    new.point_alias(alias)
    opened.load([("b", VECTOR)])  # opened before the alias moved: still the same index
    opened.finish_loading()
    assert (old.count(), new.count()) == (2, 1)
    with pytest.raises(errors.ConfigError, match="is an index, not an alias"):
        new.point_alias(old.collection)


def test_an_alias_of_two_indices_is_no_store(opener: Opener, raw: OpenSearch, store_url: str) -> None:
    for number in (1, 2):
        store = opener(url=f"{store_url}-{number}")
        raw.indices.put_alias(index=store.collection, name=f"{store_url.rpartition('/')[2]}-both")
    with pytest.raises(errors.StoreFormatError, match="is an alias of 2 indices"):
        opener(url=f"{store_url}-both")


# -- the settings of a load ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [{}, {"refresh_interval": "30s", "number_of_replicas": "1"}])
def test_a_load_changes_settings_and_restores_them(opener: Opener, raw: OpenSearch, before: dict[str, str]) -> None:
    store = opener()
    if before:
        raw.indices.put_settings(index=store.collection, body=before)
    original = settings_of(raw, store.collection)
    with store.loading():
        assert settings_of(raw, store.collection) == {"refresh_interval": "-1", "number_of_replicas": "0"}
        assert note_of(raw, store.collection) is not None
        store.load([("a", VECTOR)])
        assert not store.info()["interrupted_load"]
    assert settings_of(raw, store.collection) == original
    assert note_of(raw, store.collection) is None
    with store.loading():  # filled: its replicas stay
        assert settings_of(raw, store.collection) == {**original, "refresh_interval": "-1"}
    with pytest.raises(KeyboardInterrupt), store.loading():
        raise KeyboardInterrupt
    assert settings_of(raw, store.collection) == original
    assert not store.restore_settings()


def test_two_loads_at_once_end_with_the_right_settings(opener: Opener, raw: OpenSearch) -> None:
    first, second = opener(), opener()
    raw.indices.put_settings(index=first.collection, body={"refresh_interval": "7s"})
    original = settings_of(raw, first.collection)
    one, two = first.loading(), second.loading()
    for context in (one, two):
        context.__enter__()
    one.__exit__(None, None, None)
    two.__exit__(None, None, None)
    assert (settings_of(raw, first.collection), note_of(raw, first.collection)) == (original, None)

    def load(store: OpenSearchStore) -> None:
        for number in range(5):
            with store.loading():
                store.load([(f"{id(store)}-{number}", VECTOR)])

    threads = [threading.Thread(target=load, args=(store,)) for store in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (settings_of(raw, first.collection), note_of(raw, first.collection)) == (original, None)
    assert first.count() == 10


def load_forever(url: str) -> None:
    with open_store(url, encoder=HashingEncoder()) as store, store.loading():
        for number in range(10**9):
            store.load([(f"d{number}", VECTOR)])


@pytest.mark.parametrize("repair", ["load", "restore_settings"])
def test_settings_of_a_load_that_was_killed_are_restored(opener: Opener, raw: OpenSearch, repair: str) -> None:
    store = opener()
    raw.indices.put_settings(index=store.collection, body={"refresh_interval": "9s", "number_of_replicas": "1"})
    original = settings_of(raw, store.collection)
    child = multiprocessing.get_context("spawn").Process(target=load_forever, args=(store.url,))
    child.start()
    deadline = time.monotonic() + 60
    while len(store.get([f"d{n}" for n in range(20)])) < 20 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert settings_of(raw, store.collection) == {"refresh_interval": "-1", "number_of_replicas": "0"}
    assert store.info()["interrupted_load"]
    if repair == "load":
        with store.loading():
            store.load([("after", VECTOR)])
            assert settings_of(raw, store.collection) == {"refresh_interval": "-1", "number_of_replicas": "0"}
    else:
        assert store.restore_settings()
    assert (settings_of(raw, store.collection), note_of(raw, store.collection)) == (original, None)
    assert store.count() >= 20


def test_what_is_written_is_found_at_once(opener: Opener) -> None:
    store, other = opener(), opener(settings={"read_own_writes": False})
    for number in range(3):
        store.upsert_vectors([(str(number), VECTOR)])
        assert len(store.search(VECTOR)) == number + 1
    store.delete(["0"])
    assert store.count() == 2
    other.upsert_vectors([("later", VECTOR)])
    assert other.exists("later")
    other.finish_loading()
    assert other.count() == 3


# -- refused documents, threads, loops -----------------------------------------------------------------------------------


def test_a_document_that_the_server_refuses_does_not_stop_the_others(opener: Opener) -> None:
    store = opener()
    bad, good = index_actions([Entry("bad", VECTOR), Entry("good", VECTOR)], None, FeatureLayout())
    bad = bad.replace(b'"n_terms"', b'"unknown"')  # a field that the strict mapping does not know
    refusals = store._run(store._operations.write([Action("bad", bad), Action("good", good)]))
    assert [(refusal.doc_id, "strict" in refusal.reason) for refusal in refusals] == [("bad", True)]
    assert (store.exists("good"), store.exists("bad")) == (True, False)


def test_threads_may_share_a_store(store: OpenSearchStore) -> None:
    failures: list[BaseException] = []

    def load(part: int) -> None:
        try:
            for n in range(10):
                store.upsert_vectors([(f"{part}-{n}-{i}", VECTOR, {"part": part}) for i in range(5)])
                assert len(store.search(VECTOR, 5)) == 5
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=load, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.count() == 200


def test_two_event_loops_one_after_the_other(opener: Opener) -> None:
    store = opener()

    async def use(part: int) -> int:
        await asyncio.gather(*(store.aload([(f"{part}-{n}", VECTOR)]) for n in range(5)))
        hits = await asyncio.gather(*(store.asearch(VECTOR, 100) for _ in range(5)))
        entries = await store.aget([f"{part}-0"])
        assert len(entries) == 1
        loop_client = store._connection.async_clients.pop(asyncio.get_running_loop())
        await loop_client.close()
        return len(hits[0])

    assert asyncio.run(use(0)) == 5
    assert asyncio.run(use(1)) == 10


async def test_the_event_loop_is_not_blocked(opener: Opener) -> None:
    store = opener()
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            started = asyncio.get_running_loop().time()
            await asyncio.sleep(0.005)
            longest = max(longest, asyncio.get_running_loop().time() - started)

    def block(*arguments: Any, **named: Any) -> None:
        raise AssertionError("the blocking client was used in the event loop")

    blocking = store._connection.client
    blocking.bulk = blocking.search = block
    ticking = asyncio.create_task(tick())
    await store.aload([(str(n), VECTOR, {"text": "x" * 1000}) for n in range(2000)])
    assert len(await store.asearch(VECTOR, 10)) == 10
    ticking.cancel()
    assert blocking is store._connection.client
    await store.aclose()
    with pytest.raises(errors.StoreClosedError):
        await store.asearch(VECTOR)
    assert longest > 0


async def test_clients_of_ones_own(opensearch_url: str, index_name: str) -> None:
    encoder = HashingEncoder()
    with OpenSearch([opensearch_url]) as client:
        async with AsyncOpenSearch([opensearch_url]) as async_client:
            store = OpenSearchStore.from_client(client, index_name, encoder=encoder, async_client=async_client, settings={"replicas": 0})
            await store.aload([("a", VECTOR)])
            assert [hit.doc_id for hit in await store.asearch(VECTOR)] == ["a"]
            await store.aclose()
            assert await async_client.indices.exists(index=index_name)
        threaded = OpenSearchStore.from_client(client, index_name, encoder=encoder)
        assert [hit.doc_id for hit in await threaded.asearch(VECTOR)] == ["a"]
        threaded.close()
        assert client.indices.exists(index=index_name)


def test_doctor_says_what_the_server_is(store: OpenSearchStore) -> None:
    store.upsert_vectors([("a", VECTOR)])
    about = store.info()
    assert about["distribution"] == "opensearch"
    assert about["max_clauses"] >= 1024
    assert (about["documents"], about["shards"], about["replicas"], about["described"]) == (1, 1, 0, True)
