"""Qdrant for tests: a real server where there is one, and a stand-in that speaks its REST interface on 127.0.0.1.

The stand-in reads requests with the client's own models, hands them to the client's local mode (the client's reference
implementation of the server), and can be told to fail: `faults` are taken one for each request that they fit.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import ssl
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import numpy as np
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client.embed import schema_parser

from tests.support.certificates import make_certificate as make_certificate  # also imported from here

IMAGE = "qdrant/qdrant:v1.18.0"
VERSION = "1.18.0"

# Each client copies the library's schemas to their last string and reads all authorities' certificates, 0.1 s of work. Nobody changes
# either, so that the clients of thousands of tests share them.
_shared = pytest.MonkeyPatch()
_shared.setattr(schema_parser, "deepcopy", copy, raising=False)
_shared.setattr("httpx._transports.default.create_ssl_context", lru_cache(httpx.create_ssl_context), raising=False)


@dataclass
class Fault:
    """What happens to one request.

    Attributes:
        status, body, headers: the answer; status 0 answers as usual (after the delay).
        after: apply the request first, and fail then.
        delay_s: seconds before the answer.
        reset: break the connection instead of answering.
        path: the fault waits for a request whose path ends so.
    """

    status: int = 0
    body: bytes = b'{"status":{"error":"made up"},"time":0.0}'
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    delay_s: float = 0.0
    reset: bool = False
    path: str = ""


@dataclass
class Seen:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: tuple[str, int] = ("", 0)


class StandIn:
    """The stand-in, running; `url` is its address.

    Attributes:
        faults: what goes wrong next; each is used once.
        seen: the requests so far.
        max_body_bytes: a larger request is refused as Qdrant refuses it.
        api_key: requests without it get 401.
        version: what the server says it is.
        refuse: payloads with this field are refused, each with its whole batch.
        status: what the collections report to be.
        discards: take points without reading or keeping them.
        apart: send the head and the body of an answer apart, with Nagle's algorithm, as Qdrant does.
        gate: searches wait for it.
    """

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.max_body_bytes = 32 * 2**20
        self.api_key: str | None = None
        self.version = VERSION
        self.refuse = ""
        self.status = "green"
        self.discards = self.apart = False
        self.gate = threading.Event()
        self.gate.set()
        self.indexes: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        self.client = QdrantClient(":memory:")
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.daemon_threads = True
        self._http.stand_in = self
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.scheme = "https" if certificate else "http"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def count_of(self, method: str, suffix: str) -> int:
        """How many requests of this kind came in."""
        return sum(seen.method == method and seen.path.endswith(suffix) for seen in self.seen)

    def close(self) -> None:
        self.gate.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self.client.close()


@contextmanager
def stand_in(certificate: tuple[Path, Path] | None = None) -> Iterator[StandIn]:
    """A stand-in for the time of the block."""
    server = StandIn(certificate)
    try:
        yield server
    finally:
        server.close()


# -- a real server -------------------------------------------------------------------------------------------------


@contextmanager
def real_server() -> Iterator[str]:
    """The URL of a real server: SPLADE_TEST_QDRANT_URL, or one in a container.

    Raises:
        LookupError: there is neither; the message says why.
    """
    given = os.environ.get("SPLADE_TEST_QDRANT_URL")
    if given:
        yield given.rstrip("/")
        return
    container = _container()
    try:
        yield f"http://{container.rest_host_address}"
    finally:
        container.stop()


def _container() -> Any:
    nothing = "no Qdrant server: SPLADE_TEST_QDRANT_URL is not set, and"
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        raise LookupError(f"{nothing} there is no Docker")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from testcontainers.qdrant import QdrantContainer

            container = QdrantContainer(IMAGE)
            container.start()
        except Exception as error:  # no Docker, no image, no network: whatever it is, there is no server
            gc.collect()  # Docker's client leaves its socket open
            raise LookupError(f"{nothing} Docker starts none ({' '.join(str(error).split())[:120]})") from error
    return container


# -- the stand-in's inside -------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    stand_in: StandIn
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is not a failure of the test."""


class _Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer: two of them wait for each other
    disable_nagle_algorithm = True
    server: _Server

    def handle_any(self) -> None:
        server = self.server.stand_in
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        server.seen.append(
            Seen(self.command, path, {name.lower(): value for name, value in self.headers.items()}, body, self.client_address)
        )
        if path.endswith("/query"):
            server.gate.wait()
        with server.lock:
            fault = next((fault for fault in server.faults if path.endswith(fault.path)), None)
            if fault is not None:
                server.faults.remove(fault)
        if fault is None or fault.after or fault.status == 0:
            answer = _answer(server, self.command, path, self.headers.get("api-key"), body)
        if fault is None or (fault.status == 0 and not fault.reset):
            self._send(*answer, {}, 0.0 if fault is None else fault.delay_s)
        elif fault.reset:
            self._reset()
        else:
            self._send(fault.status, fault.body, fault.headers, fault.delay_s)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

    def _send(self, status: int, body: bytes, headers: dict[str, str], delay_s: float) -> None:
        time.sleep(delay_s)
        with suppress(OSError):
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.server.stand_in.apart:
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
                self.wfile.flush()
            self.wfile.write(body)
            self.wfile.flush()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _answer(server: StandIn, method: str, path: str, key: str | None, body: bytes) -> tuple[int, bytes]:
    try:
        if server.api_key is not None and key != server.api_key:
            raise _Refused(401, "Must provide an API key or an Authorization bearer token")
        if len(body) > server.max_body_bytes:
            size = f"JSON payload ({len(body)} bytes) is larger than allowed (limit: {server.max_body_bytes} bytes)."
            raise _Refused(400, f"Payload error: {size}")
        with server.lock:
            result = _route(server, method, [part for part in path.split("/") if part], body)
        if path == "/":
            return 200, json.dumps(result).encode()
        return 200, b'{"result":' + _json(result) + b',"status":"ok","time":0.0}'
    except _Refused as refused:
        status, reason = refused.status, refused.reason
    except ValidationError as error:
        status, reason = 422, f"Validation error in JSON body: {error.errors()[0]['msg']}"
    except ValueError as error:
        status, reason = _as_the_server_says(str(error))
    return status, json.dumps({"status": {"error": reason}, "time": 0.0}).encode()


def _as_the_server_says(text: str) -> tuple[int, str]:
    if text.startswith("Collection") and "not found" in text:
        return 404, f"Not found: {text.replace('not found', '')}doesn't exist!"
    if "already exists" in text:
        return 409, f"Wrong input: {text}!"
    if "not found" in text:
        return 400, f"Wrong input: Not existing vector name error: {text}"
    return 400, f"Wrong input: {text}"


def _json(result: Any) -> bytes:
    return TypeAdapter(Any).dump_json(result, exclude_none=True)


def _route(server: StandIn, method: str, parts: list[str], body: bytes) -> Any:
    match method, *parts:
        case ["GET"]:
            return {"title": "qdrant - vector search engine", "version": server.version}
        case ["GET", "collections"]:
            return server.client.get_collections()
        case ["GET", "aliases"]:
            return server.client.get_aliases()
        case ["POST", "collections", "aliases"]:
            return _aliases(server, models.ChangeAliasesOperation.model_validate_json(body))
        case [_, "collections", name]:
            return _collection(server, method, name, body)
        case ["GET", "collections", name, "exists"]:
            return {"exists": server.client.collection_exists(_resolve(server, name))}
        case [_, "collections", name, *rest]:
            return _points(server, method, _resolve(server, name), "/".join(rest), body)
    raise _Refused(404, "")


def _resolve(server: StandIn, name: str) -> str:
    aliases = {alias.alias_name: alias.collection_name for alias in server.client.get_aliases().aliases}
    return aliases.get(name, name)


def _aliases(server: StandIn, change: models.ChangeAliasesOperation) -> bool:
    names = {found.name for found in server.client.get_collections().collections}
    for action in change.actions:
        if isinstance(action, models.CreateAliasOperation) and action.create_alias.alias_name in names:
            raise _Refused(409, f"Wrong input: Collection `{action.create_alias.alias_name}` already exists!")
    return server.client.update_collection_aliases(change.actions)


def _collection(server: StandIn, method: str, name: str, body: bytes) -> Any:
    if method == "GET":
        info = server.client.get_collection(name)
        indexes = server.indexes.get(_resolve(server, name), {})
        info.payload_schema = {
            field: index.model_copy(update={"points": _indexed(server, name, field)}) for field, index in indexes.items()
        }
        info.status = models.CollectionStatus(server.status)
        return info
    if method == "PUT":
        wanted = models.CreateCollection.model_validate_json(body)
        server.client.create_collection(
            name, vectors_config=wanted.vectors, sparse_vectors_config=wanted.sparse_vectors, metadata=wanted.metadata
        )
        return True
    if method == "PATCH":
        return server.client.update_collection(name, metadata=models.UpdateCollection.model_validate_json(body).metadata)
    if method == "DELETE":
        server.indexes.pop(name, None)
        return server.client.delete_collection(name)
    raise _Refused(405, "")


def _points(server: StandIn, method: str, name: str, route: str, body: bytes) -> Any:
    server.client.get_collection(name)  # 404 before anything else
    handlers: dict[str, Callable[[StandIn, str, bytes], Any]] = {
        "PUT index": _index,
        "PUT points": _upsert,
        "POST points": _retrieve,
        "POST points/query": _query,
        "POST points/query/batch": _query_batch,
        "POST points/count": _count,
        "POST points/scroll": _scroll,
        "POST points/delete": _delete,
    }
    handler = handlers.get(f"{method} {route}")
    if handler is None:
        raise _Refused(404, "")
    return handler(server, name, body)


def _index(server: StandIn, name: str, body: bytes) -> Any:
    wanted = models.CreateFieldIndex.model_validate_json(body)
    kind = wanted.field_schema.type if isinstance(wanted.field_schema, BaseModel) else wanted.field_schema
    parameters = wanted.field_schema if isinstance(wanted.field_schema, BaseModel) else None
    found = models.PayloadIndexInfo(data_type=models.PayloadSchemaType(str(kind.value)), params=parameters, points=0)
    server.indexes.setdefault(name, {})[wanted.field_name] = found
    return _done()


def _indexed(server: StandIn, name: str, field: str) -> int:
    """How many points have this field."""
    empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=field))
    found: int = server.client.count(name, count_filter=models.Filter(must_not=[empty])).count
    return found


def _upsert(server: StandIn, name: str, body: bytes) -> Any:
    if server.discards:
        return _done()
    points = models.PointsList.model_validate_json(body).points
    if server.refuse and any(server.refuse in (point.payload or {}) for point in points):
        raise _Refused(400, f"Wrong input: a point has the field {server.refuse!r}")
    server.client.upsert(name, list({_key(point.id): point for point in points}.values()))
    return _done()


def _retrieve(server: StandIn, name: str, body: bytes) -> Any:
    wanted = models.PointRequest.model_validate_json(body)
    return server.client.retrieve(
        name, wanted.ids, with_payload=_or(wanted.with_payload, True), with_vectors=_or(wanted.with_vector, False)
    )


def _query(server: StandIn, name: str, body: bytes) -> Any:
    wanted = models.QueryRequest.model_validate_json(body)
    answer = server.client.query_points(
        name,
        query=wanted.query,
        using=wanted.using,
        prefetch=wanted.prefetch,
        query_filter=wanted.filter,
        limit=_or(wanted.limit, 10),
        with_payload=_or(wanted.with_payload, False),
        with_vectors=_or(wanted.with_vector, False),
        score_threshold=wanted.score_threshold,
    )
    for point in answer.points:  # the server writes the shortest decimals that mean the same float32
        point.score = float(str(np.float32(point.score)))
    return answer


def _query_batch(server: StandIn, name: str, body: bytes) -> Any:
    asked = models.QueryRequestBatch.model_validate_json(body).searches
    return [_query(server, name, each.model_dump_json(exclude_none=True).encode()) for each in asked]


def _count(server: StandIn, name: str, body: bytes) -> Any:
    return server.client.count(name, count_filter=models.CountRequest.model_validate_json(body).filter)


def _scroll(server: StandIn, name: str, body: bytes) -> Any:
    wanted = models.ScrollRequest.model_validate_json(body)
    points, following = server.client.scroll(
        name,
        scroll_filter=wanted.filter,
        limit=_or(wanted.limit, 10),
        offset=wanted.offset,
        with_payload=_or(wanted.with_payload, True),
        with_vectors=_or(wanted.with_vector, False),
    )
    return models.ScrollResult(points=points, next_page_offset=following)


def _delete(server: StandIn, name: str, body: bytes) -> Any:
    selector: Any = TypeAdapter(models.PointsSelector).validate_json(body)
    server.client.delete(name, selector)
    return _done()


def _done() -> models.UpdateResult:
    return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _key(point: Any) -> str:
    return str(point).replace("-", "")
