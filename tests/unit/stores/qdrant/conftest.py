from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import StandIn, stand_in

Open = Callable[..., QdrantStore]


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as running:
        yield running


@pytest.fixture
def opening(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens collections of the stand-in, with retries that do not wait long, and closes them."""
    from splade_ptbr_connectors.stores.retries import RetryPolicy

    monkeypatch.setattr(RetryPolicy, "_wait", lambda self: lambda state: 0.001)
    opened: list[QdrantStore] = []

    def opening(collection: str = "laws", *, query: str = "", **arguments: Any) -> QdrantStore:
        store = open_store(f"qdrant+{server.url}/{collection}{query}", **{"encoder": HashingEncoder(), **arguments})
        assert isinstance(store, QdrantStore)
        opened.append(store)
        return store

    yield opening
    for store in opened:
        store.close()


@pytest.fixture
def store(opening: Open) -> QdrantStore:
    return opening()
