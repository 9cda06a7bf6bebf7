"""Random operations on a store and on an exact oracle: the same ids, scores and payloads come back from both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.filtering import CHECKS
from tests.support.operations import ASYNC, BLOCKING, IDS, VOCABULARY, Way, agree, filters, operations, payloads, queries, vectors
from tests.support.oracle import Oracle, check_fused, float16
from tests.support.qdrant_grpc import grpc_stand_in
from tests.support.qdrant_server import stand_in

Opened = Callable[[str | None], Store]
ENGINES = ["edge", "numba", "qdrant local", "qdrant http", "qdrant grpc"]
WITH_DENSE = [engine for engine in ENGINES if engine != "numba"]
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # shrinking would ask a server for minutes
HYPOTHESIS = {"deadline": None, "phases": PHASES, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}
DENSE = 3


@pytest.fixture(scope="module", params=ENGINES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Opens the one collection of an engine for a tenant, or for none."""
    arguments: dict[str, Any] = {
        "encoder": HashingEncoder(vocab_size=VOCABULARY),
        "max_batch_documents": 4,
        "settings": {"dense_size": DENSE},
    }
    if request.param == "numba":
        yield from _numba(f"numba:{tmp_path_factory.mktemp('congruence')}", {**arguments, "settings": None})
    elif request.param == "edge":
        yield from _edge(f"edge:{tmp_path_factory.mktemp('congruence')}", arguments)
    elif request.param == "qdrant local":
        client = QdrantClient(":memory:")
        yield _remembering(lambda tenant: QdrantStore.from_client(client, "all", tenant=tenant, **arguments))
        client.close()
    else:
        with grpc_stand_in() if request.param == "qdrant grpc" else stand_in() as server:
            stores: list[Store] = []
            yield _remembering(lambda tenant: _kept(stores, open_store(f"qdrant+{server.url}/all", tenant=tenant, **arguments)))
            for store in stores:
                store.close()


def _edge(url: str, arguments: dict[str, Any]) -> Iterator[Opened]:
    # one handle at a time: the tenants look through the handle that sees everything
    with open_store(url, **arguments) as everything:

        def view(tenant: str | None) -> Store:
            if tenant is None:
                return everything
            seen = type(everything).__new__(type(everything))
            seen.__dict__ = {**everything.__dict__, "tenant": tenant}
            return seen

        yield _remembering(view)


def _numba(url: str, arguments: dict[str, Any]) -> Iterator[Opened]:
    # one handle at a time: the folder is opened anew for every tenant
    held: list[Store] = []

    def opened(tenant: str | None = None) -> Store:
        if held and held[0].tenant != tenant:
            held.pop().close()
        if not held:
            held.append(open_store(url, tenant=tenant, **arguments))
        return held[0]

    yield opened
    for store in held:
        store.close()


def _remembering(open_for: Callable[[str | None], Store]) -> Opened:
    stores: dict[str | None, Store] = {}

    def opened(tenant: str | None = None) -> Store:
        if tenant not in stores:
            stores[tenant] = open_for(tenant)
        return stores[tenant]

    return opened


def _kept(stores: list[Store], store: Store) -> Store:
    stores.append(store)
    return store


def empty(opened: Opened) -> None:
    """Delete whatever is there, of every tenant."""
    opened(None).delete_where({"anything": {"not": "at all"}})
    assert opened(None).count() == 0


@pytest.mark.parametrize("way", [BLOCKING, ASYNC], ids=lambda way: way.name)
@given(operations=operations, queries=st.lists(queries, min_size=1, max_size=6))
@settings(max_examples=25, **HYPOTHESIS)
def test_store_agrees_with_the_oracle(opened: Opened, way: Way, operations: list[tuple[str, Any]], queries: list[Any]) -> None:
    empty(opened)
    agree(opened(None), Oracle(), operations, queries, way)


@given(turns=st.lists(st.tuples(st.sampled_from(["A", "B"]), operations), max_size=4), queries=st.lists(queries, min_size=1, max_size=4))
@settings(max_examples=25, **HYPOTHESIS)
def test_tenants_see_and_touch_their_own_documents_only(opened: Opened, turns: list[Any], queries: list[Any]) -> None:
    empty(opened)
    oracle = Oracle()
    for tenant, turn in turns:
        agree(opened(tenant), oracle, turn, [], BLOCKING, tenant)
    for tenant in ("A", "B", "C"):
        agree(opened(tenant), oracle, [], queries, BLOCKING, tenant)
    assert opened(None).count() == len(oracle.contents)
    for vector, top_k, filter in queries:
        hits = opened(None).search(vector, top_k, filter=filter)
        assert sorted((hit.doc_id, hit.score) for hit in hits if top_k == 10_000) == sorted(
            found for found in oracle.search(vector, top_k, filter) if top_k == 10_000
        )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_filters_and_payloads_mean_the_same(opened: Opened, check: Callable[[Store], None]) -> None:
    empty(opened)
    check(opened(None))


numbers = st.integers(-8, 8).map(lambda n: n / 4)
dense = st.lists(numbers, min_size=DENSE, max_size=DENSE).map(tuple).filter(any)


@pytest.mark.parametrize("way", [BLOCKING, ASYNC], ids=lambda way: way.name)
@pytest.mark.parametrize("opened", WITH_DENSE, indirect=True)
@given(
    entries=st.lists(
        st.builds(
            Entry,
            doc_id=st.sampled_from(IDS),
            vector=vectors,
            payload=payloads,
            content_hash=st.none(),
            dense=dense | st.none(),
            passages=st.just(()),
        ),
        max_size=14,
    ),
    query=vectors,
    near=dense,
    top_k=st.integers(1, 20),
    prefetch=st.sampled_from([1, 2, 5, 20]),
    rrf_k=st.sampled_from([1, 2, 60]),
    dense_weight=st.sampled_from([0, 0.25, 0.5, 0.7, 1.0]),
    filter=filters,
    tenant=st.sampled_from([None, "A"]),
)
@settings(max_examples=30, **HYPOTHESIS)
def test_hybrid_scores_are_those_of_the_definition(
    opened: Opened,
    way: Way,
    entries: list[Entry],
    query: SparseVector,
    near: Any,
    top_k: int,
    prefetch: int,
    rrf_k: int,
    dense_weight: float,
    filter: Any,
    tenant: str | None,
) -> None:
    """The weighted sum of scores, and the sum of 1 / (rrf_k + rank); of ties within a search, those of smaller ids are fused."""
    empty(opened)
    store, oracle = opened(tenant), Oracle()
    store.upsert_vectors(entries)
    oracle.upsert(entries, tenant)
    assert {i: e.dense for i, e in store.get(IDS).items() if e.dense} == {key[1]: vector for key, vector in oracle.dense.items()}
    hits = way.search_hybrid(store, query, near, top_k, prefetch=prefetch, dense_weight=dense_weight, filter=filter)
    expected = oracle.search_by_sum(query, near, prefetch, dense_weight, filter, tenant)
    check_fused(hits, expected, top_k)
    held = oracle.of(tenant)
    assert all(hit.payload == held[hit.doc_id][1] for hit in hits)
    least = expected[len(expected) // 2][1] if expected else 0.0
    above = way.search_hybrid(store, query, near, 40, prefetch=prefetch, dense_weight=dense_weight, filter=filter, min_score=least - 1e-3)
    assert {hit.doc_id for hit in above} == {doc_id for doc_id, score in expected if score >= least - 1e-3}
    hits = way.search_hybrid(store, query, near, top_k, prefetch=prefetch, rrf_k=rrf_k, filter=filter)
    check_fused(hits, oracle.search_hybrid(query, near, 40, prefetch, rrf_k, filter, tenant), top_k)
    assert all(hit.payload == held[hit.doc_id][1] for hit in hits)


@pytest.mark.parametrize("opened", WITH_DENSE, indirect=True)
@pytest.mark.parametrize("fusion", [{}, {"rrf_k": 60}], ids=str)
def test_hybrid_prefetch_bounds_what_is_fused(opened: Opened, fusion: dict[str, Any]) -> None:
    empty(opened)
    store = opened(None)
    store.upsert_vectors(Entry(f"d{n}", SparseVector([1], [float(n + 1)]), {}, None, (float(-n), 1.0, 0.0)) for n in range(10))
    hits = store.search_hybrid(SparseVector([1], [1.0]), (1.0, 0.0, 0.0), 10, prefetch=2, **fusion)
    assert {hit.doc_id for hit in hits} == {"d9", "d8", "d0", "d1"}
    assert len(store.search_hybrid(SparseVector([1], [1.0]), (1.0, 0.0, 0.0), 10, **fusion)) == 10
    assert len(store.search_hybrid(SparseVector([], []), (1.0, 0.0, 0.0), 10, **fusion)) == 10


@pytest.mark.parametrize("opened", WITH_DENSE, indirect=True)
def test_a_weight_of_0_is_the_sparse_ranking_and_one_of_1_the_dense_one(opened: Opened) -> None:
    empty(opened)
    store, order = opened(None), np.random.default_rng(2).permutation(30)
    store.upsert_vectors(Entry(f"d{n:02}", SparseVector([1], [n + 1.0]), {}, None, (float(order[n]), 1.0, 0.0)) for n in range(30))
    query, near = SparseVector([1], [1.0]), (1.0, 0.0, 0.0)
    sparse = [f"d{n:02}" for n in reversed(range(30))]
    dense = [f"d{n:02}" for n in np.argsort(-order)]
    for top_k, prefetch in ((10, 20), (30, 30), (30, 100)):
        assert [hit.doc_id for hit in store.search_hybrid(query, near, top_k, prefetch=prefetch, dense_weight=0)] == sparse[:top_k]
        assert [hit.doc_id for hit in store.search_hybrid(query, near, top_k, prefetch=prefetch, dense_weight=1)] == dense[:top_k]


def test_a_tie_across_the_end_of_the_page_is_cut_by_document_id(opened: Opened) -> None:
    empty(opened)
    store = opened(None)
    names = [f"n{i:03}" for i in range(120)]
    tied = SparseVector([1, 2], [0.5, 0.25])
    store.upsert_vectors((name, tied, {"name": name}) for name in reversed(names))
    store.upsert_vectors([("best", SparseVector([1, 2], [0.5, 0.5]), {})])
    for top_k in (1, 2, 10, 119, 120, 121, 1000):
        hits = store.search(SparseVector([1, 2], [1.0, 1.0]), top_k)
        assert [hit.doc_id for hit in hits] == ["best", *names][:top_k]
        assert all(hit.payload == ({"name": hit.doc_id} if hit.doc_id != "best" else {}) for hit in hits)


def test_scores_of_arbitrary_weights_are_within_float32(opened: Opened) -> None:
    empty(opened)
    store, random = opened(None), np.random.default_rng(3)
    vectors = {f"r{i}": SparseVector(random.choice(VOCABULARY, 12, replace=False), random.random(12) + 1e-3) for i in range(200)}
    store.upsert_vectors(vectors.items())
    query = SparseVector(random.choice(VOCABULARY, 12, replace=False), random.random(12) + 1e-3)
    expected = {doc_id: query.dot(vector) for doc_id, vector in vectors.items()}
    hits = store.search(query, 10_000)
    assert len(hits) == sum(score > 0 for score in expected.values())
    assert all(hit.score == pytest.approx(expected[hit.doc_id], rel=1e-6) for hit in hits)
    assert {doc_id: entry.vector for doc_id, entry in store.get(list(vectors)).items()} == vectors


# -- quantised indexes: the engine builds one only for a segment of some size ----------------------------------------


def _indexed(tmp_path: Any, datatype: str) -> tuple[Store, dict[str, SparseVector]]:
    random = np.random.default_rng(5)
    vectors = {f"d{n:05}": SparseVector(random.choice(400, 60, replace=False), random.random(60) * 3 + 0.01) for n in range(30_000)}
    store = open_store(
        f"edge:{tmp_path}", encoder=HashingEncoder(vocab_size=400), max_batch_documents=10_000, settings={"datatype": datatype}
    )
    store.upsert_vectors(vectors.items())
    store.finish_loading()
    return store, vectors


QUERY = SparseVector(range(0, 400, 5), np.linspace(0.1, 2.0, 80))


def test_float16_scores_are_those_of_rounded_weights(tmp_path: Any) -> None:
    """Or, in a segment too small to be indexed, of the weights as they are: how many segments there are hangs on the processors."""
    store, vectors = _indexed(tmp_path, "float16")
    with store:
        hits = store.search(QUERY, 10_000)
        assert len(hits) == 10_000
        for hit in hits:
            either = [QUERY.dot(float16(vectors[hit.doc_id])), QUERY.dot(vectors[hit.doc_id])]
            assert min(abs(hit.score / score - 1) for score in either) < 1e-6
        assert store.get(["d00007"])["d00007"].vector == vectors["d00007"]


def test_uint8_scores_are_within_half_a_step_of_each_weight(tmp_path: Any) -> None:
    """A term's weights are kept in 255 steps from the smallest to the largest of its segment, at most of the collection."""
    store, vectors = _indexed(tmp_path, "uint8")
    lows, highs = np.full(400, np.inf), np.zeros(400)
    for vector in vectors.values():
        lows[vector.term_ids] = np.minimum(lows[vector.term_ids], vector.weights)
        highs[vector.term_ids] = np.maximum(highs[vector.term_ids], vector.weights)
    half_steps = (highs - lows) / 255 / 2
    with store:
        hits = store.search(QUERY, 10_000)
        assert len(hits) == 10_000
        for hit in hits:
            vector = vectors[hit.doc_id]
            bound = QUERY.dot(SparseVector(vector.term_ids, half_steps[vector.term_ids]))
            assert abs(hit.score - QUERY.dot(vector)) <= bound + 1e-6 * hit.score
        assert store.get(["d00007"])["d00007"].vector == vectors["d00007"]
