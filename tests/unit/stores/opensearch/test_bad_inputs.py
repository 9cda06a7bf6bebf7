"""What the other stores refuse before anything is sent, this one refuses too."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore
from tests.unit.stores.opensearch.stand_in import StandIn
from tests.unit.stores.test_bad_inputs import BAD_ENTRIES, VECTOR


@pytest.mark.parametrize("bad", [*BAD_ENTRIES, ("a", VECTOR, {}, "h", (1.0, 2.0))], ids=lambda bad: f"{bad!r:.40}")
async def test_a_bad_entry_keeps_its_batch_from_the_server(store: OpenSearchStore, server: StandIn, bad: Any) -> None:
    before = len(server.seen)
    with pytest.raises(errors.InputError):
        store.upsert_vectors([("good", VECTOR), bad])
    with pytest.raises(errors.InputError):
        store.load([bad])
    with pytest.raises(errors.InputError):
        await store.aload([bad])
    assert len(server.seen) == before


@pytest.mark.parametrize("doc_id", ["", None, 3, "i" * 600, "\ud800"])
def test_a_bad_id_is_not_asked_for(store: OpenSearchStore, server: StandIn, doc_id: Any) -> None:
    before = len(server.seen)
    for use in (lambda: store.get([doc_id]), lambda: store.exists(doc_id), lambda: store.delete([doc_id])):
        with pytest.raises(errors.InputError):
            use()
    assert len(server.seen) == before


@pytest.mark.parametrize("top_k", [0, -1, 10_001, 10**9, 2.0, "3", None, True, float("nan")])
def test_a_bad_top_k_is_not_searched_for(store: OpenSearchStore, server: StandIn, top_k: Any) -> None:
    before = len(server.seen)
    with pytest.raises(errors.ConfigError, match="top_k"):
        store.search(VECTOR, top_k)
    assert len(server.seen) == before


@pytest.mark.parametrize(
    "filter", [{"a": float("nan")}, {"a": {"about": 3}}, {"a..b": 1}, {"a": "\ud800"}, {"a": 2**70}, "a = 1", 3], ids=repr
)
def test_a_bad_filter_is_not_sent(store: OpenSearchStore, server: StandIn, filter: Any) -> None:
    before = len(server.seen)
    for use in (lambda: store.search(VECTOR, filter=filter), lambda: store.count(filter=filter), lambda: store.delete_where(filter)):
        with pytest.raises(errors.ConfigError):
            use()
    assert len(server.seen) == before


def test_a_dense_query_has_nothing_to_search(store: OpenSearchStore) -> None:
    with pytest.raises(errors.ConfigError, match="no dense vectors"):
        store.search_hybrid(VECTOR, (1.0, 2.0))


@pytest.mark.parametrize(
    "filter", [{"a": {"exists": True}}, {"a": None}, {"$not": {"$or": [{"a": {"lt": "2024-01-01"}}, {"b": 1}]}}], ids=repr
)
def test_an_index_of_an_earlier_version_is_not_asked_for_dates_and_existence(store: OpenSearchStore, server: StandIn, filter: Any) -> None:
    store._operations.index = dataclasses.replace(store._operations.index, facet_scheme=None)
    before = len(server.seen)
    for use in (lambda: store.search(VECTOR, filter=filter), lambda: store.count(filter=filter), lambda: store.delete_where(filter)):
        with pytest.raises(errors.StoreFormatError, match="filled by an earlier version"):
            use()
    assert len(server.seen) == before
    assert store.search(VECTOR, filter={"a": 1, "b": {"gt": 2.5}}) == []
