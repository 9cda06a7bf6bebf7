"""What open_store() finds, makes, takes over and refuses on a Qdrant server."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from qdrant_client import QdrantClient, models

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import model_stamp, open_store
from splade_ptbr_connectors.stores.credentials import Credentials, InsecureConnectionWarning
from splade_ptbr_connectors.stores.qdrant import QdrantStore, schema
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import Fault, StandIn
from tests.unit.stores.qdrant.conftest import Open

VECTOR = SparseVector([1], [1.0])
SPARSE = {"splade": models.SparseVectorParams()}


@pytest.fixture(autouse=True)
def nothing_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_stamp, "_WARNED", set())


def made_by_others(server: StandIn, name: str = "laws", **arguments: Any) -> None:
    server.client.create_collection(name, **{"vectors_config": {}, "sparse_vectors_config": SPARSE, **arguments})


def test_a_new_collection_is_made_as_asked_and_describes_itself(opening: Open, server: StandIn) -> None:
    encoder = HashingEncoder("mine")
    opening(encoder=encoder, query="?datatype=float16&on_disk=true&shards=3", settings={"dense_size": 8, "dense_distance": "cosine"})
    [creation] = [seen for seen in server.seen if seen.method == "PUT" and seen.path == "/collections/laws"]
    wanted = models.CreateCollection.model_validate_json(creation.body)
    assert wanted.sparse_vectors == {
        "splade": models.SparseVectorParams(index=models.SparseIndexParams(on_disk=True, datatype=models.Datatype.FLOAT16))
    }
    assert wanted.vectors == {"dense": models.VectorParams(size=8, distance=models.Distance.COSINE)}
    assert wanted.shard_number == 3
    assert wanted.metadata is not None
    assert wanted.metadata["fingerprint"] == encoder.fingerprint
    assert wanted.metadata["settings"]["datatype"] == "float16"
    index = server.indexes["laws"]["_tenant"]
    assert (index.data_type, index.params.is_tenant) == ("keyword", True)


def test_an_existing_collection_names_its_settings_and_its_model(opening: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from splade_ptbr_connectors.encoding import encoder as module

    first = opening(query="?datatype=uint8&dense_size=2", encoder=HashingEncoder("some/model"))
    monkeypatch.setattr(module.SpladeEncoder, "load", staticmethod(lambda model: HashingEncoder(model)))
    second = opening(encoder=None)
    assert (second.settings.datatype, second.settings.dense_size) == ("uint8", 2)
    assert second.encoder.name == "some/model"
    assert second.identity == first.identity


@pytest.mark.parametrize("wrong", [{"datatype": "float32"}, {"on_disk": True}, {"dense_size": 3}, {"layout": "langchain"}])
def test_other_settings_than_the_collection_has(opening: Open, wrong: dict[str, Any]) -> None:
    opening(query="?datatype=float16&dense_size=2")
    [(name, value)] = wrong.items()
    with pytest.raises(errors.StoreFormatError, match=rf"but is opened with {name}={value!r}: leave the setting out"):
        opening(settings=wrong)


@pytest.mark.parametrize("passages", [True, {"passage_tokens": 100}])
def test_nothing_is_created_where_passages_are_refused(opening: Open, server: StandIn, passages: Any) -> None:
    with pytest.raises(errors.ConfigError, match="keeps whole documents only"):
        opening(query="?layout=langchain", passages=passages)
    assert not any(seen.method in ("PUT", "PATCH", "POST") for seen in server.seen)


def test_another_model_is_refused_by_name(opening: Open) -> None:
    opening(encoder=HashingEncoder("first"))
    with pytest.raises(errors.ModelMismatchError, match=r"'first'.*'second'"):
        opening(encoder=HashingEncoder("second"))
    assert opening(encoder=HashingEncoder("second"), allow_mismatch=True).encoder.name == "second"


def test_create_false_makes_nothing(opening: Open, server: StandIn) -> None:
    with pytest.raises(errors.StoreNotFoundError, match="there is no store at"):
        opening(create=False)
    assert server.count_of("PUT", "") == 0


def test_a_new_collection_needs_a_model(opening: Open, server: StandIn) -> None:
    with pytest.raises(errors.ConfigError, match="is new: say which model"):
        opening(encoder=None)
    assert server.count_of("PUT", "") == 0


def test_a_collection_of_unknown_origin_warns_once_and_needs_a_model(opening: Open, server: StandIn) -> None:
    made_by_others(server)
    with pytest.raises(errors.ConfigError, match="does not say which model filled it"):
        opening(encoder=None)
    with pytest.warns(model_stamp.UnknownOriginWarning, match="does not say which model filled it.*adopt"):
        assert opening().fingerprint is None
    opening()  # no second warning: warnings are errors here


def test_adopt_writes_the_model_into_a_collection(opening: Open, server: StandIn) -> None:
    made_by_others(server, metadata={"team": "jurídico"})
    with pytest.warns(model_stamp.UnknownOriginWarning):
        store = opening()
    store.upsert_vectors([("a", VECTOR)])
    store.adopt()
    store.adopt()
    assert store.fingerprint == store.encoder.fingerprint
    metadata = server.client.get_collection("laws").config.metadata
    assert metadata is not None
    assert (metadata["team"], metadata["fingerprint"]) == ("jurídico", store.encoder.fingerprint)
    assert opening(encoder=store.encoder).identity == store.identity
    with pytest.raises(errors.ModelMismatchError, match="is not adopted"):
        opening(encoder=HashingEncoder("other"), allow_mismatch=True).adopt()


def test_adopt_refuses_vectors_of_a_larger_vocabulary(opening: Open, server: StandIn) -> None:
    made_by_others(server)
    with pytest.warns(model_stamp.UnknownOriginWarning):
        opening().upsert_vectors([("a", SparseVector([4000], [1.0]))])
    with pytest.raises(errors.VectorError, match="outside the vocabulary"):
        opening(encoder=HashingEncoder(vocab_size=100)).adopt()
    assert not server.client.get_collection("laws").config.metadata


@pytest.mark.parametrize(
    ("arguments", "query", "message"),
    [
        ({"sparse_vectors_config": {"text": models.SparseVectorParams()}}, "", r"no sparse vector 'splade' \(there: 'text'\)"),
        ({"sparse_vectors_config": {}}, "", r"no sparse vector 'splade' \(there: none\)"),
        ({"sparse_vectors_config": {"a": models.SparseVectorParams()}}, "?vector=b", r"no sparse vector 'b' \(there: 'a'\)"),
        ({"sparse_vectors_config": {"splade": models.SparseVectorParams(modifier=models.Modifier.IDF)}}, "", "modifier IDF"),
        ({"metadata": {"fingerprint": 3}}, "", "not the description of a store"),
        ({"metadata": {"fingerprint": "x", "format_version": 99}}, "", "format version 99.*upgrade"),
        ({}, "?dense_size=4", "dense_size=None, but is opened with dense_size=4"),
        ({}, "?dense_vector=d", "no dense vector 'd'"),
    ],
)
def test_collections_that_do_not_fit(opening: Open, server: StandIn, arguments: Any, query: str, message: str) -> None:
    made_by_others(server, **arguments)
    with pytest.raises(errors.StoreFormatError, match=message):
        opening(query=query)


def test_a_modifier_is_accepted_when_asked_for(opening: Open, server: StandIn) -> None:
    made_by_others(server, sparse_vectors_config={"splade": models.SparseVectorParams(modifier=models.Modifier.IDF)})
    with pytest.warns(model_stamp.UnknownOriginWarning):
        opening(query="?allow_idf=true")


def test_a_server_that_cannot_keep_a_description_is_refused(opening: Open, server: StandIn) -> None:
    server.version = "1.15.4"
    with pytest.raises(errors.StoreFormatError, match=r"is Qdrant 1\.15\.4: a store needs 1\.16 or later"):
        opening()
    assert server.count_of("PUT", "") == 0


@pytest.mark.parametrize("fault", [Fault(503, after=True), Fault(reset=True, after=True), Fault(200, b"{", after=True)])
def test_a_creation_whose_answer_is_lost_is_no_failure(opening: Open, server: StandIn, fault: Fault) -> None:
    fault.path = "/collections/laws"
    server.faults = [Fault(404, b'{"status":{"error":"Not found"}}', path="/collections/laws"), fault]
    assert opening().count() == 0


def test_stores_that_are_made_at_once_are_one(server: StandIn) -> None:
    identities: list[str] = []

    def make() -> None:
        with open_store(f"qdrant+{server.url}/laws", encoder=HashingEncoder()) as store:
            identities.append(store.identity)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(identities) == 6
    assert len(set(identities)) == 1


def test_a_collection_made_anew_has_another_identity(opening: Open, server: StandIn) -> None:
    first = opening().identity
    server.client.delete_collection("laws")
    assert opening().identity != first


def test_the_tenant_index_is_made_where_it_is_missing(opening: Open, server: StandIn) -> None:
    made_by_others(server)
    with pytest.warns(model_stamp.UnknownOriginWarning):
        opening()
    assert "laws" not in server.indexes
    opening(tenant="A")
    assert "_tenant" in server.indexes["laws"]


def test_a_key_that_may_not_make_an_index_still_opens(opening: Open, server: StandIn) -> None:
    made_by_others(server)
    locked = b'{"status":{"error":"Storage locked: Write operations are forbidden"}}'
    server.faults = [Fault(403, path="/index"), Fault(403, locked, path="/index")]
    with pytest.warns(model_stamp.UnknownOriginWarning):
        assert opening(tenant="A").count() == 0
    assert opening(tenant="A").count() == 0
    assert not server.faults


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", "names no collection"),
        ("/", "names no collection"),
        ("/..", "collection name '..' is not accepted"),
        ("/a%2Fb", "collection name 'a/b' is not accepted"),
        ("/a%00", "collection name"),
        ("/" + "n" * 256, "has 256 bytes: at most 255 are accepted"),
        ("/" + "ção" * 60, "has 300 bytes: at most 255 are accepted"),
        ("/laws?vector=" + "ç" * 121, "vector name .* too long: at most 240 bytes"),
        ("/laws?datatype=float8", "datatype is 'float8': it must be one of float32, float16, uint8"),
        ("/laws?datatyp=float16", "unknown store setting 'datatyp' .did you mean 'datatype'"),
        ("/laws?shards=0", "shards is 0"),
        ("/laws?shards=many", "shards is 'many': it must be an integer from 1 to 10,000 or none"),
        ("/laws?dense_size=0", "dense_size is 0"),
        ("/laws?dense_size=2&dense_distance=manhattan", "dense_distance"),
        ("/laws?timeout_s=0", "timeout_s is 0: it must be a finite number above 0, at most 86,400"),
        ("/laws?timeout_s=nan", "timeout_s is 'nan'"),
        ("/laws?vector=", "vector is ''"),
        ("/laws?vector=dense", "give two different names"),
        ("/laws?deadline_s=-1", "deadline_s is -1: it must be a finite number of at least 0"),
        ("/laws?max_in_flight=0", "max_in_flight is 0"),
        ("/laws?a=1&a=2", "given twice"),
        ("/laws?a", "not name=value"),
    ],
)
def test_bad_addresses_say_what_is_accepted_and_nothing_is_sent(server: StandIn, rest: str, message: str) -> None:
    with pytest.raises(errors.ConfigError, match=message):
        open_store(f"qdrant+{server.url}{rest}", encoder=HashingEncoder())
    assert not server.seen


@pytest.mark.parametrize(
    ("credentials", "scheme", "message"),
    [
        (Credentials(user="u", password=SecretStr("hunter2")), "https", "takes an API key, not user and password"),
        (Credentials(api_key=SecretStr("hunter2\n")), "https", "no HTTP header can carry"),
        (Credentials(api_key=SecretStr("hunter2ção")), "https", "no HTTP header can carry"),
        (Credentials(verify=False), "grpcs", "gRPC always checks the certificate"),
    ],
)
def test_credentials_that_cannot_be_used(credentials: Credentials, scheme: str, message: str) -> None:
    with pytest.raises(errors.ConfigError, match=message) as caught:
        open_store(f"qdrant+{scheme}://127.0.0.1:9/laws", encoder=HashingEncoder(), credentials=credentials)
    assert "hunter2" not in str(caught.value)


def test_grpc_knows_no_path() -> None:
    with pytest.raises(errors.ConfigError, match="gRPC knows no path"):
        open_store("qdrant+grpc://127.0.0.1:9/proxy/laws", encoder=HashingEncoder())


@pytest.mark.parametrize("name", ["ç" * 128, "a\ud800b", " "])
def test_names_that_no_server_can_keep_are_refused_for_collections_and_aliases(store: QdrantStore, server: StandIn, name: str) -> None:
    before = len(server.seen)
    with pytest.raises(errors.ConfigError, match="collection name"):
        store.point_alias(name)
    client = QdrantClient(":memory:")
    with pytest.raises(errors.ConfigError, match="collection name"):
        QdrantStore.from_client(client, name, encoder=HashingEncoder())
    client.close()
    assert len(server.seen) == before


def test_a_name_of_255_bytes_is_a_collection(opening: Open) -> None:
    assert opening("ç" * 127 + "n").collection == "ç" * 127 + "n"


@pytest.mark.parametrize("name", ["c#", "50% off", "a%41", "a+b &c=d;e", "ação"])
def test_a_name_reaches_its_own_collection_or_none(opening: Open, server: StandIn, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if schema.QUOTES_NAMES or not set(name) & set("#%"):
        with opening(quote(name)) as store:
            store.upsert_vectors([("a", VECTOR)])
        assert [found.name for found in server.client.get_collections().collections] == [name]
    monkeypatch.setattr(schema, "QUOTES_NAMES", False)
    before = len(server.seen)
    if set(name) & set("#%"):
        with pytest.raises(errors.ConfigError, match=r"would reach another collection: upgrade it to 1\.20"):
            opening(quote(name))
        assert len(server.seen) == before
    else:
        opening(quote(name))


def test_a_path_before_the_collection_is_kept(opening: Open, server: StandIn) -> None:
    server.faults = [Fault(200, b'{"result": {"aliases": []}}'), Fault(404, b"{}")]
    with pytest.raises(errors.StoreNotFoundError):
        open_store(f"qdrant+{server.url}/some/proxy/laws", encoder=HashingEncoder(), create=False)
    assert [seen.path for seen in server.seen] == ["/some/proxy/aliases", "/some/proxy/collections/laws"]


@pytest.mark.parametrize("argument", [None, "http://localhost:6333", 3])
def test_from_client_wants_a_client(argument: Any) -> None:
    with pytest.raises(errors.ConfigError, match=r"it must be a qdrant_client\.QdrantClient"):
        QdrantStore.from_client(argument, "laws", encoder=HashingEncoder())
    client = QdrantClient(":memory:")
    with pytest.raises(errors.ConfigError, match=r"must be a qdrant_client\.AsyncQdrantClient"):
        QdrantStore.from_client(client, "laws", encoder=HashingEncoder(), async_client=client)  # type: ignore[arg-type]
    with pytest.raises(errors.ConfigError, match="tenant is ''"):
        QdrantStore.from_client(client, "laws", encoder=HashingEncoder(), tenant="")
    client.close()


def test_closing_a_store_leaves_the_callers_client_open() -> None:
    client = QdrantClient(":memory:")
    with QdrantStore.from_client(client, "laws", encoder=HashingEncoder()) as store:
        store.upsert_vectors([("a", VECTOR)])
    with pytest.raises(errors.StoreClosedError):
        store.count()
    assert client.count("laws").count == 1
    client.close()


def test_a_key_over_an_open_line_is_warned_about(server: StandIn) -> None:
    server.api_key = "hunter2"
    with pytest.warns(InsecureConnectionWarning, match="sent to http://127.* unencrypted: use qdrant.https") as caught:
        open_store(f"qdrant+{server.url}/laws", encoder=HashingEncoder(), credentials=Credentials(api_key=SecretStr("hunter2"))).close()
    assert not any("hunter2" in str(warning.message) for warning in caught)
    assert all(seen.headers["api-key"] == "hunter2" for seen in server.seen)


def test_a_wrong_key_says_which_variable_to_set(opening: Open, server: StandIn) -> None:
    server.api_key = "hunter2"
    with pytest.raises(errors.StoreAccessError, match="set SPLADE_PTBR_QDRANT_API_KEY"):
        opening()
