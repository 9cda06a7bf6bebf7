"""What every engine does alike, whichever it is; and what every server does alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch
from qdrant_client import QdrantClient, models

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import model_stamp, open_store
from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.stores.opensearch import OpenSearchStore
from splade_ptbr_connectors.stores.qdrant import QdrantStore
from splade_ptbr_connectors.stores.remote import RemoteStore
from splade_ptbr_connectors.vectors import SparseVector
from tests.support import qdrant_server
from tests.support.encoders import HashingEncoder
from tests.unit.stores.opensearch import stand_in as opensearch_server

SERVERS = ["qdrant", "opensearch"]
VECTOR = SparseVector([1, 7], [0.5, 0.25])
ENTRY = Entry("a", VECTOR, {"n": 1}, "h")


class Engine:
    """One engine with a place for one collection.

    Attributes:
        foreign: makes a collection there that says nothing of its origin, with one document of the term 4000.
        from_client: opens it on a client of the caller's, without an asynchronous one.
    """

    def __init__(self, url: str, foreign: Callable[[], None] | None = None, from_client: Callable[..., Any] | None = None) -> None:
        self.url, self.foreign, self.from_client = url, foreign, from_client
        self.opened: list[Store] = []

    def open(self, query: str = "", **arguments: Any) -> Any:
        self.opened.append(open_store(self.url + query, **{"encoder": HashingEncoder(), **arguments}))
        return self.opened[-1]


@pytest.fixture(params=["edge", "numba", *SERVERS])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(model_stamp, "_WARNED", set())
    make = {"edge": _folder, "numba": _folder, "qdrant": _qdrant, "opensearch": _opensearch}[request.param]
    for made in make(f"{request.param}:{tmp_path}/s"):
        yield made
        for store in made.opened:
            store.close()


servers = pytest.mark.parametrize("engine", SERVERS, indirect=True)
unknown_origin = pytest.mark.filterwarnings("ignore::splade_ptbr_connectors.stores.model_stamp.UnknownOriginWarning")


def _folder(url: str) -> Iterator[Engine]:
    yield Engine(url)


def _qdrant(url: str) -> Iterator[Engine]:
    with qdrant_server.stand_in() as server, closing(QdrantClient(server.url, check_compatibility=False)) as client:

        def foreign() -> None:
            server.client.create_collection("laws", vectors_config={}, sparse_vectors_config={"splade": models.SparseVectorParams()})
            vector = models.SparseVector(indices=[4000], values=[1.0])
            server.client.upsert("laws", [models.PointStruct(id=7, vector={"splade": vector}, payload={})])

        yield Engine(f"qdrant+{server.url}/laws", foreign, lambda **arguments: QdrantStore.from_client(client, "laws", **arguments))


def _opensearch(url: str) -> Iterator[Engine]:
    with opensearch_server.running() as server, OpenSearch([server.url]) as client:

        def foreign() -> None:
            with open_store(f"opensearch+{server.url}/laws", encoder=HashingEncoder()) as store:
                store.upsert_vectors([("7", SparseVector([4000], [1.0]))])
            assert server.index is not None
            server.index["mappings"]["_meta"] = {}

        yield Engine(f"opensearch+{server.url}/laws", foreign, lambda **arguments: OpenSearchStore.from_client(client, "laws", **arguments))


# -- every engine ------------------------------------------------------------------------------------------------------


def test_what_goes_in_comes_out_by_either_kind_of_method(engine: Engine) -> None:
    store = engine.open()
    assert store.load([ENTRY]) == []
    assert store.get(["a", "b"]) == {"a": ENTRY}
    assert store.content_hashes(["a", "b"]) == {"a": "h"}

    async def again() -> None:
        assert await store.aload([ENTRY]) == []
        assert await store.aget(["a"]) == {"a": ENTRY}
        assert [(hit.doc_id, hit.payload) for hit in await store.asearch(VECTOR)] == [("a", {"n": 1})]
        assert await store.acount() == 1
        assert await store.adelete(["a", "b"]) == 1
        assert await store.acount() == 0
        await store.aclose()

    asyncio.run(again())
    with pytest.raises(errors.StoreClosedError):
        store.count()


def test_what_is_not_there_is_not_created_unasked(engine: Engine) -> None:
    with pytest.raises(errors.StoreNotFoundError, match=r"there is no store at .*: fill one with ingest, or check the"):
        engine.open(create=False)
    with pytest.raises(errors.ConfigError, match="is new: say which model fills it"):
        engine.open(encoder=None)
    with pytest.raises(errors.StoreNotFoundError):
        engine.open(create=False)


def test_another_model_is_refused_by_name(engine: Engine) -> None:
    engine.open(encoder=HashingEncoder("first")).close()
    with pytest.raises(errors.ModelMismatchError, match=r"'first'.*'second'.*allow_mismatch=True"):
        engine.open(encoder=HashingEncoder("second"))
    store = engine.open(encoder=HashingEncoder("second"), allow_mismatch=True)
    assert store.fingerprint == HashingEncoder("first").fingerprint


def test_a_store_opened_again_is_the_same_one(engine: Engine) -> None:
    with engine.open() as store:
        identity = store.identity
    assert engine.open(create=False).identity == identity
    assert identity.startswith(f"{store.engine}:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settings": {"datatypee": 1}}, "unknown store setting 'datatypee'.*known: "),
        ({"max_batch_documents": 0}, "the argument max_batch_documents is 0: it must be an integer from 1 to 10,000"),
        ({"max_batch_documents": True}, "max_batch_documents is True"),
        ({"tenant": ""}, "tenant is ''"),
        ({"tenant": 3}, "tenant is 3: it must be a string or none"),
        ({"create": 1}, "create is 1: it must be true or false"),
        ({"encoder": 3}, "encoder is int: it must be a SpladeEncoder or the name of a model"),
    ],
)
def test_wrong_arguments_say_what_is_accepted(engine: Engine, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ConfigError, match=message):
        engine.open(**arguments)


def test_a_filter_of_another_engine_is_refused(engine: Engine) -> None:
    store = engine.open()
    for use in (lambda: store.search(VECTOR, filter=object()), lambda: store.count(filter=object())):
        with pytest.raises(errors.ConfigError, match="filter is object: it must be a mapping"):
            use()


def test_after_close_nothing_can_be_used_and_closing_again_is_no_error(engine: Engine) -> None:
    store = engine.open()
    store.close()
    store.close()
    uses: list[Any] = [store.count, store.info, store.finish_loading, lambda: store.search(VECTOR), lambda: store.get(["a"])]
    uses += [lambda: store.load([ENTRY]), lambda: store.delete(["a"]), lambda: next(store.scan())]
    uses += [lambda: asyncio.run(store.asearch(VECTOR)), lambda: asyncio.run(store.adelete(["a"])), lambda: asyncio.run(store.acount())]
    for use in uses:
        with pytest.raises(errors.StoreClosedError, match="open it again with open_store"):
            use()


def test_info_says_what_every_store_has(engine: Engine) -> None:
    store = engine.open()
    store.load([ENTRY])
    info = store.info()
    assert (info["engine"], info["url"], info["documents"], info["described"]) == (store.engine, store.url, 1, True)
    assert info["version"]


# -- every server ------------------------------------------------------------------------------------------------------


@servers
@unknown_origin
def test_adopting_writes_the_model_down_once(engine: Engine) -> None:
    assert engine.foreign is not None
    engine.foreign()
    with pytest.raises(errors.ConfigError, match="does not say which model filled it"):
        engine.open(encoder=None)
    with engine.open() as store:
        assert (store.fingerprint, store.info()["described"]) == (None, False)
        store.adopt()
        store.adopt()
        assert (store.fingerprint, store.info()["described"]) == (store.encoder.fingerprint, True)
    assert engine.open().identity == store.identity
    other = engine.open(encoder=HashingEncoder("other"), allow_mismatch=True)
    with pytest.raises(errors.ModelMismatchError, match="is not adopted"):
        other.adopt()


@servers
@unknown_origin
def test_vectors_of_a_larger_vocabulary_are_not_adopted(engine: Engine) -> None:
    assert engine.foreign is not None
    engine.foreign()
    store = engine.open(encoder=HashingEncoder(vocab_size=100))
    with pytest.raises(errors.VectorError, match="outside the vocabulary"):
        store.adopt()
    assert store.fingerprint is None
    with pytest.raises(errors.ConfigError, match="does not say which model filled it"):
        engine.open(encoder=None)


@servers
def test_an_alias_may_not_have_the_name_of_a_collection(engine: Engine) -> None:
    store = engine.open()
    with pytest.raises(errors.ConfigError, match=r"'laws' is an? \w+, not an alias: choose another name for the alias, or delete the"):
        store.point_alias("laws")
    with pytest.raises(errors.ConfigError, match="name 'a/b'"):
        store.point_alias("a/b")


@servers
@pytest.mark.parametrize("name", ["deadline_s", "load_deadline_s", "timeout_s", "max_in_flight", "max_request_bytes"])
def test_servers_are_talked_to_by_settings_of_the_same_names(engine: Engine, name: str) -> None:
    store = engine.open(f"?{name}=7")
    assert getattr(store.settings, name) == 7
    assert store.max_in_flight == (7 if name == "max_in_flight" else 4)


@pytest.mark.parametrize(
    ("engine", "earlier", "name"),
    [("qdrant", "patient_deadline_s", "load_deadline_s"), ("opensearch", "max_body_bytes", "max_request_bytes")],
    indirect=["engine"],
)
def test_settings_are_read_by_their_earlier_names_too(engine: Engine, earlier: str, name: str) -> None:
    assert getattr(engine.open(f"?{earlier}=7").settings, name) == getattr(engine.open(settings={earlier: 7}).settings, name) == 7


@servers
def test_a_setting_is_given_in_one_place(engine: Engine) -> None:
    with pytest.raises(errors.ConfigError, match="'deadline_s' is given in the URL and as a setting"):
        engine.open("?deadline_s=7", settings={"deadline_s": 7})
    with pytest.raises(errors.ConfigError, match="'deadline_s' is given twice"):
        engine.open("?deadline_s=7&deadline_s=7")


@servers
def test_a_client_of_ones_own_serves_asynchronous_methods_in_threads_and_stays_open(engine: Engine) -> None:
    assert engine.from_client is not None
    store = engine.from_client(encoder=HashingEncoder())

    async def use() -> None:
        assert await store.aload([ENTRY]) == []
        assert [hit.doc_id for hit in await store.asearch(VECTOR)] == ["a"]
        assert (await store.aget(["a"]), await store.acount()) == ({"a": ENTRY}, 1)
        await store.aclose()

    asyncio.run(use())
    assert isinstance(store, RemoteStore)
    with engine.from_client(encoder=HashingEncoder(), create=False) as again:
        assert again.count() == 1
