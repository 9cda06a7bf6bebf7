"""Filters of every kind: each engine lets pass what an oracle does that reads the mapping and the payload alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from splade_ptbr_connectors.filters import MAX_NESTED, parse_filter
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.opensearch.filters import restrict_to_tenant
from splade_ptbr_connectors.stores.opensearch.wire import facets
from splade_ptbr_connectors.stores.predicates import test_of as matching
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.filter_oracle import passes
from tests.support.filters import clauses_pass, filters, payloads
from tests.support.qdrant_grpc import grpc_stand_in
from tests.support.qdrant_server import stand_in

VECTOR = SparseVector([5], [1.0])
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
HYPOTHESIS: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@given(payloads, filters)
@example({"a": 1.0}, {"a": 1})
@example({"a": 1}, {"a": 1.0})
@example({"a": True}, {"a": [1, 1.0]})
@example({"a": [None]}, {"a": {"exists": True}})
@example({"m": {}}, {"m": None})
@example({"d.1": 2}, {"d": None, "$not": {"d.1": None}})
@example({"a": "2024-03-01"}, {"a": "2024-03-01T00:00:00Z"})
@settings(max_examples=1000, **HYPOTHESIS)
def test_python_and_the_terms_of_opensearch(payload: dict[str, Any], filter: dict[str, Any]) -> None:
    parsed, expected = parse_filter(filter), passes(filter, payload)
    assert matching(parsed)(payload) == expected
    assert clauses_pass(restrict_to_tenant(parsed, None), facets(payload)) == expected


@pytest.fixture(scope="module", params=["edge", "numba", "qdrant local", "qdrant http", "qdrant grpc"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    encoder = HashingEncoder(vocab_size=24)
    if request.param in ("edge", "numba"):
        with open_store(f"{request.param}:{tmp_path_factory.mktemp('filters')}", encoder=encoder) as opened:
            yield opened
    elif request.param == "qdrant local":
        client = QdrantClient(":memory:")
        yield QdrantStore.from_client(client, "all", encoder=encoder)
        client.close()
    else:
        with grpc_stand_in() if request.param == "qdrant grpc" else stand_in() as server:
            with open_store(f"qdrant+{server.url}/all", encoder=encoder) as opened:
                yield opened


@given(st.lists(payloads, min_size=1, max_size=12), st.lists(filters, min_size=1, max_size=12))
@settings(max_examples=40, phases=PHASES, **HYPOTHESIS)
def test_stores(store: Store, payloads: list[dict[str, Any]], filters: list[dict[str, Any]]) -> None:
    store.delete([str(n) for n in range(12)])
    store.upsert_vectors([(str(n), VECTOR, payload) for n, payload in enumerate(payloads)])
    for filter in filters:
        expected = {str(n) for n, payload in enumerate(payloads) if passes(filter, payload)}
        assert {hit.doc_id for hit in store.search(VECTOR, 99, filter=filter)} == expected, filter
        assert store.count(filter=filter) == len(expected)


def test_as_many_levels_as_are_accepted(store: Store) -> None:
    store.delete([str(n) for n in range(12)])
    store.upsert_vectors([("0", VECTOR, {"a": 1}), ("1", VECTOR, {"a": 2})])
    filter: dict[str, Any] = {"a": {"not": [1.5, "x", None, 2]}}
    for level in range(MAX_NESTED):
        filter = [
            {"b": None, "$or": [filter, {"a": 7}]},
            {"$and": [filter], "$not": {"a": 8, "b": 1}},
            {"$or": [filter, {"b": 1, "a": 1}]},
        ][level % 3]
    assert [hit.doc_id for hit in store.search(VECTOR, filter=filter)] == ["0"]
