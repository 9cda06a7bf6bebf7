"""splade-ptbr play: it starts, ends by Ctrl-C, and says what is wrong before it serves."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.parse
import urllib.request

import pytest

pytest.importorskip("starlette")

from splade_ptbr_connectors import ingest, open_store
from splade_ptbr_connectors.play import server
from tests.support.playing import Playing, playing

from .conftest import DOCUMENTS, Command, assert_fails


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"edge:{tmp_path_factory.mktemp('play') / 'loja nova'}"
    with open_store(url, encoder="mini-lexico") as store:
        ingest(DOCUMENTS, store)
    return url


def test_it_serves_until_ctrl_c_and_leaves_the_store_free(url: str) -> None:
    with playing(url) as running:
        assert running.url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{running.url}api/search?q=gripe") as response:
            assert {hit["doc_id"] for hit in json.load(response)["hits"]} == {"1", "4"}
        assert running.interrupt() == (0, "")
    open_store(url).close()


@pytest.mark.parametrize("character", ["a", "ç"])
def test_a_query_that_is_too_long_is_told_so_and_one_below_is_answered(url: str, character: str) -> None:
    with playing(url) as running:
        with pytest.raises(urllib.error.HTTPError) as failed, urllib.request.urlopen(_asking(running, character * 150_000)):
            pass
        assert failed.value.code == 414
        error = json.load(failed.value)["error"]
        assert error == {"type": "TextError", "message": "the query has 150,000 characters: at most 10,000 are accepted; shorten it."}
        with urllib.request.urlopen(_asking(running, "gripe " + character * (server.MOST_CHARACTERS - 6))) as response:
            assert {hit["doc_id"] for hit in json.load(response)["hits"]} == {"1", "4"}


@pytest.mark.parametrize("part", ["query", "filter", "header"])
def test_a_request_that_is_too_large_is_answered_and_the_next_one_too(url: str, part: str) -> None:
    long = "a" * (20 * 2**20)
    address = {"query": lambda: _asking(running, long), "filter": lambda: f"{_asking(running, 'gripe')}&filter={long}"}
    with playing(url) as running:
        asked = urllib.request.Request(address.get(part, lambda: running.url)(), headers={"X-Long": long} if part == "header" else {})
        with pytest.raises(urllib.error.HTTPError) as failed, urllib.request.urlopen(asked):
            pass
        assert failed.value.code == 413
        error = json.load(failed.value)["error"]
        assert error["type"] == "InputError" and "more than 16 MiB" in error["message"]
        assert all(said in error["message"] for said in ("query and filter", "headers", "10,000 characters"))
        with urllib.request.urlopen(_asking(running, "gripe")) as response:
            assert {hit["doc_id"] for hit in json.load(response)["hits"]} == {"1", "4"}


def test_what_is_no_http_is_refused_at_once(url: str) -> None:
    with playing(url) as running:
        address = urllib.parse.urlparse(running.url)
        with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
            connection.sendall(b"no HTTP at all\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_request_that_goes_on_with_what_is_not_http_is_closed_without_a_traceback(url: str) -> None:
    with playing(url) as running:
        there = urllib.parse.urlsplit(running.url)
        with socket.create_connection((str(there.hostname), there.port or 0), timeout=120) as client:
            head = "GET /api/search?q=gripe HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            client.sendall(f"{head}1\r\na\r\n".encode())
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert {hit["doc_id"] for hit in json.load(answer)["hits"]} == {"1", "4"}
            client.sendall(b"no chunk\r\n")
            assert client.recv(1) == b""
        code, err = running.interrupt()
        assert code == 0 and "Traceback" not in err


def _asking(running: Playing, query: str) -> str:
    return f"{running.url}api/search?{urllib.parse.urlencode({'q': query})}"


def test_for_people_the_address_in_the_language_of_the_locale(cli: Command, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "serve", lambda *_: None)
    for locale, said in (("pt_BR.UTF-8", "A página está em http://127.0.0.1:"), ("C", "The page is at http://127.0.0.1:")):
        monkeypatch.setenv("LC_ALL", locale)
        outcome = cli("play", "--store", filled, "--port", 0)
        assert (outcome.code, outcome.err) == (0, "") and said in outcome.out


def test_the_store_of_the_environment_may_have_blanks(cli: Command, corpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "serve", lambda *_: None)
    assert cli("ingest", corpus, "--store", "edge:minha loja").code == 0
    monkeypatch.setenv("SPLADE_PTBR_STORE", "edge:minha loja")
    assert cli("play", "--port", 0, "--json").json["stores"] == ["edge:minha loja"]


def test_what_cannot_be_served(cli: Command, filled: str) -> None:
    assert_fails(cli("play"), 2, "--store")
    assert_fails(cli("play", *("--store", filled) * 3), 2, "3 times", "once, or twice")
    assert_fails(cli("play", "--store", "edge:nada", "--port", 0), 5, "no store at edge:nada")
    assert_fails(cli("play", "--store", filled, "--host", "0.0.0.0"), 2, "0.0.0.0", "name the one")
    assert_fails(cli("play", "--store", filled, "--port", 65536), 2, "--port")
    with server.listen("127.0.0.1", 0) as taken:
        assert_fails(cli("play", "--store", filled, "--port", taken.getsockname()[1]), 2, "Address already in use", "0 for any free one")
