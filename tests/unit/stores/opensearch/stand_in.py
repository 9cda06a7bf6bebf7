"""A loopback stand-in for OpenSearch: an index in a dict, which answers as the server does, and fails on demand."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Fault:
    """What happens to one request instead of, or after, its being served.

    Attributes:
        status, body, headers: answered instead; status None serves the request.
        served: the request takes effect although its answer is lost or wrong.
        delay_s: how long the answer takes.
        reset: the connection is reset instead of an answer.
        items: how many outcomes of a bulk request are answered; the others took effect all the same.
        item_status: outcome of the first so many items, which do not take effect.
        item_error: what these items say of it.
    """

    status: int | None = None
    body: bytes = b'{"error":{"type":"an_exception","reason":"because"}}'
    headers: dict[str, str] = field(default_factory=dict)
    served: bool = False
    delay_s: float = 0.0
    reset: bool = False
    items: int | None = None
    item_status: tuple[int, ...] = ()
    item_error: dict[str, str] = field(default_factory=lambda: {"type": "es_rejected_execution_exception", "reason": "rejected"})


class StandIn:
    """The state of the stand-in.

    Attributes:
        documents: `_source` by `_id`.
        faults: what becomes of the next requests whose path ends with the key.
        seen: (method, path) of every request.
        bulks: (time, bytes of the body, ids) of every bulk request.
        headers: of every request.
        max_bytes: a larger body is answered with 413.
        gate: bulk requests wait for it.
    """

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.index: dict[str, Any] | None = None
        self.name = ""
        self.faults: dict[str, list[Fault]] = {}
        self.seen: list[tuple[str, str]] = []
        self.bulks: list[tuple[float, int, list[str]]] = []
        self.headers: list[dict[str, str]] = []
        self.max_bytes = 10**9
        self.authorization: str | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""

    def fail(self, path_end: str, *faults: Fault) -> None:
        self.faults.setdefault(path_end, []).extend(faults)

    def fault(self, path: str) -> Fault:
        for end, waiting in self.faults.items():
            if path.endswith(end) and waiting:
                return waiting.pop(0)
        return Fault()

    # -- what the server does ------------------------------------------------------------------------------------------

    def serve(self, method: str, path: str, body: bytes, fault: Fault) -> tuple[int, Any]:
        parts = [unquote(part) for part in path.strip("/").split("/") if part]
        last = parts[-1] if parts else ""
        if not parts:
            return 200, {"version": {"distribution": "opensearch", "number": "3.6.0"}}
        if last == "_bulk":
            return 200, self.bulk(body, fault)
        if last == "_mget":
            ids = [doc["_id"] for doc in json.loads(body)["docs"]]
            return 200, {"docs": [self.found(key) for key in ids]}
        if last == "_count":
            return 200, {"count": len(self.documents), "_shards": {"total": 1, "failed": 0}}
        if last == "_search":
            return 200, self.search(json.loads(body))
        if last == "_refresh":
            return 200, {"_shards": {"total": 1, "failed": 0}}
        if last == "point_in_time" and method == "POST":
            return 200, {"pit_id": "p", "_shards": {"total": 1, "failed": 0}}
        if last == "plugins":
            return 200, []
        if parts[0] == "_cluster":
            return 200, {"defaults": {"indices.query.bool.max_clause_count": "1024"}}
        return self.manage(method, parts, body)

    def manage(self, method: str, parts: list[str], body: bytes) -> tuple[int, Any]:
        if method == "PUT" and len(parts) == 1:
            self.name = parts[0]
            self.index = json.loads(body)
        elif method == "PUT" and parts[-1] == "_mapping" and self.index:
            self.index["mappings"].update(json.loads(body))
        elif method == "PUT" and parts[-1] == "_settings" and self.index:
            self.index["settings"].update(json.loads(body))
        elif method == "GET":
            if self.index is None:
                return 404, {"error": {"type": "index_not_found_exception", "reason": "no such index"}}
            return 200, {self.name: {**self.index, "settings": {**self.index["settings"], "index.uuid": "u"}}}
        return 200, {"acknowledged": True}

    def bulk(self, body: bytes, fault: Fault) -> dict[str, Any]:
        items: list[dict[str, Any]] = []
        lines = iter(body.splitlines())
        statuses = iter(fault.item_status)
        for line in lines:
            [(action, target)] = json.loads(line).items()
            source = json.loads(next(lines)) if action == "index" else None
            status = next(statuses, None)
            if status is not None:
                error = {**fault.item_error, "reason": f"{fault.item_error['reason']}\nwith {status}"}
                items.append({action: {"_id": target["_id"], "status": status, "error": error}})
            elif source is not None:
                self.documents[target["_id"]] = source
                items.append({action: {"_id": target["_id"], "status": 201}})
            else:
                status = 200 if self.documents.pop(target["_id"], None) else 404
                items.append({action: {"_id": target["_id"], "status": status}})
        return {"errors": bool(fault.item_status), "items": items if fault.items is None else items[: fault.items]}

    def found(self, key: str) -> dict[str, Any]:
        return {"_id": key, "found": True, "_source": self.documents[key]} if key in self.documents else {"_id": key, "found": False}

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        fields = body["_source"] or []
        rows: list[dict[str, Any]] = []
        for key, source in sorted(self.documents.items()):
            returned = {"_source": {name: source[name] for name in fields if name in source}} if fields else {}
            rows.append({"_id": key, "_score": 1.5, "sort": [1.5, source.get("doc_id")], **returned})
        return {"_shards": {"total": 1, "failed": 0}, "timed_out": False, "hits": {"hits": rows}}


def handler(server: StandIn) -> type[BaseHTTPRequestHandler]:
    """The class that answers HTTP for this stand-in."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            server.seen.append((self.command, parts.path))
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            if parts.path.endswith("_bulk"):
                assert parse_qs(parts.query)["require_alias"] == ["true"]
                server.bulks.append((time.monotonic(), len(body), ids_in(body)))
                server.gate.wait()
            fault = server.fault(parts.path)
            status, content = self.outcome(parts.path, body, fault)
            time.sleep(fault.delay_s)
            if fault.reset:
                self.reset()
            else:
                self.send(status, content, fault.headers if fault.status is not None else {})

        def outcome(self, path: str, body: bytes, fault: Fault) -> tuple[int, bytes]:
            if server.authorization is not None and self.headers.get("authorization") != server.authorization:
                return 401, b"Unauthorized"
            if len(body) > server.max_bytes:
                return 413, b"<html>413 Request Entity Too Large</html>"
            if fault.status is None or fault.served:
                status, content = server.serve(self.command, path, body, fault)
            return (fault.status, fault.body) if fault.status is not None else (status, json.dumps(content).encode())

        def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            with contextlib.suppress(OSError):  # the client gave up waiting
                self.send_response(status)
                kind = "application/json" if content[:1] in b"{[" else "text/html"
                for name, value in {"content-type": kind, "content-length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

        def reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def ids_in(body: bytes) -> list[str]:
    """The `_id`s of a bulk request."""
    actions = [json.loads(line) for line in body.splitlines() if line.startswith((b'{"index":', b'{"delete":'))]
    return [next(iter(action.values()))["_id"] for action in actions]


@contextlib.contextmanager
def running(certificate: tuple[Path, Path] | None = None) -> Iterator[StandIn]:
    """A stand-in on a free port of 127.0.0.1, over TLS with a certificate and its key."""
    server = StandIn()
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(server))
    http.daemon_threads = True
    http.handle_error = lambda request, address: None  # type: ignore[method-assign]
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    server.url = f"{'https' if certificate else 'http'}://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        http.shutdown()
        thread.join()
        http.server_close()
