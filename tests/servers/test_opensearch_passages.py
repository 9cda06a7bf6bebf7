"""Documents of several passages on a real OpenSearch: found, replaced and deleted as one, exactly; what is cut off does not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.stores import open_store, replacement
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore, query
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.interrupted import Interrupter, check_interruptions, of_length, state
from tests.support.operations import VOCABULARY
from tests.support.passages import TEXT_FILTERS, PassageOracle, agree, check_search, check_text_filter, document, operations, queries
from tests.unit.stores.test_congruence import HYPOTHESIS

Opened = Callable[[str | None], Store]


@pytest.fixture(scope="module")
def opened(opensearch_url: str) -> Iterator[Opened]:
    """Opens one index for a tenant, or for none."""
    stores: dict[str | None, Store] = {}

    def opens(tenant: str | None = None) -> Store:
        if tenant not in stores:
            url = f"opensearch+{opensearch_url}/passages"
            encoder = HashingEncoder(vocab_size=VOCABULARY)
            stores[tenant] = open_store(url, encoder=encoder, tenant=tenant, max_batch_documents=4, settings={"replicas": 0})
        return stores[tenant]

    yield opens
    for store in stores.values():
        store.close()


def seen(opened: Opened) -> Opened:
    """Each store sees what the others wrote: it takes the server's next refresh otherwise."""

    def fresh(tenant: str | None = None) -> Store:
        store = opened(tenant)
        store._operations.unseen = True  # type: ignore[attr-defined]
        return store

    return fresh


def empty(opened: Opened) -> None:
    opened(None).delete_where({"anything": {"not": "at all"}})
    assert opened(None).count() == 0


@given(operations=operations, queries=st.lists(queries, min_size=1, max_size=5))
@settings(max_examples=25, **HYPOTHESIS)
def test_documents_of_passages_agree_with_the_oracle(opened: Opened, operations: list[tuple[str, Any]], queries: list[Any]) -> None:
    empty(seen(opened))
    agree(opened(None), PassageOracle(), operations, queries)


@given(turns=st.lists(st.tuples(st.sampled_from(["A", "B"]), operations), max_size=3), queries=st.lists(queries, min_size=1, max_size=3))
@settings(max_examples=10, **HYPOTHESIS)
def test_tenants_have_passages_of_their_own(opened: Opened, turns: list[Any], queries: list[Any]) -> None:
    fresh, oracle = seen(opened), PassageOracle()
    empty(fresh)
    for tenant, turn in turns:
        agree(fresh(tenant), oracle, turn, [], tenant)
    for tenant in ("A", "B", "C"):
        agree(fresh(tenant), oracle, [], queries, tenant)
    assert fresh(None).count() == len(oracle.contents)
    for vector, top_k, filter, group in queries:
        hits = fresh(None).search(vector, top_k, filter=filter, group=group)
        found = sorted((hit.doc_id, hit.score) for hit in hits)
        assert found == sorted(each[:2] for each in oracle.best(vector, top_k, filter, group=group)) or top_k < 10_000


def test_ties_and_fetches_beyond_a_page_are_exact(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "MAX_PAGE", 7)
    empty(seen(opened))
    store, oracle, term = opened(None), PassageOracle(), SparseVector([1], [1.0])
    entries = [
        document("b", [((n, n + 1), SparseVector([1], [2.0])) for n in range(40)], {}),
        *[document(doc_id, [((0, 9), SparseVector([1], [1.5])), ((1, 5), SparseVector([1], [1.5]))], {}) for doc_id in "hgfedca"],
    ]
    store.upsert_vectors(entries)
    oracle.upsert(entries)
    for top_k in (1, 2, 7, 8, 9):
        for group in (True, False):
            check_search(store, oracle, term, top_k, None, group)


@pytest.mark.parametrize("asked", TEXT_FILTERS, ids=str)
@pytest.mark.parametrize("tenant", [None, "A"])
def test_a_filter_on_the_text_is_one_on_the_document(opened: Opened, asked: dict[str, Any], tenant: str | None) -> None:
    fresh = seen(opened)
    empty(fresh)
    check_text_filter(fresh(tenant), asked, tenant)


def test_a_write_that_is_cut_off(opener: Callable[..., OpenSearchStore], raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacement, "LEFT_OVER_S", -60)
    store, interrupter = opener(), Interrupter()
    client: Any = store._connection.client
    monkeypatch.setattr(client, "bulk", interrupter(client.bulk))

    def documents() -> int:
        raw.indices.refresh(index=store.collection)
        return int(raw.count(index=store.collection)["count"])

    check_interruptions(store, interrupter, documents)


def test_what_another_process_may_be_writing_is_not_swept(opener: Callable[..., OpenSearchStore], raw: Any) -> None:
    store = opener()
    store.upsert_vectors([of_length(3, 1.0)])
    raw.delete(index=store.collection, id="a", params={"refresh": "true"})
    assert state(store) is None and store.sweep() == 0
    assert raw.count(index=store.collection)["count"] == 2


def test_an_index_of_before_keeps_whole_documents(opener: Callable[..., OpenSearchStore]) -> None:
    store = opener(passages=False)
    store.upsert_vectors([of_length(1, 1.0)])
    assert store.passage_settings is None and state(store) == of_length(1, 1.0)
