"""Connections of the REST interface: kept from one request to the next, and what comes over them acknowledged at once."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest

from splade_ptbr_connectors.stores.qdrant import client as clients
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.qdrant_server import StandIn
from tests.unit.stores.qdrant.conftest import Open

QUERY = SparseVector([1], [1.0])
linux = pytest.mark.skipif(clients.QUICKACK is None, reason="this system has no TCP_QUICKACK")


@pytest.fixture
def server() -> Any:
    from tests.support.qdrant_server import stand_in

    with stand_in() as running:
        running.apart = True
        yield running


def acknowledging(response: httpx.Response) -> bool:
    """Whether the kernel acknowledges at once what comes over the connection of this response."""
    connected = response.extensions["network_stream"].get_extra_info("socket")
    return bool(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK))


@linux
def test_one_connection_serves_one_request_after_the_other_and_acknowledges_each_answer(opening: Open, server: StandIn) -> None:
    store = opening()
    store.upsert_vectors([("a", QUERY)])
    seen: list[bool] = []
    store._connection.client.http.client._client.event_hooks["response"].append(lambda response: seen.append(acknowledging(response)))
    for _ in range(10):
        assert [hit.doc_id for hit in store.search(QUERY)] == ["a"]
    assert seen == [True] * 10
    assert len({request.peer for request in server.seen}) == 1


@linux
def test_so_do_connections_of_an_event_loop(opening: Open, server: StandIn) -> None:
    store = opening()
    store.upsert_vectors([("a", QUERY)])
    opened, seen = len(server.seen), []

    async def note(response: httpx.Response) -> None:
        seen.append(acknowledging(response))

    async def run() -> None:
        store._connection.async_client().http.client._async_client.event_hooks["response"].append(note)
        for _ in range(10):
            assert [hit.doc_id for hit in await store.asearch(QUERY)] == ["a"]
        await store.aclose()

    asyncio.run(run())
    assert seen == [True] * 10
    assert len({request.peer for request in server.seen[opened:]}) == 1


def test_where_the_kernel_cannot_be_told_the_clients_own_limits_hold(
    opening: Open, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On localhost qdrant-client keeps no connection: a new one is acknowledged at once."""
    monkeypatch.setattr(clients, "QUICKACK", None)
    store = opening()
    before = len(server.seen)
    for _ in range(5):
        store.search(QUERY)
    assert len({request.peer for request in server.seen[before:]}) == 5


def test_an_answer_without_a_socket_is_no_failure() -> None:
    class Closed:
        def get_extra_info(self, name: str) -> Any:
            made = socket.socket()
            made.close()
            return made

    for extensions in ({}, {"network_stream": Closed()}):
        clients._acknowledge(httpx.Response(200, extensions=extensions))
