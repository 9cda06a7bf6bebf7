"""Stores on a real OpenSearch. Without one the tests are skipped, or fail where SPLADE_TEST_REQUIRE_SERVERS names it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opensearchpy import OpenSearch

from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore
from tests.support.encoders import HashingEncoder
from tests.support.opensearch_server import OpenSearchServer, Running, Unavailable, running

_numbers = itertools.count()
START_TIMEOUT_S = 600  # the first fetch of the distribution included


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first starts the server within its own time."""
    for item in items:
        if "servers" in item.path.parts and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(START_TIMEOUT_S))


def required() -> bool:
    """Whether a missing server is a failure."""
    return "opensearch" in os.environ.get("SPLADE_TEST_REQUIRE_SERVERS", "").split(",")


def unavailable(error: Unavailable) -> None:
    """Skip, or fail."""
    if required():
        pytest.fail(f"SPLADE_TEST_REQUIRE_SERVERS asks for OpenSearch: {error}", pytrace=False)
    pytest.skip(f"no OpenSearch: {error}")


@pytest.fixture(scope="session")
def opensearch() -> Iterator[Running]:
    try:
        with running() as found:
            yield found
    except Unavailable as error:
        unavailable(error)


@pytest.fixture(scope="session")
def opensearch_url(opensearch: Running) -> str:
    """Such as "http://127.0.0.1:41234"."""
    return opensearch.url


@pytest.fixture(scope="session")
def raw(opensearch_url: str) -> Iterator[OpenSearch]:
    """A client to look behind the store's back."""
    with OpenSearch([opensearch_url], timeout=60) as client:
        yield client


@pytest.fixture
def index_name(raw: OpenSearch) -> Iterator[str]:
    """A name of its own for each test; what begins with it is deleted afterwards."""
    name = f"t{os.getpid()}-{next(_numbers)}-x"
    yield name
    raw.indices.delete(index=f"{name}*", params={"expand_wildcards": "all", "ignore_unavailable": "true"})


@pytest.fixture
def store_url(opensearch_url: str, index_name: str) -> str:
    return f"opensearch+{opensearch_url}/{index_name}"


@pytest.fixture
def opener(store_url: str) -> Iterator[Callable[..., OpenSearchStore]]:
    """Opens stores on the test's index, and closes them."""
    opened: list[OpenSearchStore] = []

    def opens(**arguments: Any) -> OpenSearchStore:
        arguments = {"encoder": HashingEncoder(), **arguments}
        arguments["settings"] = {"replicas": 0, **arguments.get("settings", {})}
        store = open_store(arguments.pop("url", store_url), **arguments)
        assert isinstance(store, OpenSearchStore)
        opened.append(store)
        return store

    yield opens
    for store in opened:
        store.close()


@pytest.fixture
def store(opener: Callable[..., OpenSearchStore]) -> OpenSearchStore:
    return opener()


@pytest.fixture
def server_to_kill(opensearch: Running) -> Iterator[OpenSearchServer]:
    """A server to be killed and restarted by the thread of this test: the one of all tests, or one of its own if that is not ours."""
    if opensearch.ours is not None:
        yield opensearch.ours
        return
    try:
        server = OpenSearchServer(heap="512m")
    except Unavailable as error:
        unavailable(error)
        return
    try:
        server.start()
        yield server
    finally:
        server.stop()
