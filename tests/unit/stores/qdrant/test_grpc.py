"""The same over gRPC: status codes instead of HTTP's, and what the protocol cannot carry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from pydantic import SecretStr

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry
from splade_ptbr_connectors.stores.credentials import Credentials, InsecureConnectionWarning
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from splade_ptbr_connectors.stores.retries import RetryPolicy
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_grpc import GrpcStandIn, RpcFault, grpc_stand_in
from tests.support.qdrant_server import stand_in

Code = grpc.StatusCode
ENTRIES = [Entry(f"d{n}", SparseVector([1, 2 + n], [1.0, 0.5]), {"n": n}, f"{n:032x}") for n in range(20)]
TOO_LARGE = "Error, decoded message length too large: found 67108900 bytes, the limit is: 33554432 bytes"


@pytest.fixture
def server() -> Iterator[GrpcStandIn]:
    with grpc_stand_in() as running:
        yield running


@pytest.fixture
def store(server: GrpcStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantStore]:
    monkeypatch.setattr(RetryPolicy, "_wait", lambda self: lambda state: 0.001)
    with open_store(f"qdrant+{server.url}/laws?load_deadline_s=5&deadline_s=5", encoder=HashingEncoder()) as opened:
        assert isinstance(opened, QdrantStore)
        yield opened


def assert_complete(store: QdrantStore) -> None:
    assert store.count() == len(ENTRIES)
    assert store.get([entry.doc_id for entry in ENTRIES]) == {entry.doc_id: entry for entry in ENTRIES}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "async"])
@pytest.mark.parametrize(
    "fault",
    [
        RpcFault(Code.UNAVAILABLE),
        RpcFault(Code.UNAVAILABLE, after=True),
        RpcFault(Code.DEADLINE_EXCEEDED, after=True),
        RpcFault(Code.INTERNAL, "Received RST_STREAM with error code 2", after=True),
        RpcFault(Code.UNKNOWN, "Stream removed"),
        RpcFault(Code.RESOURCE_EXHAUSTED, "rate limit"),
        RpcFault(Code.RESOURCE_EXHAUSTED, "rate limit", retry_after="1"),
        RpcFault(Code.RESOURCE_EXHAUSTED, TOO_LARGE),
        RpcFault(Code.OUT_OF_RANGE, TOO_LARGE),
    ],
    ids=lambda fault: f"{fault.code.name}-{fault.after}-{fault.retry_after}",
)
def test_a_load_survives_what_passes(store: QdrantStore, server: GrpcStandIn, fault: RpcFault, asynchronous: bool) -> None:
    server.faults = [fault]
    if asynchronous:
        asyncio.run(_aload(store))
    else:
        assert store.load(ENTRIES) == []
    assert not server.faults
    assert_complete(store)


async def _aload(store: QdrantStore) -> None:
    assert await store.aload(ENTRIES) == []
    await store._connection.async_clients.pop(asyncio.get_running_loop()).close()


@pytest.mark.parametrize(
    ("code", "details", "error"),
    [
        (Code.UNAUTHENTICATED, "Must provide an API key", errors.StoreAccessError),
        (Code.PERMISSION_DENIED, "Forbidden", errors.StoreAccessError),
        (Code.NOT_FOUND, "Not found: Collection `laws` doesn't exist!", errors.StoreNotFoundError),
        (Code.INTERNAL, "Service internal error: broken", errors.StoreUnavailableError),
        (Code.INTERNAL, "No space left on device", errors.StoreWriteError),
        (Code.INVALID_ARGUMENT, "Wrong input: Not existing vector name error: splade", errors.StoreFormatError),
        (Code.FAILED_PRECONDITION, "Storage locked: backup until noon", errors.StoreWriteError),
        (Code.FAILED_PRECONDITION, "Pre-condition failure: no leader", errors.StoreUnavailableError),
        (Code.UNIMPLEMENTED, "", errors.StoreFormatError),
    ],
)
def test_what_does_not_pass_is_not_tried_again(store: QdrantStore, server: GrpcStandIn, code: Any, details: str, error: Any) -> None:
    """Nor is a batch halved and its documents refused one by one for what is wrong with the server."""
    server.faults = [RpcFault(code, details)]
    before = len(server.seen)
    with pytest.raises(error):
        store.load(ENTRIES)
    assert len(server.seen) == before + 1


def test_the_largest_integer_that_the_protocol_carries(store: QdrantStore) -> None:
    assert store.load([*ENTRIES, ("large", SparseVector([1], [1.0]), {"n": 2**63 - 1, "m": -(2**63)})]) == []
    assert store.get(["large"])["large"].payload == {"n": 2**63 - 1, "m": -(2**63)}


def test_scores_are_the_same_bits_by_either_protocol(store: QdrantStore) -> None:
    """JSON holds the shortest decimals that mean a float32, gRPC the float32 itself: a hit has the float32."""
    random = np.random.default_rng(0)
    # sums of these products are exact in float32, and have more decimals than JSON needs for one
    weights = random.integers(1, 500, (50, 12)) / 128
    vectors = {f"d{n}": SparseVector(random.choice(60, 12, replace=False), row) for n, row in enumerate(weights)}
    with stand_in() as rest, open_store(f"qdrant+{rest.url}/laws", encoder=HashingEncoder()) as other:
        for opened in (store, other):
            opened.upsert_vectors(vectors.items())
        for query in vectors.values():
            hits = store.search(query, 50)
            assert hits == other.search(query, 50)
            assert all(hit.score == float(np.float32(hit.score)) for hit in hits)


def test_the_range_of_a_term_is_asked_for(server: GrpcStandIn) -> None:
    with open_store(f"qdrant+{server.url}/laws?datatype=uint8", encoder=HashingEncoder()) as store:
        store.load([("a", SparseVector([1], [0.25])), ("b", SparseVector([1], [4.0]))])
        query = SparseVector([1, 2], [2.0, 1.0])
        assert store.score_tolerance(query, SparseVector([1, 2], [0.25, 1.0])) == pytest.approx(2 * 4 / 255 + 1e-4 * 1.5)


def test_the_key_is_in_the_metadata_and_nowhere_else(server: GrpcStandIn) -> None:
    with pytest.warns(InsecureConnectionWarning, match=r"use qdrant\+grpcs"):
        store = open_store(f"qdrant+{server.url}/laws", encoder=HashingEncoder(), credentials=Credentials(api_key=SecretStr("hunter2")))
    with store:
        assert store.count() == 0
        assert "hunter2" not in repr(store) + str(store.info())
    assert all(metadata["api-key"] == "hunter2" for _, _, metadata in server.seen)


def test_nobody_there() -> None:
    with pytest.raises(errors.StoreUnavailableError, match="cannot be used"):
        open_store("qdrant+grpc://127.0.0.1:9/laws?deadline_s=0.3", encoder=HashingEncoder())


def test_an_alias_and_adoption(store: QdrantStore, server: GrpcStandIn) -> None:
    assert store.point_alias("current") is None
    with open_store(f"qdrant+{server.url}/current", encoder=HashingEncoder()) as behind:
        assert isinstance(behind, QdrantStore)
        assert behind.collection == "laws"
        behind.adopt()
        behind.finish_loading()
