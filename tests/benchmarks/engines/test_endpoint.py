"""Vectors of an endpoint are those of the model behind it; what it refuses, or gives wrongly, is a typed error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.errors import ConfigError, ModelError, ModelFormatError
from tests.benchmarks import models
from tests.benchmarks.engines.built import built, queries
from tests.benchmarks.small_workloads import make_workload

pytest.importorskip("openai")

from benchmarks.engines import endpoint

KEY = "a-key"
FIRM = {"x-should-retry": "false"}  # the client takes it as the server's last word


@dataclass
class StandIn:
    """OpenAI's /embeddings over the tests' own model, with the vectors of a request in reverse order.

    Attributes:
        faults: answers that are given instead, one a request: status, body, headers.
        seen: (key, model, number of texts) of each request.
    """

    url: str = ""
    faults: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    seen: list[tuple[str, str, int]] = field(default_factory=list)

    def answer(self, path: str, key: str, asked: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        self.seen.append((key, asked["model"], len(asked["input"])))
        if self.faults:
            return self.faults.pop(0)
        assert path == "/v1/embeddings"
        return 200, embeddings(models.embeddings.embed_documents(asked["input"])), {}


def embeddings(vectors: list[list[float]]) -> bytes:
    data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
    return json.dumps({"object": "list", "data": data[::-1], "model": "small", "usage": {"prompt_tokens": 1, "total_tokens": 1}}).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body, headers = stand_in.answer(self.path, self.headers["Authorization"].removeprefix("Bearer "), asked)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, args=[0.01])
        thread.start()
        stand_in.url = f"http://127.0.0.1:{http.server_port}/v1"
        yield stand_in
        http.shutdown()
        thread.join()


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    return make_workload(tmp_path / "workload", documents=25, queries=5)


def chosen(server: StandIn, **more: str) -> dict[str, str]:
    return {"dense-url": server.url, "dense": "small", **more}


@pytest.mark.parametrize("name", ["dense", "hybrid"])
def test_an_endpoint_finds_what_its_model_finds(server: StandIn, workload: Workload, tmp_path: Path, name: str) -> None:
    asked = built(name, workload, tmp_path / "asked", {f"{name}.batch": "10"}, chosen(server, **{"dense-query": "small-for-queries"}))
    alone = built(name, workload, tmp_path / "alone")
    for query in queries(workload):
        one, other = asked.search(query, 10), alone.search(query, 10)
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)  # an engine may add up in another order
    assert server.seen == [(KEY, "small", 10), (KEY, "small", 10), (KEY, "small", 5), *[(KEY, "small-for-queries", 1)] * 5]
    facts = asked.facts()
    assert (facts["dense"], facts["dense-url"], facts["dense-query"]) == ("small", server.url, "small-for-queries")
    assert not any(KEY in path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    asked.close()
    alone.close()


def test_a_busy_server_is_asked_again(server: StandIn, workload: Workload, tmp_path: Path) -> None:
    server.faults += [(429, b"{}", {"retry-after-ms": "1"}), (503, b"{}", {"retry-after-ms": "1"})]
    built("dense", workload, tmp_path / "home", models=chosen(server)).close()
    assert [count for _, _, count in server.seen] == [25] * 3 + [1] * 5


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (401, ConfigError, r"does not accept the key \(.*made up.*\): set OPENAI_API_KEY to one that may use 'small'"),
        (403, ConfigError, "does not accept the key"),
        (404, ConfigError, r"has no model 'small', or no /embeddings \(.*made up"),
        (400, ModelError, r"did not embed texts with 'small' \(.*made up"),
        (429, ModelError, "did not embed texts with 'small'"),
        (500, ModelError, "did not embed texts with 'small'"),
    ],
)
def test_a_refusal_says_what_to_do(
    server: StandIn, workload: Workload, tmp_path: Path, status: int, kind: type[Exception], message: str
) -> None:
    server.faults.append((status, b'{"error": {"message": "made up"}}', FIRM))
    with pytest.raises(kind, match=f"the endpoint {server.url} {message}"):
        built("dense", workload, tmp_path / "home", models=chosen(server))


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (embeddings([[1.0, 2.0]] * 24), {}, "gave 24 numbered vectors for 25 texts"),
        (embeddings([[1.0, 2.0]] * 26), {}, "gave 26 numbered vectors for 25 texts"),
        (embeddings([[1.0, 2.0]] * 25).replace(b'"index": 3', b'"index": 4'), {}, "gave 24 numbered vectors for 25 texts"),
        (embeddings([[1.0, 2.0]] * 25), {}, "must give 2 numbers a text, as before"),  # queries have 16
        (embeddings([["a"]] * 25), {}, "no numbers"),  # type: ignore[list-item]
        (b"{}", {}, "gave 0 numbered vectors for 25 texts"),
        (b"<html>a page</html>", {"Content-Type": "text/html"}, "gave 0 numbered vectors for 25 texts"),
        (b"half a", {}, "did not answer in JSON"),
    ],
)
def test_an_answer_that_is_no_embeddings(
    server: StandIn, workload: Workload, tmp_path: Path, body: bytes, headers: dict[str, str], message: str
) -> None:
    server.faults.append((200, body, headers))
    with pytest.raises(ModelFormatError, match=message):
        built("dense", workload, tmp_path / "home", models=chosen(server))


def test_no_server(server: StandIn, workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "RETRIES", 0)
    with pytest.raises(ModelError, match=r"http://127.0.0.1:1/v1 cannot be reached \(.+\): check the address"):
        built("dense", workload, tmp_path / "home", models={"dense-url": "http://127.0.0.1:1/v1", "dense": "small"})


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000/v1", "ftp://host/v1", "http://", "http://user:secret@host/v1", "https://host/v1?key=secret"]
)
def test_an_address_that_is_none(server: StandIn, url: str) -> None:
    with pytest.raises(ConfigError, match=r"must be of the form http\(s\)://HOST/PATH.*OPENAI_API_KEY") as told:
        endpoint.Endpoint(url, "small", "small")
    assert "secret" not in str(told.value)


def test_no_key(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="set OPENAI_API_KEY, to any text where the server wants none"):
        endpoint.Endpoint(server.url, "small", "small")


def test_no_client(server: StandIn, workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "benchmarks.engines.endpoint")
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match="--dense-url needs openai: pip install openai"):
        built("dense", workload, tmp_path / "home", models=chosen(server))
