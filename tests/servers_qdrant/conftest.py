"""Every test here runs against the stand-in and, where there is one, against a real Qdrant.

A real one is SPLADE_TEST_QDRANT_URL (its key, if any, SPLADE_PTBR_QDRANT_API_KEY), or a container if Docker works; else the tests
on it are skipped and say why. Each test makes collections of its own and deletes them.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from qdrant_client import QdrantClient

from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import real_server, stand_in

Open = Callable[..., QdrantStore]


@pytest.fixture(scope="session")
def qdrant_url() -> Iterator[str]:
    """The URL of a real server."""
    try:
        with real_server() as url:
            yield url
    except LookupError as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=["stand-in", "real server"])
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the stand-in, and of a real server."""
    if request.param == "real server":
        yield request.getfixturevalue("qdrant_url")
        return
    with stand_in() as server:
        yield server.url


@pytest.fixture
def client(server_url: str) -> Iterator[QdrantClient]:
    """A client of the same server."""
    parts = urlsplit(server_url)
    client = QdrantClient(
        host=parts.hostname,
        port=parts.port or 6333,
        https=parts.scheme == "https",
        timeout=60,
        headers={"api-key": os.environ["SPLADE_PTBR_QDRANT_API_KEY"]} if "SPLADE_PTBR_QDRANT_API_KEY" in os.environ else None,
        check_compatibility=False,
    )
    yield client
    client.close()


@pytest.fixture
def name(client: QdrantClient) -> Iterator[str]:
    """The beginning of the names of the test's collections and aliases; they are deleted after it."""
    name = f"splade-test-{uuid.uuid4().hex[:12]}"
    yield name
    for found in client.get_collections().collections:
        if found.name.startswith(name):
            client.delete_collection(found.name)


@pytest.fixture
def opening(server_url: str, name: str) -> Iterator[Open]:
    """Opens collections whose names begin with `name`."""
    opened: list[QdrantStore] = []

    def opening(suffix: str = "", *, scheme: str = "", **arguments: Any) -> QdrantStore:
        base = f"{scheme}://{urlsplit(server_url).netloc}" if scheme else server_url
        store = open_store(f"qdrant+{base}/{name}{suffix}", **{"encoder": HashingEncoder(), "max_batch_documents": 64, **arguments})
        assert isinstance(store, QdrantStore)
        opened.append(store)
        return store

    yield opening
    for store in opened:
        store.close()
