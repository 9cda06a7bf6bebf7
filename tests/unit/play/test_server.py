"""The server of the page: who is answered, with which headers, how errors are told, many at once, and what cannot be listened on."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from starlette.testclient import TestClient

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.play import answers, server
from splade_ptbr_connectors.stores.base import Store
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore

PAGES = ("/", "/style.css", "/play.js", "/words.json", "/icon.svg", "/api/stores", "/api/search?q=gripe")


@pytest.fixture
def store() -> MemoryStore:
    return filled(MemoryStore(HashingEncoder()))


@pytest.fixture
def client(store: MemoryStore) -> Iterator[TestClient]:
    with client_of(store) as opened:
        yield opened


def filled(store: MemoryStore) -> MemoryStore:
    texts = {"1": "vacina contra a gripe", "2": "receita de bolo", "3": "gripe e febre"}
    store.upsert_vectors([(doc_id, store.encoder.encode_query(text), {"text": text}) for doc_id, text in texts.items()])
    return store


def client_of(*stores: Store, host: str = "127.0.0.1") -> TestClient:
    return TestClient(server.application(stores, host), base_url="http://127.0.0.1:8765", raise_server_exceptions=False)


def test_hits_are_those_of_the_store(client: TestClient, store: MemoryStore) -> None:
    answer = client.get("/api/search", params={"q": "gripe e febre", "k": 2}).json()
    assert [hit["doc_id"] for hit in answer["hits"]] == [hit.doc_id for hit in store.search("gripe e febre", 2)] == ["3", "1"]
    [about] = client.get("/api/stores").json()
    assert about == answers.about(store)


def test_each_store_is_asked_by_its_number(store: MemoryStore) -> None:
    with client_of(store, MemoryStore(HashingEncoder("outro"), url="memory:outro")) as client:
        assert [about["url"] for about in client.get("/api/stores").json()] == ["memory:", "memory:outro"]
        assert client.get("/api/search?q=gripe&store=0").json()["hits"]
        assert client.get("/api/search?q=gripe&store=1").json()["hits"] == []


@pytest.mark.parametrize("path", PAGES)
def test_nothing_from_outside_may_be_loaded_and_nothing_is_kept(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert response.headers["x-content-type-options"] == "nosniff" and response.headers["cache-control"] == "no-store"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8765", "192.168.0.7", ""])
def test_a_foreign_name_for_this_address_is_refused(client: TestClient, path: str, host: str) -> None:
    response = client.get(path, headers={"host": host})
    assert response.status_code == 400 and "gripe" not in response.text
    assert response.headers["content-security-policy"]


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:8765", "[::1]:8765", "LOCALHOST"])
def test_names_of_this_machine_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


def test_the_name_that_is_listened_on_is_answered(store: MemoryStore) -> None:
    with client_of(store, host="maquina.local") as client:
        assert client.get("/", headers={"host": "maquina.local:8765"}).status_code == 200
        assert client.get("/", headers={"host": "outra.local"}).status_code == 400


@pytest.mark.parametrize(
    ("parameters", "kind", "said"),
    [
        ({"q": "a\0b"}, "TextError", "NUL"),
        ({"q": "a", "k": "0"}, "ConfigError", "1 to 10,000"),
        ({"q": "a", "k": "dez"}, "ConfigError", "'dez'"),
        ({"q": "a", "k": "1" * 3000}, "ConfigError", "whole number"),
        ({"q": "a", "top_k": "3"}, "ConfigError", "unknown argument 'top_k' of /api/search (did you mean 'k'?)"),
        ({"q": "a", "store": "1"}, "ConfigError", "store is 1"),
        ({"q": "a", "store": "-1"}, "ConfigError", "store is -1"),
    ],
)
def test_what_was_asked_wrongly_is_told_as_the_typed_error(client: TestClient, parameters: dict[str, str], kind: str, said: str) -> None:
    response = client.get("/api/search", params=parameters)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == kind and said in error["message"]


def test_a_filter_narrows_the_hits_and_is_the_commands(client: TestClient, store: MemoryStore) -> None:
    def found(filter: str) -> list[str]:
        return [hit["doc_id"] for hit in client.get("/api/search", params={"q": "gripe", "filter": filter}).json()["hits"]]

    assert found('{"text": {"not": "gripe e febre"}}') == ["1"]
    assert found('{"$or": [{"text": "gripe e febre"}, {"text": "receita de bolo"}]}') == ["3"]
    assert found("") == found("  ") == found("{}") == ["1", "3"]


def test_names_of_a_filter_that_no_document_has_are_told(client: TestClient) -> None:
    def unknown(filter: str) -> list[str]:
        return client.get("/api/search", params={"q": "gripe", "filter": filter}).json()["unknown_fields"]

    assert unknown("") == unknown('{"text": "outro"}') == []
    assert unknown('{"texto": "gripe"}') == unknown('{"texto": {"not": "gripe"}}') == ["texto"]
    assert unknown('{"$or": [{"\u202exotet": 1}, {"text": "gripe"}]}') == [" xotet"]


@pytest.mark.parametrize(
    ("filter", "said"),
    [
        ("{", "the filter '{' is not JSON"),
        ('["a"]', "is not a JSON object of field to condition"),
        ('{"text": {"gta": 1}}', "gta"),
        ('{"_tenant": "b"}', "tenant"),
        ('{"a": NaN}', "nan"),
        ('{"a":' * 2_000, "is not JSON"),
    ],
)
def test_an_error_of_the_filter_says_that_it_is_one(client: TestClient, filter: str, said: str) -> None:
    response = client.get("/api/search", params={"q": "gripe", "filter": filter})
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["of"]) == (400, "ConfigError", "filter") and said in error["message"]
    assert "of" not in client.get("/api/search", params={"q": "gripe", "k": "0", "filter": "{}"}).json()["error"]


def test_the_page_has_a_field_for_each_parameter_and_a_word_for_each_label() -> None:
    """Without a browser: what the server reads is what the form sends, and what the script looks for is there."""
    page, script = ((server.STATIC / name).read_text(encoding="utf-8") for name in ("index.html", "play.js"))
    assert set(re.findall(r'name="(\w+)"', page)) - {"viewport"} == {"q", "k", "filter"}
    assert set(re.findall(r'\bat\("(\w+)"\)', script)) <= set(re.findall(r'id="(\w+)"', page))
    words = json.loads(server.WORDS.read_text(encoding="utf-8"))["pt"]
    assert {*re.findall(r'data-say="(\w+)"', page), *re.findall(r'\bsay\("(\w+)"', script)} <= set(words)


def test_a_store_that_fails_is_told_as_the_typed_error(client: TestClient, store: MemoryStore) -> None:
    store.close()
    response = client.get("/api/search?q=gripe")
    assert (response.status_code, response.json()["error"]["type"]) == (503, "StoreClosedError")


def test_other_paths_are_not_there(client: TestClient) -> None:
    for path in ("/api/other", "/../server.py", "/%2e%2e/server.py", "/static/play.js"):
        assert client.get(path).status_code == 404
    assert client.post("/api/search?q=a").status_code == 405


def test_several_searches_run_at_once() -> None:
    store = filled(MemoryStore(HashingEncoder(), together=3))  # each search waits for two others
    with client_of(store) as client, ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: client.get("/api/search?q=gripe").json()["hits"][0]["doc_id"], range(3)))
    assert found == ["1"] * 3 and store.most_at_once == 3


def test_a_busy_port_says_what_to_do() -> None:
    with server.listen("127.0.0.1", 0) as first:
        assert server.is_loopback(first)
        with pytest.raises(ConfigError, match="end what uses that port, or choose another one, 0 for any free one"):
            server.listen("127.0.0.1", first.getsockname()[1])


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
def test_every_address_at_once_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="name the one by which"):
        server.listen(host, 0)


@pytest.mark.parametrize("host", ["203.0.113.7", "2001:db8::7"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="must be an address of this machine"):
        server.listen(host, 0)


def test_ipv6_has_brackets() -> None:
    assert (server.in_url("::1"), server.in_url("localhost")) == ("[::1]", "localhost")
    try:
        listening = server.listen("::1", 0)
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    with listening:
        assert listening.family is socket.AF_INET6 and server.is_loopback(listening)


def test_every_file_of_the_page_is_its_own() -> None:
    outside = ("http://", "https://", "//", "@import", "url(")
    for path in Path(server.STATIC).glob("*.[hcs]*"):
        text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert [each for each in outside if each in text] == [], path.name
