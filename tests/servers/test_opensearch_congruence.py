"""Random operations on an OpenSearch index and on an exact oracle: the same ids, the same scores bit by bit, the same payloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.filtering import CHECKS
from tests.support.quantised import RankFeaturesOracle, rank_features_score

VOCABULARY = 24
IDS = [*"abcdefgh", "ação", "A/../b", "0", "00", "..", "_id", 'q"\\\n\t*?', "😀", "d" * 512, "6a1fd2a4-6b0e-5d0c-9c39-3f2c5f7f1b8e"]
SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), 64.0

weights = st.floats(2**-20, LARGEST, width=32) | st.integers(1, 40).map(lambda n: n / 8) | st.just(SMALLEST)
vectors = st.dictionaries(st.integers(0, VOCABULARY - 1), weights, max_size=8).map(SparseVector.from_dict)
few_valued = st.dictionaries(st.integers(0, 2), st.just(1.0), max_size=2).map(SparseVector.from_dict)
big = st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63 - 2, 2.0**63, -(2**53) - 1, -(2**63), -(2**63) + 1])
years = st.integers(1990, 2020) | st.floats(-1e6, 1e6, allow_nan=False) | st.sampled_from([0.0, -0.0, 0, -1, 1e300, -1e-300]) | big
payloads = st.fixed_dictionaries(
    {
        "group": st.sampled_from([0, 1, 2, 1.0, True, False, "1", "true", None]),
        "metadata": st.fixed_dictionaries(
            {"subject": st.sampled_from(["saúde", "culinária", "x'); DROP", "", "l" * 300, "l" * 301]), "open": st.booleans()},
            optional={"year": years, "tags": st.lists(st.sampled_from(["x", "y", "z", 1, 1.5, None, ["x"], {"x": "x"}]), max_size=3)},
        ),
    },
    optional={
        "palavra chave": st.integers(0, 1),
        "metadata.closed": st.just("a name with a dot"),
        "tb_9.6": st.sampled_from(["keep", "drop"]),
        "x[0]": st.integers(0, 1),
        "a=s:b": st.just("c"),
        "a": st.sampled_from(["s:b=s:c", "b=s:c", [], {}, [[]], 2**63 - 1]),
        "n" * 200: st.integers(0, 1),
    },
)
entries = st.tuples(st.sampled_from(IDS), vectors | few_valued, payloads)
operations = st.lists(
    st.tuples(st.just("upsert"), st.lists(entries, max_size=12))
    | st.tuples(st.just("delete"), st.lists(st.sampled_from(IDS), max_size=4))
    | st.tuples(st.just("finish_loading"), st.none()),
    max_size=4,
)
bounds = years
filters = (
    st.none()
    | st.sampled_from(
        [
            {},
            {"group": 1},
            {"group": [0, 2]},
            {"group": []},
            {"group": {"not": []}},
            {"group": {"not": [0, 1]}},
            {"group": {"gte": 0}},
            {"metadata.subject": "saúde"},
            {"metadata.subject": ""},
            {"metadata.subject": "l" * 300},
            {"metadata.subject": {"not": "l" * 301}},
            {"metadata.subject": ["culinária", "x'); DROP"], "group": {"gte": 1}},
            {"metadata.open": True},
            {"metadata.open": {"not": False}},
            {"metadata.open": "a name with a dot"},
            {"metadata.closed": "a name with a dot"},
            {'"metadata.closed"': "a name with a dot"},
            {'metadata."closed"': {"not": "a name with a dot"}},
            {"tb_9.6": {"not": "keep"}},
            {'"x[0]"': 1},
            {"metadata.tags": "x"},
            {"metadata.tags": 1},
            {"metadata.tags": {"gt": 1}},
            {"metadata.tags": {"not": ["x", "y"]}},
            {"metadata.tags.x": "x"},
            {"metadata.year": {"gte": 2000, "lt": 2010.5}},
            {"metadata.year": {"gt": 2005, "lte": 2005}},
            {"metadata.year": {"gt": 1995, "gte": 1995, "lte": 2015, "lt": 2015, "not": [2001]}},
            {"metadata.year": [2**63 - 1, -(2**63), 2**53 + 1]},
            {"palavra chave": 1},
            {"n" * 200: 1},
            {"n" * 200: {"lt": 1}},
            {"missing.field": "a"},
            {"missing.field": {"not": "a"}},
            {"missing.field": {"gt": -1e308}},
            {"group": "1"},
            {"group": "true"},
            {"group": [True, 1, "saúde"]},
            {"a": "b=s:c"},
            {"a=s:b": "c"},
            {"a": {"gt": 2.0**62}},
            {"metadata.year": {"lt": 2**63, "gte": 2**63 - 1}},
        ]
    )
    | st.builds(lambda key, bound: {"metadata.year": {key: bound}}, st.sampled_from(["gt", "gte", "lt", "lte"]), bounds)
)
queries = st.tuples(vectors | few_valued, st.sampled_from([1, 2, 3, 5, 10_000]), filters)


LAYOUTS = {
    "default": {},
    "3 shards, 4 fields": {"shards": 3, "terms_per_field": 7},
    "one field": {"terms_per_field": 0},
}


@pytest.fixture(scope="module", params=LAYOUTS)
def shared(request: pytest.FixtureRequest, opensearch_url: str, raw: Any) -> Iterator[OpenSearchStore]:
    url = f"opensearch+{opensearch_url}/congruence-{list(LAYOUTS).index(request.param)}"
    options: dict[str, Any] = {"encoder": HashingEncoder(vocab_size=VOCABULARY), "max_batch_documents": 4}
    with open_store(url, **options, settings={"replicas": 0, **LAYOUTS[request.param]}) as opened:
        assert isinstance(opened, OpenSearchStore)
        yield opened
    raw.indices.delete(index=opened.collection)


@given(operations=operations, queries=st.lists(queries, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_store_agrees_with_the_oracle(shared: OpenSearchStore, operations: list[tuple[str, Any]], queries: list[Any]) -> None:
    shared.delete(IDS)
    oracle = RankFeaturesOracle()
    for name, argument in operations:
        if name == "upsert":
            assert shared.upsert_vectors(argument) == len(argument)
            oracle.upsert(argument)
        elif name == "delete":
            assert shared.delete(argument) == oracle.delete(argument)
        else:
            shared.finish_loading()
    assert shared.count() == len(oracle.documents)
    expected = {doc_id: (vector, exactly(payload)) for doc_id, (vector, payload) in oracle.documents.items()}
    assert {doc_id: (entry.vector, exactly(entry.payload)) for doc_id, entry in shared.get(IDS).items()} == expected
    assert {entry.doc_id: (entry.vector, exactly(entry.payload)) for entry in shared.scan(page_size=2)} == expected
    for vector, top_k, filter in queries:
        hits = shared.search(vector, top_k, filter=filter)
        assert [(hit.doc_id, hit.score) for hit in hits] == oracle.search(vector, top_k, filter)
        assert all(exactly(hit.payload) == expected[hit.doc_id][1] for hit in hits)
        assert shared.count(filter=filter or {}) == oracle.count(filter)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_filters_and_payloads_mean_the_same(shared: OpenSearchStore, check: Callable[[Store], None]) -> None:
    shared.delete_where({"anything": {"not": "at all"}})
    check(shared)
    shared.delete_where({"anything": {"not": "at all"}})


def exactly(value: Any) -> Any:
    """A form in which 1, 1.0 and True differ, as do 0.0 and -0.0."""
    if isinstance(value, dict):
        return {name: exactly(item) for name, item in value.items()}
    return [exactly(item) for item in value] if isinstance(value, list) else (type(value).__name__, repr(value))


def test_scores_of_arbitrary_weights_are_equal_bit_by_bit(shared: OpenSearchStore) -> None:
    random = np.random.default_rng(3)
    shared.delete(IDS)

    def vector(size: int) -> SparseVector:
        bits = random.integers(0x3C000000, 0x42800000, size).astype(np.int32)  # 2**-7 to 64, every bit of a float32 in use
        return SparseVector(random.choice(VOCABULARY, size, replace=False), bits.view(np.float32))

    vectors = {f"r{i:04}": vector(12) for i in range(1500)}
    shared.upsert_vectors(vectors.items())
    for _ in range(20):
        query = vector(10)
        expected = {doc_id: rank_features_score(query, document) for doc_id, document in vectors.items()}
        ranked = sorted((-score, doc_id) for doc_id, score in expected.items() if score)
        for top_k in (10, 10_000):
            hits = shared.search(query, top_k)
            assert [(-hit.score, hit.doc_id) for hit in hits] == ranked[:top_k]
    assert {doc_id: entry.vector for doc_id, entry in shared.get(list(vectors)).items()} == vectors
    shared.delete(vectors)


def test_every_float32_comes_back_bit_by_bit(shared: OpenSearchStore) -> None:
    bits = np.random.default_rng(0).integers(0x00800000, 0x7F7FFFFF, (100, VOCABULARY)).astype(np.int32)
    vectors = {f"f{i}": SparseVector(np.arange(VOCABULARY), row.view(np.float32)) for i, row in enumerate(bits)}
    shared.upsert_vectors(vectors.items())
    assert {doc_id: entry.vector for doc_id, entry in shared.get(list(vectors)).items()} == vectors
    one = SparseVector([3], [1.0])
    scores = {hit.doc_id: hit.score for hit in shared.search(one, 10_000) if hit.doc_id in vectors}
    assert scores == {doc_id: rank_features_score(one, vector) for doc_id, vector in vectors.items()}
    assert all(shared.quantized(vector).dot(one) == scores[doc_id] for doc_id, vector in vectors.items())
    shared.delete(vectors)


def test_a_tie_across_the_end_of_the_page_is_cut_by_document_id(shared: OpenSearchStore) -> None:
    shared.delete(IDS)
    names = [f"n{i:05}" for i in range(10_100)]
    tied = SparseVector([1, 2], [0.5, 0.25])
    with shared.loading():
        for start in range(0, len(names), 1000):
            shared.load([(name, tied, {"name": name}) for name in reversed(names[start : start + 1000])])
        shared.load([("best", SparseVector([1, 2], [0.5, 0.5]), {})])
    shared.finish_loading()
    for top_k in (1, 2, 10, 299, 1001, 10_000):
        hits = shared.search(SparseVector([1, 2], [1.0, 1.0]), top_k)
        assert [hit.doc_id for hit in hits] == ["best", *names][:top_k]
        assert all(hit.payload == ({"name": hit.doc_id} if hit.doc_id != "best" else {}) for hit in hits)
    assert sorted(entry.doc_id for entry in shared.scan(with_vectors=False)) == sorted(["best", *names])
    assert shared.delete_where({"name": {"not": "n00000"}}) == len(names)
    assert shared.delete(["n00000"]) == 1
