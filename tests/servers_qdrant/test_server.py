"""QdrantStore on a server: what it finds, keeps and refuses, equal to an exact oracle."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import model_stamp, open_store
from splade_ptbr_connectors.stores.base import Entry, Hit, Store
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from splade_ptbr_connectors.vectors import SparseVector
from tests.servers_qdrant.conftest import Open
from tests.support.encoders import HashingEncoder
from tests.support.filtering import CHECKS
from tests.support.operations import ASYNC, BLOCKING, IDS, VOCABULARY, Way, agree, operations, queries
from tests.support.oracle import Oracle, check_fused, float16

QUERY = SparseVector([1], [1.0])
GRPC_PORT = int(os.environ.get("SPLADE_TEST_QDRANT_GRPC_PORT", "6334"))
EXAMPLES = settings(
    max_examples=15,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def random_vectors(count: int, vocabulary: int = 400, terms: int = 40) -> dict[str, SparseVector]:
    random = np.random.default_rng(7)
    return {
        f"d{n:05}": SparseVector(random.choice(vocabulary, terms, replace=False), random.random(terms) * 3 + 0.01) for n in range(count)
    }


@pytest.mark.parametrize("way", [BLOCKING, ASYNC], ids=lambda way: way.name)
def test_store_agrees_with_the_oracle(opening: Open, way: Way) -> None:
    store = opening(encoder=HashingEncoder(vocab_size=VOCABULARY), max_batch_documents=4)

    @given(operations=operations, queries=st.lists(queries, min_size=1, max_size=5))
    @EXAMPLES
    def run(operations: list[tuple[str, Any]], queries: list[Any]) -> None:
        store.delete(IDS)
        agree(store, Oracle(), operations, queries, way)

    run()


def test_tenants_see_and_touch_their_own_documents_only(opening: Open) -> None:
    encoder = HashingEncoder(vocab_size=VOCABULARY)
    stores = {tenant: opening(encoder=encoder, max_batch_documents=4, tenant=tenant) for tenant in ("A", "B", "C")}
    everything = opening(encoder=encoder)

    @given(turns=st.lists(st.tuples(st.sampled_from("AB"), operations), max_size=3), queries=st.lists(queries, min_size=1, max_size=3))
    @EXAMPLES
    def run(turns: list[Any], queries: list[Any]) -> None:
        for store in stores.values():
            store.delete(IDS)
        oracle = Oracle()
        for tenant, turn in turns:
            agree(stores[tenant], oracle, turn, [], BLOCKING, tenant)
        for tenant, store in stores.items():
            agree(store, oracle, [], queries, BLOCKING, tenant)
        assert everything.count() == len(oracle.contents)

    run()
    assert everything.info()["tenant_index"]


def test_a_native_filter_cannot_reach_beyond_the_tenant(opening: Open) -> None:
    mine, theirs = opening(tenant="A"), opening(tenant="B")
    for store in (mine, theirs):
        store.upsert_vectors([("a", QUERY, {"n": 1})])
    wide = models.Filter(should=[models.FieldCondition(key="_tenant", match=models.MatchValue(value="B")), models.Filter(must=[])])
    assert mine.count(filter=wide) == 1
    assert mine.delete_where(wide) == 1
    assert theirs.count() == 1


def test_hybrid_scores_are_those_of_the_definition(opening: Open) -> None:
    """The weighted sum of scores, and the sum of 1 / (rrf_k + rank), within what float32 holds of it."""
    random = np.random.default_rng(1)
    store, oracle = opening(settings={"dense_size": 4}), Oracle()
    dense = random.permutation(200)
    entries = [
        Entry(f"d{n:03}", vector, {"n": n % 3}, None, (float(dense[n]), *map(float, random.integers(0, 9, 3))) if n % 4 else None)
        for n, vector in enumerate(random_vectors(200).values())
    ]
    store.upsert_vectors(entries)
    oracle.upsert(entries)
    query = SparseVector(range(0, 400, 7), np.linspace(0.1, 2.0, 58))
    for rrf_k in (1, 2, 60):
        for top_k, prefetch in ((1, 20), (10, 10), (30, 100), (500, 500)):
            for filter in (None, {"n": 1}, {"n": {"not": 1}}):
                hits = store.search_hybrid(query, (1.0, 0.0, 0.0, 0.0), top_k, prefetch=prefetch, rrf_k=rrf_k, filter=filter)
                expected = oracle.search_hybrid(query, (1.0, 0.0, 0.0, 0.0), top_k, prefetch, rrf_k, filter)
                assert [hit.doc_id for hit in hits] == [doc_id for doc_id, _ in expected]
                assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected], rel=1e-6)
                weight = 1 / (1 + rrf_k)
                hits = store.search_hybrid(query, (1.0, 0.0, 0.0, 0.0), top_k, prefetch=prefetch, dense_weight=weight, filter=filter)
                check_fused(hits, oracle.search_by_sum(query, (1.0, 0.0, 0.0, 0.0), prefetch, weight, filter), top_k)
    found = store.get([entry.doc_id for entry in entries])
    assert {doc_id: entry.dense for doc_id, entry in found.items()} == {entry.doc_id: entry.dense for entry in entries}


def test_a_tie_across_the_end_of_the_page_is_cut_by_document_id(opening: Open) -> None:
    store, names = opening(), [f"n{i:04}" for i in range(1300)]
    store.upsert_vectors((name, QUERY, {"name": name}) for name in reversed(names))
    for top_k in (1, 10, 1299, 1300, 2000):
        hits = store.search(QUERY, top_k)
        assert [hit.doc_id for hit in hits] == names[:top_k]
        assert all(hit.payload == {"name": hit.doc_id} for hit in hits)


@pytest.mark.parametrize("datatype", ["float32", "float16", "uint8"])
def test_scores_are_as_exact_as_the_datatype(opening: Open, datatype: str) -> None:
    """The index of a small collection holds float32 whatever the datatype: either form is right, uint8 to half a step of 3 / 255."""
    store, vectors = opening(settings={"datatype": datatype}), random_vectors(300)
    store.upsert_vectors(vectors.items())
    store.finish_loading()
    query = SparseVector(range(0, 400, 5), np.linspace(0.1, 2.0, 80))
    hits = store.search(query, 1000)
    assert {hit.doc_id for hit in hits} == {doc_id for doc_id, vector in vectors.items() if query.dot(vector) > 0}
    for hit in hits:
        vector = vectors[hit.doc_id]
        bound = query.dot(SparseVector(vector.term_ids, np.full(len(vector), 3 / 255 / 2))) if datatype == "uint8" else 0.0
        exact = [query.dot(vector), *([query.dot(float16(vector))] if datatype == "float16" else [])]
        assert min(abs(hit.score - score) for score in exact) <= bound + 1e-6 * hit.score
    assert {doc_id: entry.vector for doc_id, entry in store.get(list(vectors)).items()} == vectors
    assert store.info()["settings"]["datatype"] == datatype


def test_loads_at_once_lose_and_double_nothing(opening: Open) -> None:
    store, vectors = opening(), random_vectors(1000)
    entries = [Entry(doc_id, vector, {"text": "ação"}, "h" * 32) for doc_id, vector in vectors.items()]
    with ThreadPoolExecutor(store.max_in_flight) as pool:
        batches = [entries[start : start + 100] for start in range(0, 1000, 50)]  # each document twice
        assert not any(pool.map(store.load, batches))
    store.finish_loading()
    assert store.count() == 1000
    assert sorted(store.scan(page_size=300)) == sorted(entries)
    assert store.content_hashes(list(vectors)) == dict.fromkeys(vectors, "h" * 32)


def test_loads_and_searches_of_one_loop_run_at_once(opening: Open) -> None:
    store, vectors = opening(), list(random_vectors(200).items())

    async def run() -> int:
        await asyncio.gather(*[store.aload(vectors[start : start + 20]) for start in range(0, 200, 20)])
        found = await asyncio.gather(*[store.asearch(vector, 1) for _, vector in vectors[:20]])
        await store.aclose()
        return sum(hits[0].doc_id == doc_id for hits, (doc_id, _) in zip(found, vectors, strict=False))

    assert asyncio.run(run()) == 20


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_filters_and_payloads_mean_the_same(opening: Open, check: Callable[[Store], None]) -> None:
    check(opening())


def test_what_json_can_say_comes_back(opening: Open) -> None:
    payload = {"none": None, "deep": {"list": [1, 2.5, "x", {"y": True}, []]}, "big": 2**63 - 1, "small": -(2**63), "ação": "é\u202e💥"}
    entry = Entry("A/../b ação", SparseVector([0, 4095], [1e-30, 3e30]), payload, "h")
    store = opening()
    store.upsert_vectors([entry, Entry("empty", SparseVector([], []))])
    assert store.get(["A/../b ação"]) == {"A/../b ação": entry}
    assert store.get(["empty"])["empty"].vector == SparseVector([], [])
    assert store.count() == 2


def test_an_alias_is_swapped_without_a_gap(opening: Open, name: str) -> None:
    old, new = opening("-1"), opening("-2")
    old.upsert_vectors([("old", QUERY)])
    new.upsert_vectors([("new", QUERY)])
    alias = f"{name}-alias"
    assert old.point_alias(alias) is None
    behind, seen = opening("-alias"), []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            seen.append([hit.doc_id for hit in behind.search(QUERY)])

    thread = threading.Thread(target=search)
    thread.start()
    assert new.point_alias(alias) == old.collection
    stop.set()
    thread.join()
    assert seen == [["old"]] * len(seen)  # an open store stays with the collection that it opened
    again = opening("-alias")
    assert [hit.doc_id for hit in again.search(QUERY)] == ["new"]
    assert (behind.collection, again.collection) == (old.collection, new.collection)
    with pytest.raises(errors.ConfigError, match="is a collection, not an alias"):
        new.point_alias(old.collection)


def test_a_collection_remembers_its_model_and_settings(opening: Open) -> None:
    first = opening(encoder=HashingEncoder("first"), settings={"datatype": "float16", "on_disk": True})
    again = opening(encoder=HashingEncoder("first"))
    assert again.identity == first.identity
    assert (again.settings.datatype, again.settings.on_disk) == ("float16", True)
    with pytest.raises(errors.ModelMismatchError):
        opening(encoder=HashingEncoder("second"))
    with pytest.raises(errors.StoreFormatError, match="datatype='float16', but is opened with datatype='uint8'"):
        opening(encoder=HashingEncoder("first"), settings={"datatype": "uint8"})


def test_a_collection_of_others_is_warned_about_and_adopted(opening: Open, client: QdrantClient, name: str) -> None:
    client.create_collection(name, vectors_config={}, sparse_vectors_config={"splade": models.SparseVectorParams()})
    with pytest.warns(model_stamp.UnknownOriginWarning):
        store = opening()
    store.upsert_vectors([("a", QUERY)])
    store.adopt()
    assert opening().fingerprint == store.encoder.fingerprint


def test_the_modifier_idf_is_refused(opening: Open, client: QdrantClient, name: str) -> None:
    idf = models.SparseVectorParams(modifier=models.Modifier.IDF)
    client.create_collection(name, vectors_config={}, sparse_vectors_config={"splade": idf})
    with pytest.raises(errors.StoreFormatError, match="modifier IDF"):
        opening()


def test_stores_made_at_once_are_one(opening: Open) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len({store.identity for store in pool.map(lambda _: opening(), range(4))}) == 1


def test_a_collection_that_is_gone_is_not_made_anew(opening: Open, client: QdrantClient, name: str) -> None:
    store = opening()
    client.delete_collection(name)
    for use in (lambda: store.upsert_vectors([("a", QUERY)]), store.count, lambda: store.search(QUERY)):
        with pytest.raises(errors.StoreNotFoundError):
            use()
    with pytest.raises(errors.StoreNotFoundError):
        opening(create=False)


def assert_same_hits(found: list[Hit], expected: list[Hit]) -> None:
    """Scores within a step of float32: what JSON holds of one, and what another order of adding up may change."""
    assert [(hit.doc_id, hit.payload) for hit in found] == [(hit.doc_id, hit.payload) for hit in expected]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], rel=2.0**-23)


def test_grpc_reads_and_writes_the_same(qdrant_url: str) -> None:
    parts = urlsplit(qdrant_url)
    try:
        socket.create_connection((str(parts.hostname), GRPC_PORT), timeout=2).close()
    except OSError:
        pytest.skip(f"nothing answers at {parts.hostname}:{GRPC_PORT} (SPLADE_TEST_QDRANT_GRPC_PORT), so that gRPC is not tested")
    name, vectors = f"splade-test-{uuid.uuid4().hex[:12]}", random_vectors(100)
    url = f"qdrant+{'grpcs' if parts.scheme == 'https' else 'grpc'}://{parts.hostname}:{GRPC_PORT}/{name}"
    rest = open_store(f"qdrant+{qdrant_url}/{name}", encoder=HashingEncoder(), settings={"dense_size": 2})
    with rest, open_store(url, encoder=HashingEncoder(), settings={"rest_port": parts.port or 6333}) as store:
        assert isinstance(rest, QdrantStore)
        store.upsert_vectors(Entry(doc_id, vector, {"n": 1}, None, (1.0, 2.0)) for doc_id, vector in vectors.items())
        assert store.count() == rest.count() == 100
        for vector in list(vectors.values())[:10]:
            assert_same_hits(store.search(vector, 20), rest.search(vector, 20))
        assert store.get(list(vectors)) == rest.get(list(vectors))
        assert_same_hits(ASYNC.search(store, QUERY, 10), rest.search(QUERY, 10))
        rest._connection.client.delete_collection(name)
