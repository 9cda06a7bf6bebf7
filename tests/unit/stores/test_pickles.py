"""Stores and encoders in pickles and copies: opened again by address, found where they are open, and no secret on the way."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError, ModelMismatchError, StoreAccessError, StoreNotFoundError
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.credentials import Credentials
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import StandIn, stand_in

pytest.importorskip("numba")
VECTOR = SparseVector([1], [1.0])
KEY = "chave-muito-secreta"
Open = Callable[..., Store]


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes


def found_elsewhere(carried: bytes) -> list[str]:
    """What a process that was given nothing but a pickle finds."""
    os.chdir("/")
    store = pickle.loads(carried)  # noqa: S301 - our own bytes
    with store:
        return [hit.doc_id for hit in store.search("prazo")]


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as running:
        yield running


@pytest.fixture(params=["edge", "numba", "qdrant"])
def opening(request: pytest.FixtureRequest, server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.chdir(tmp_path)
    url = f"qdrant+{server.url}/docs?timeout_s=7" if request.param == "qdrant" else f"{request.param}:folder"

    def opening(**arguments: Any) -> Store:
        return open_store(url, **{"encoder": HashingEncoder(), "max_batch_documents": 3, "tenant": "a", **arguments})

    return opening


def test_a_store_that_is_open_is_found_and_copies_are_the_store(opening: Open) -> None:
    with opening() as store:
        assert through_pickle(store) is copy.copy(store) is copy.deepcopy(store) is store
        assert copy.deepcopy({"stores": [store]}) == {"stores": [store]}
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(through_pickle, [store] * 8)) == {store}


def test_a_store_that_is_closed_is_opened_again_as_it_was(opening: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with opening() as store:
        store.upsert_vectors([("a", store.encoder.encode_query("prazo"))])
    monkeypatch.chdir("/")
    carried = pickle.dumps(store)
    with pickle.loads(carried) as again:  # noqa: S301 - our own bytes
        assert again is not store and pickle.loads(carried) is again  # noqa: S301 - our own bytes
        assert (type(again), again.tenant, again.max_batch_documents) == (type(store), "a", 3)
        assert [hit.doc_id for hit in again.search("prazo")] == ["a"]


def test_a_pickle_with_the_earlier_name_of_max_batch_documents_opens(opening: Open) -> None:
    with opening() as store:
        reopen, (arguments,) = store.__reduce__()
    earlier = {"batch_size" if name == "max_batch_documents" else name: value for name, value in arguments.items()}
    with reopen(earlier) as again:
        assert again is not store and again.max_batch_documents == 3


@pytest.mark.parametrize("engine", ["edge", "numba"])
def test_another_process_opens_it_from_anywhere(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store(f"{engine}:folder", encoder=HashingEncoder()) as store:
        store.upsert_vectors([("a", store.encoder.encode_query("prazo"))])
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(found_elsewhere, pickle.dumps(store)).result() == ["a"]


def test_a_store_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    with open_store(f"numba:{tmp_path}/folder", encoder=HashingEncoder()) as store:
        carried = pickle.dumps(store)
    (tmp_path / "folder").rename(tmp_path / "moved")
    with pytest.raises(StoreNotFoundError):
        pickle.loads(carried)  # noqa: S301 - our own bytes


def test_stores_opened_in_other_ways_are_told_apart(tmp_path: Path) -> None:
    url = f"numba:{tmp_path}/folder"
    with (
        open_store(url, encoder=HashingEncoder()) as first,
        open_store(url, encoder=HashingEncoder(), settings={"read_only": True}) as second,
        open_store(url, encoder=HashingEncoder(), tenant="a") as third,
    ):
        assert [through_pickle(each) is each for each in (first, second, third)] == [True] * 3


def test_credentials_are_in_no_pickle_and_come_from_the_environment(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    server.api_key = KEY
    credentials = Credentials(api_key=KEY)  # type: ignore[arg-type]
    with pytest.warns(UserWarning), open_store(f"qdrant+{server.url}/docs", encoder=HashingEncoder(), credentials=credentials) as store:
        store.upsert_vectors([("a", VECTOR)])
        carried = pickle.dumps(store)
    assert KEY.encode() not in carried
    with pytest.raises(StoreAccessError):
        pickle.loads(carried)  # noqa: S301 - our own bytes
    monkeypatch.setenv("SPLADE_PTBR_QDRANT_API_KEY", KEY)
    with pytest.warns(UserWarning), pickle.loads(carried) as again:  # noqa: S301 - our own bytes
        assert again.exists("a")


def test_a_store_of_a_client_of_ones_own_cannot_be_pickled() -> None:
    client = QdrantClient(":memory:")
    with QdrantStore.from_client(client, "docs", encoder=HashingEncoder()) as store, pytest.raises(ConfigError, match=r"open_store\(\)"):
        pickle.dumps(store)
    client.close()


# -- encoders ----------------------------------------------------------------------------------------------------------


def test_an_encoder_that_is_loaded_is_found_and_another_process_loads_it() -> None:
    encoder = SpladeEncoder.load("mini-lexico", max_active_terms_query=5, batch_size=7)
    assert through_pickle(encoder) is copy.copy(encoder) is copy.deepcopy(encoder) is encoder
    carried = pickle.dumps(encoder)
    assert len(carried) < 1000  # no weights
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(encoded_elsewhere, carried).result() == (7, encoder.fingerprint, encoder.encode_query("prazo da multa"))


def encoded_elsewhere(carried: bytes) -> tuple[int, str, SparseVector]:
    encoder = pickle.loads(carried)  # noqa: S301 - our own bytes
    return encoder.batch_size, encoder.fingerprint, encoder.encode_query("prazo da multa")


def test_a_model_that_has_changed_is_not_taken_for_the_one_that_was_pickled() -> None:
    load, (_, *how) = SpladeEncoder.load("mini-lexico").__reduce__()
    with pytest.raises(ModelMismatchError, match="is not the one that was pickled"):
        load("0" * 64, *how)
