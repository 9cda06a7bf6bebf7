from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore
from tests.support.encoders import HashingEncoder
from tests.unit.stores.opensearch.stand_in import StandIn, running

PATIENT = {"load_timeout_s": 60.0, "timeout_s": 60.0, "deadline_s": 60.0, "load_deadline_s": 60.0}  # longer than any machine pauses
Open = Callable[..., OpenSearchStore]


@pytest.fixture
def server() -> Iterator[StandIn]:
    with running() as stand_in:
        yield stand_in


@pytest.fixture
def opening(server: StandIn) -> Iterator[Open]:
    opened: list[OpenSearchStore] = []

    def opens(**arguments: Any) -> OpenSearchStore:
        arguments = {"encoder": HashingEncoder(), **arguments, "settings": {**PATIENT, **arguments.get("settings", {})}}
        store = open_store(arguments.pop("url", f"opensearch+{server.url}/laws"), **arguments)
        assert isinstance(store, OpenSearchStore)
        opened.append(store)
        return store

    yield opens
    for store in opened:
        store.close()


@pytest.fixture
def store(opening: Open) -> OpenSearchStore:
    return opening()
