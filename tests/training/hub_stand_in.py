"""A stand-in for the hub's HTTP API on 127.0.0.1: repositories, branches, LFS and commits, held in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

Answer = tuple[int, Any]
REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    private: bool = False
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    lfs: set[str] = field(default_factory=set)
    commits: int = 0

    @property
    def sha(self) -> str:
        return f"{self.commits:040x}"


@dataclass
class Hub:
    """What arrived, and what goes wrong: `failures` maps "METHOD pattern" to the answers of the next such requests."""

    token: str
    lfs_from: int = 10_000
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    failures: dict[str, list[Answer]] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        self.requests.append(f"{method} {path}")
        for pattern, answers in self.failures.items():
            if answers and re.fullmatch(pattern, f"{method} {path}"):
                return answers.pop(0)
        if not path.startswith("/stored/") and headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {"error": "Invalid credentials in Authorization header"}
        for pattern, handle in self._routes().items():
            if found := re.fullmatch(pattern, f"{method} {path}"):
                given = {name: unquote(value) for name, value in found.groupdict().items() if value}
                return handle(body, **given)
        return 404, {"error": f"the stand-in has no {method} {path}"}

    def _routes(self) -> dict[str, Callable[..., Answer]]:
        return {
            "POST /api/repos/create": self.create,
            "POST /api/validate-yaml": lambda body: (200, {"errors": [], "warnings": []}),
            f"GET /api/models/{REPO}(/revision/(?P<revision>[^/]+))?": self.info,
            f"POST /api/models/{REPO}/branch/(?P<branch>[^/]+)": self.branch,
            f"POST /api/models/{REPO}/preupload/(?P<revision>[^/]+)": self.preupload,
            f"POST /{REPO}.git/info/lfs/objects/batch": self.lfs_batch,
            "PUT /stored/(?P<oid>[0-9a-f]+)": self.store,
            f"POST /api/models/{REPO}/commit/(?P<revision>[^/]+)": self.commit,
            f"GET /api/models/{REPO}/tree/(?P<revision>[^/]+)": self.tree,
        }

    def create(self, body: bytes) -> Answer:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.repositories:
            return 409, {"error": "You already created this model repo", "url": f"{self.url}/{name}"}
        self.repositories[name] = Repository(private=asked.get("visibility") == "private" or bool(asked.get("private")))
        return 200, {"url": f"{self.url}/{name}", "name": name}

    def info(self, body: bytes, repo: str, revision: str = "main") -> Answer:
        if repo not in self.repositories:
            return self.missing()
        found = self.repositories[repo]
        return 200, {"id": repo, "sha": found.sha, "private": found.private, "siblings": []}

    def missing(self) -> Answer:
        return 404, {"error": "Repository not found", "code": "RepoNotFound"}

    def branch(self, body: bytes, repo: str, branch: str) -> Answer:
        branches = self.repositories[repo].branches
        if branch in branches:
            return 409, {"error": f"Reference already exists: refs/heads/{branch}"}
        branches[branch] = dict(branches["main"])
        return 200, {}

    def preupload(self, body: bytes, repo: str, revision: str) -> Answer:
        if repo not in self.repositories:
            return self.missing()
        there = self.repositories[repo].branches.get(revision)
        if there is None:
            return 404, {"error": "Revision not found", "code": "RevisionNotFound"}
        files = [self._mode(file, there) for file in json.loads(body)["files"]]
        return 200, {"files": files}

    def _mode(self, file: dict[str, Any], there: dict[str, bytes]) -> dict[str, Any]:
        large = file["size"] >= self.lfs_from
        content = there.get(file["path"])
        oid = None if content is None else hashlib.sha256(content).hexdigest() if large else blob_id(content)
        return {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def lfs_batch(self, body: bytes, repo: str) -> Answer:
        objects = []
        for asked in json.loads(body)["objects"]:
            entry = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.stored:
                entry["actions"] = {"upload": {"href": f"{self.url}/stored/{asked['oid']}", "header": {}}}
            objects.append(entry)
        return 200, {"transfer": "basic", "objects": objects}

    def store(self, body: bytes, oid: str) -> Answer:
        if hashlib.sha256(body).hexdigest() != oid:
            return 400, {"error": "the content is not what its name says"}
        self.stored[oid] = body
        self.sent[oid] += 1
        return 200, {}

    def commit(self, body: bytes, repo: str, revision: str) -> Answer:
        found = self.repositories[repo]
        files = found.branches[revision]
        for line in body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
                self.sent[item["value"]["path"]] += 1
            elif item["key"] == "lfsFile":
                files[item["value"]["path"]] = self.stored[item["value"]["oid"]]
                found.lfs.add(item["value"]["path"])
        found.commits += 1
        return 200, {"success": True, "commitOid": found.sha, "commitUrl": f"{self.url}/{repo}/commit/{found.sha}", "hookOutput": ""}

    def tree(self, body: bytes, repo: str, revision: str) -> Answer:
        found = self.repositories[repo]
        return 200, [self._entry(path, content, path in found.lfs) for path, content in found.branches[revision].items()]

    def _entry(self, path: str, content: bytes, lfs: bool) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
        if lfs:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry


class Server:
    """The hub behind a port of 127.0.0.1."""

    def __init__(self, hub: Hub) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                status, content = hub.answer(self.command, urlsplit(self.path).path, self.headers, self._body())
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                if status >= 400 and isinstance(content, dict) and "code" in content:
                    self.send_header("X-Error-Code", content["code"])
                if status >= 400 and isinstance(content, dict):
                    self.send_header("X-Error-Message", content["error"])
                self.end_headers()
                self.wfile.write(data)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "") == "chunked":
                    parts = []
                    while size := int(self.rfile.readline(), 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                    return b"".join(parts)
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            do_GET = do_POST = do_PUT = _serve

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        hub.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
