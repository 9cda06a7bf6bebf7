"""Random operations on a store and on an exact oracle: the same ids, scores and payloads come back from both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.oracle import Oracle

VOCABULARY = 24
IDS = [*"abcdefgh", "ação", "A/../b", "0", "00", "d" * 512, "6a1fd2a4-6b0e-5d0c-9c39-3f2c5f7f1b8e"]

# eighths add up without rounding in float32, so that ties are ties and scores are equal, not nearly equal
weights = st.integers(1, 40).map(lambda n: n / 8)
vectors = st.dictionaries(st.integers(0, VOCABULARY - 1), weights, max_size=8).map(SparseVector.from_dict)
few_valued = st.dictionaries(st.integers(0, 2), st.just(1.0), max_size=2).map(SparseVector.from_dict)
# the engine's JSON reader may be off by the last bit of a float64 with many digits
years = st.integers(1990, 2020) | st.integers(3980, 4040).map(lambda n: n / 2 + 0.25)
payloads = st.fixed_dictionaries(
    {
        "group": st.integers(0, 2),
        "metadata": st.fixed_dictionaries(
            {"subject": st.sampled_from(["saúde", "culinária", "x'); DROP"]), "open": st.booleans()},
            optional={"year": years, "tags": st.lists(st.sampled_from("xyz"), max_size=2)},
        ),
    },
    optional={"palavra chave": st.integers(0, 1)},
)
entries = st.tuples(st.sampled_from(IDS), vectors | few_valued, payloads)
operations = st.lists(
    st.tuples(st.just("upsert"), st.lists(entries, max_size=12))
    | st.tuples(st.just("delete"), st.lists(st.sampled_from(IDS), max_size=4))
    | st.tuples(st.just("finish_loading"), st.none()),
    max_size=6,
)
filters = st.none() | st.sampled_from(
    [
        {},
        {"group": 1},
        {"group": [0, 2]},
        {"group": []},
        {"group": {"not": []}},
        {"group": {"not": [0, 1]}},
        {"metadata.subject": "saúde"},
        {"metadata.subject": ["culinária", "x'); DROP"], "group": {"gte": 1}},
        {"metadata.open": True},
        {"metadata.open": {"not": False}},
        {"metadata.tags": "x"},
        {"metadata.tags": {"not": ["x", "y"]}},
        {"metadata.year": {"gte": 2000, "lt": 2010.5}},
        {"metadata.year": {"gt": 1995, "lte": 2015, "not": [2001]}},
        {"palavra chave": 1},
        {"missing.field": "a"},
        {"missing.field": {"not": "a"}},
        {"group": "1"},
        {"group": [True, 1, "saúde"]},
    ]
)
queries = st.tuples(vectors | few_valued, st.sampled_from([1, 2, 3, 5, 10_000]), filters)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    encoder = HashingEncoder(vocab_size=VOCABULARY)
    with open_store(f"edge:{tmp_path_factory.mktemp('congruence')}", encoder=encoder, batch_size=4) as opened:
        yield opened


@given(operations=operations, queries=st.lists(queries, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_store_agrees_with_the_oracle(shared: Store, operations: list[tuple[str, Any]], queries: list[Any]) -> None:
    shared.delete(IDS)
    oracle = Oracle()
    for name, argument in operations:
        if name == "upsert":
            assert shared.upsert_vectors(argument) == len(argument)
            oracle.upsert(argument)
        elif name == "delete":
            assert shared.delete(argument) == oracle.delete(argument)
        else:
            shared.finish_loading()
    assert shared.count() == len(oracle.documents)
    assert {i: (e.vector, e.payload) for i, e in shared.get(IDS).items()} == oracle.documents
    for vector, top_k, filter in queries:
        hits = shared.search(vector, top_k, filter=filter)
        assert [(hit.doc_id, hit.score) for hit in hits] == oracle.search(vector, top_k, filter)
        assert all(hit.payload == oracle.documents[hit.doc_id][1] for hit in hits)


def test_a_tie_across_the_end_of_the_page_is_cut_by_document_id(shared: Store) -> None:
    shared.delete(IDS)
    names = [f"n{i:03}" for i in range(300)]
    tied = SparseVector([1, 2], [0.5, 0.25])
    shared.upsert_vectors((name, tied, {"name": name}) for name in reversed(names))
    shared.upsert_vectors([("best", SparseVector([1, 2], [0.5, 0.5]), {})])
    for top_k in (1, 2, 10, 299, 300, 301, 1000):
        hits = shared.search(SparseVector([1, 2], [1.0, 1.0]), top_k)
        assert [hit.doc_id for hit in hits] == ["best", *names][:top_k]
        assert all(hit.payload == ({"name": hit.doc_id} if hit.doc_id != "best" else {}) for hit in hits)
    shared.delete([*names, "best"])


def test_scores_of_arbitrary_weights_are_within_float32(shared: Store) -> None:
    import numpy as np

    random = np.random.default_rng(3)
    vectors = {f"r{i}": SparseVector(random.choice(VOCABULARY, 12, replace=False), random.random(12) + 1e-3) for i in range(200)}
    shared.upsert_vectors(vectors.items())
    query = SparseVector(random.choice(VOCABULARY, 12, replace=False), random.random(12) + 1e-3)
    expected = {doc_id: query.dot(vector) for doc_id, vector in vectors.items()}
    hits = [hit for hit in shared.search(query, 10_000) if hit.doc_id in expected]
    assert len(hits) == sum(score > 0 for score in expected.values())
    assert all(hit.score == pytest.approx(expected[hit.doc_id], rel=1e-6) for hit in hits)
    shared.delete(vectors)
