"""Documents of several passages in every engine: stored, found, replaced and deleted as one, exactly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from splade_ptbr_connectors.stores.qdrant import QdrantStore
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.interrupted import of_length
from tests.support.operations import IDS
from tests.support.oracle import check_fused
from tests.support.passages import (
    LETTERS,
    TEXT_FILTERS,
    PassageOracle,
    agree,
    check_search,
    check_text_filter,
    document,
    documents,
    operations,
    queries,
)
from tests.unit.stores.test_congruence import DENSE, HYPOTHESIS, WITH_DENSE, Opened, dense, empty, opened

__all__ = ["opened"]


@given(operations=operations, queries=st.lists(queries, min_size=1, max_size=5))
@settings(max_examples=40, **HYPOTHESIS)
def test_documents_of_passages_agree_with_the_oracle(opened: Opened, operations: list[tuple[str, Any]], queries: list[Any]) -> None:
    empty(opened)
    agree(opened(None), PassageOracle(), operations, queries)


@given(turns=st.lists(st.tuples(st.sampled_from(["A", "B"]), operations), max_size=3), queries=st.lists(queries, min_size=1, max_size=3))
@settings(max_examples=15, **HYPOTHESIS)
def test_tenants_have_passages_of_their_own(opened: Opened, turns: list[Any], queries: list[Any]) -> None:
    empty(opened)
    oracle = PassageOracle()
    for tenant, turn in turns:
        agree(opened(tenant), oracle, turn, [], tenant)
    for tenant in ("A", "B", "C"):
        agree(opened(tenant), oracle, [], queries, tenant)
    assert opened(None).count() == len(oracle.contents)
    for vector, top_k, filter, group in queries:
        hits = opened(None).search(vector, top_k, filter=filter, group=group)
        found = [(hit.doc_id, hit.score) for hit in hits]
        assert sorted(found) == sorted(each[:2] for each in oracle.best(vector, top_k, filter, group=group)) or top_k < 10_000


def test_ties_and_deep_fetches_are_exact(opened: Opened) -> None:
    """One document holds all of the best passages, so that what is left of the best few would be that document alone."""
    empty(opened)
    store, oracle, term = opened(None), PassageOracle(), SparseVector([1], [1.0])
    many = document("b", [((n, n + 1), SparseVector([1], [2.0])) for n in range(80)], {})
    tied = [document(doc_id, [((0, 9), SparseVector([1], [1.5])), ((1, 5), SparseVector([1], [1.5]))], {}) for doc_id in "hgfedca"]
    for entries in ([many], tied, [document("0", [((0, 90), SparseVector([1], [1.0]))], {})]):
        store.upsert_vectors(entries)
        oracle.upsert(entries)
    for top_k in (1, 2, 3, 8, 9, 10):
        for group in (True, False):
            check_search(store, oracle, term, top_k, None, group)


@pytest.mark.parametrize("asked", TEXT_FILTERS, ids=str)
@pytest.mark.parametrize("tenant", [None, "A"])
def test_a_filter_on_the_text_is_one_on_the_document(opened: Opened, asked: dict[str, Any], tenant: str | None) -> None:
    """Further passages hold no text, and must not be found or deleted for that."""
    empty(opened)
    check_text_filter(opened(tenant), asked, tenant)


def test_documents_that_an_own_filter_of_qdrants_deletes_are_whole() -> None:
    """It may ask for what only first passages hold."""
    client, asked = QdrantClient(":memory:"), models.FieldCondition(key="text", match=models.MatchValue(value=LETTERS))
    with QdrantStore.from_client(client, "all", encoder=HashingEncoder(vocab_size=24)) as store:
        for filter, left in ((models.Filter(must_not=[asked]), ["a"]), (models.Filter(must=[asked]), [])):
            store.upsert_vectors([of_length(4, 1.0), of_length(1, 1.0)._replace(doc_id="b", payload={"text": "outro"})])
            store.delete_where(filter)
            store.delete(["b"])
            assert list(store.get(["a"])) == left
            assert client.count("all").count == (4 if left else 0)
    client.close()


def test_replaced_by_longer_and_shorter(opened: Opened) -> None:
    empty(opened)
    store = opened(None)
    for count in (3, 9, 1, 2, 80, 1):
        entry = document("a", [((n, n + 1), SparseVector([n % 20], [n + 1.0])) for n in range(count)], {"group": count})
        store.upsert_vectors([entry])
        assert store.get(["a"]) == {"a": entry} and store.count() == 1
        every = store.search(SparseVector(range(20), [1.0] * 20), 10_000, group=False)
        assert sorted(hit.passage.number for hit in every) == list(range(count))
        assert {hit.passage.text for hit in every} == ({LETTERS} if count == 1 else {LETTERS[n : n + 1] for n in range(count)})
    assert store.delete(["a", "b"]) == 1
    assert store.search(SparseVector(range(20), [1.0] * 20), 10_000, group=False) == []


@pytest.mark.parametrize("opened", WITH_DENSE, indirect=True)
@given(
    entries=st.lists(st.tuples(documents, dense | st.none()).map(lambda pair: pair[0]._replace(dense=pair[1])), max_size=8),
    query=st.dictionaries(st.integers(0, 23), st.floats(0.125, 5, width=32), min_size=1, max_size=8).map(SparseVector.from_dict),
    near=dense,
    top_k=st.integers(1, 9),
    dense_weight=st.sampled_from([0.25, 0.5]),
    tenant=st.sampled_from([None, "A"]),
)
@settings(max_examples=30, **HYPOTHESIS)
def test_hybrid_ranks_documents(
    opened: Opened, entries: Any, query: SparseVector, near: Any, top_k: int, dense_weight: float, tenant: str | None
) -> None:
    """The fusion is of documents, each by its best passage, and not of passages."""
    empty(opened)
    store, oracle = opened(tenant), PassageOracle()
    store.upsert_vectors(entries)
    oracle.upsert(entries, tenant)
    assert store.get(IDS) == {key[1]: entry for key, entry in oracle.entries.items()}
    sparse = [score for _, score in oracle.search(query, 10_000)]
    if len(set(sparse)) < len(sparse):
        return  # equal here, maybe not in the engine's float32
    hits = store.search_hybrid(query, near, top_k, prefetch=3, rrf_k=60)
    expected = oracle.search_hybrid(query, near, top_k, 3, 60, None, tenant)
    assert [hit.doc_id for hit in hits] == [doc_id for doc_id, _ in expected]
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected], rel=1e-6)
    summed = store.search_hybrid(query, near, top_k, prefetch=3, dense_weight=dense_weight)
    check_fused(summed, oracle.search_by_sum(query, near, 3, dense_weight, None, tenant), top_k)
    numbers = {doc_id: number for doc_id, _, number in oracle.best(query, 3, None, tenant)}
    assert [hit.passage.number for hit in (*hits, *summed)] == [numbers.get(hit.doc_id, 0) for hit in (*hits, *summed)]
    assert len(near) == DENSE
