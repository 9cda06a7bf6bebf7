"""Random operations on a store, for hypothesis, and `agree`, which runs them on a store and on the oracle.

Every engine's congruence test draws from these strategies: the embedded store and Qdrant in tests/unit/stores/test_congruence.py,
the servers in tests/servers_qdrant and tests/servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from splade_ptbr_connectors.stores.base import Hit, Store
from splade_ptbr_connectors.stores.remote import RemoteStore
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.filtering import NANOSECONDS
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
            optional={"year": years, "tags": st.lists(st.sampled_from("xyz"), max_size=2), "v.1": st.integers(0, 1)},
        ),
    },
    optional={
        "palavra chave": st.integers(0, 1),
        "tb_9.6": st.sampled_from(["keep", "drop"]),
        "metadata.closed": st.booleans(),
        "x[0]": st.integers(0, 1),
        "": st.integers(0, 1),
        "ns": st.sampled_from([0, 2**53, 2**53 + 1, NANOSECONDS, NANOSECONDS + 1, 2**63 - 1, 2.0**53, 2.0**63]),
    },
)
entries = st.tuples(st.sampled_from(IDS), vectors | few_valued, payloads)
FILTERS: list[dict[str, Any]] = [
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
    {"tb_9.6": "keep"},
    {'"tb_9.6"': {"not": "keep"}},
    {"tb_9.6": {"not": ["drop", "x"]}},
    {"metadata.v.1": 1, "metadata.closed": {"not": True}},
    {'metadata."v.1"': {"gte": 0}},
    {'"metadata.closed"': False},
    {'metadata."closed"': True},
    {'"x[0]"': {"not": 1}, '""': {"not": 0}},
    {"ns": NANOSECONDS},
    {"ns": {"gt": 2**53}},
    {"ns": {"lte": 2**53, "not": 0}},
    {"ns": {"gte": NANOSECONDS + 1}},
    {"ns": {"gte": NANOSECONDS, "lt": NANOSECONDS + 1}},
    {"ns": {"lt": 2**63 - 1}},
    {"$or": [{"group": 1}, {"$not": {"group": 1}}]},
    {"$or": [{"metadata.subject": "saúde"}, {"ns": None}, {"group": 2, "palavra chave": 1}]},
    {"$not": {"$or": [{"group": 0}, {"metadata.tags": "x"}]}},
    {"$not": {"missing.field": "a"}},
    {"ns": {"exists": True}, "$and": [{"ns": {"not": 0}}, {"metadata.year": {"not": None}}]},
]
filters = st.none() | st.sampled_from(FILTERS)
operations = st.lists(
    st.tuples(st.just("upsert"), st.lists(entries, max_size=12))
    | st.tuples(st.just("delete"), st.lists(st.sampled_from(IDS), max_size=4))
    | st.tuples(st.just("delete_where"), st.sampled_from([filter for filter in FILTERS if filter]))
    | st.tuples(st.just("finish_loading"), st.none()),
    max_size=6,
)
queries = st.tuples(vectors | few_valued, st.sampled_from([1, 2, 3, 5, 10_000]), filters)


@dataclass(frozen=True)
class Way:
    """How a store is read: by its blocking methods or by the asynchronous ones."""

    name: str
    search: Callable[..., list[Hit]]
    search_hybrid: Callable[..., list[Hit]]
    get: Callable[..., Mapping[str, Any]]


def _awaited(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    async def call(store: Store, *arguments: Any, **named: Any) -> Any:
        try:
            return await method(store, *arguments, **named)
        finally:
            await close_async_client(store)

    return lambda *arguments, **named: asyncio.run(call(*arguments, **named))


async def close_async_client(store: Store) -> None:
    """Close the client of this event loop, not the store, which has other loops to come."""
    if isinstance(store, RemoteStore):
        await store._connection.aclose()


BLOCKING = Way("blocking", Store.search, Store.search_hybrid, Store.get)
ASYNC = Way("async", _awaited(Store.asearch), _awaited(Store.asearch_hybrid), _awaited(Store.aget))


def perform(store: Store, oracle: Any, operations: Sequence[tuple[str, Any]], tenant: str | None) -> None:
    """Do every operation on both, and assert that both say the same of it."""
    for name, argument in operations:
        if name == "upsert":
            assert store.upsert_vectors(argument) == len(argument)
            oracle.upsert(argument, tenant)
        elif name == "delete":
            assert store.delete(argument) == oracle.delete(list(dict.fromkeys(argument)), tenant)
        elif name == "delete_where":
            assert store.delete_where(argument) == oracle.delete_where(argument, tenant)
        else:
            store.finish_loading()


def agree(
    store: Store,
    oracle: Oracle,
    operations: Sequence[tuple[str, Any]],
    queries: Sequence[Any],
    way: Way = BLOCKING,
    tenant: str | None = None,
) -> None:
    """Assert that the store does, finds and holds what the oracle does, after every operation done on both.

    Args:
        tenant: the store's; None for one that sees everything.
    """
    perform(store, oracle, operations, tenant)
    held = oracle.of(tenant)
    assert store.count() == oracle.count(None, tenant)
    assert {i: (e.vector, e.payload) for i, e in way.get(store, IDS).items()} == held
    if tenant is not None or len(oracle.contents) == len(held):
        assert {entry.doc_id: (entry.vector, entry.payload) for entry in store.scan(page_size=3)} == held
    for vector, top_k, filter in queries:
        hits = way.search(store, vector, top_k, filter=filter)
        assert [(hit.doc_id, hit.score) for hit in hits] == oracle.search(vector, top_k, filter, tenant)
        bare = way.search(store, vector, top_k, filter=filter, with_payload=False)
        assert bare == [hit._replace(payload={}) for hit in hits]
        assert store.count(filter=filter) == oracle.count(filter, tenant)
        if tenant is not None or len(oracle.contents) == len(held):
            assert all(hit.payload == held[hit.doc_id][1] for hit in hits)
