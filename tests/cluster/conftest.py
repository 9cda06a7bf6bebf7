"""Three real OpenSearch nodes, whole again after each test. These tests run only where -m names them: `make cluster`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.ingestion.verify import verify
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore
from tests.servers.conftest import unavailable
from tests.support.collections import assert_holds, documents
from tests.support.encoders import HashingEncoder
from tests.support.opensearch_cluster import OpenSearchCluster
from tests.support.opensearch_server import Unavailable

COUNT = 2000
QUESTIONS = ["imposto renda", "vacina café água rio", "mar lei prazo banco conta texto", "documento 17", "país"]
TEST_S = 900  # the first fetch of the distribution included
Answers = list[list[tuple[str, float]]]
Open = Callable[..., OpenSearchStore]

_numbers = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    mine = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.cluster)
        item.add_marker(pytest.mark.timeout(TEST_S))
    if "cluster" not in config.option.markexpr:
        config.hook.pytest_deselected(items=mine)
        items[:] = [item for item in items if item not in mine]


@pytest.fixture(scope="session")
def three_nodes() -> Iterator[OpenSearchCluster]:
    try:
        with OpenSearchCluster(3) as cluster:
            yield cluster
    except Unavailable as error:
        unavailable(error)


@pytest.fixture
def cluster(three_nodes: OpenSearchCluster) -> Iterator[OpenSearchCluster]:
    """The nodes, all of which run before a test, and no index of it left after it."""
    yield three_nodes
    three_nodes.start(0, 1, 2)
    three_nodes.ask("DELETE", "t*?expand_wildcards=all&ignore_unavailable=true")


@pytest.fixture
def opening(cluster: OpenSearchCluster) -> Iterator[Open]:
    """Opens stores on an index of the test's own, by default one shard for each node, each with a copy, by way of node 0."""
    opened: list[OpenSearchStore] = []
    name = f"t{os.getpid()}-{next(_numbers)}-x"

    def opens(index: str = name, *, node: int = 0, **settings: Any) -> OpenSearchStore:
        url, chosen = f"opensearch+{cluster.urls[node]}/{index}", {"shards": 3, "replicas": 1, **settings}
        store = open_store(url, encoder=HashingEncoder(), max_batch_documents=50, settings=chosen)
        assert isinstance(store, OpenSearchStore)
        opened.append(store)
        return store

    yield opens
    cluster.start(0, 1, 2)  # closing refreshes
    for store in opened:
        store.close()


@pytest.fixture(scope="session")
def answers_of_one_node(three_nodes: OpenSearchCluster) -> Answers:
    """What an index answers that lies on one node as a whole."""
    url = f"opensearch+{three_nodes.urls[0]}/one"
    with open_store(url, encoder=HashingEncoder(), settings={"shards": 1, "replicas": 0}) as store:
        assert ingest(documents(COUNT), store).written == COUNT
        found = answers(store)
    three_nodes.ask("DELETE", "one*")
    return found


def answers(store: Store) -> Answers:
    """Ids and scores of the first hundred."""
    return [[(hit.doc_id, hit.score) for hit in store.search(question, top_k=100)] for question in QUESTIONS]


@pytest.fixture
def assert_whole(answers_of_one_node: Answers) -> Callable[[Store], None]:
    """Nothing is lost, nothing doubled, everything as it was written, and every score that of one node."""

    def check(store: Store) -> None:
        assert_holds(store, documents(COUNT))
        assert verify(documents(COUNT), store).ok
        assert answers(store) == answers_of_one_node

    return check
