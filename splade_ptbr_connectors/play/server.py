"""The server of the page: its files and two questions in JSON, for those who reach the address that it listens on.

    GET /api/stores                     what each store is
    GET /api/search?store=0&q=...&k=10  what the query becomes, and its hits; &filter={...} narrows them

Stores are shared by all requests, each of which runs in a thread. An error of this package is {"error": {"type", "message"}}; one of the
filter says so: {"error": {..., "of": "filter"}}.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError, InputError, SpladeConnectorsError, TextError
from ..extras import require
from ..filters import read_filter
from ..numerals import integer
from ..retrieval import check_arguments
from ..stores.base import Store
from ..stores.entries import ParsedFilter, parsed
from . import answers

for _library in ("starlette", "uvicorn"):
    require(_library, "the page")  # before they are imported below: the error names the extra

import uvicorn  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.datastructures import MutableHeaders  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.middleware.trustedhost import TrustedHostMiddleware  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import JSONResponse  # noqa: E402
from starlette.routing import Mount, Route  # noqa: E402
from starlette.staticfiles import StaticFiles  # noqa: E402
from starlette.types import ASGIApp, Message, Receive, Scope, Send  # noqa: E402

from .protocol import MAX_REQUEST_BYTES, Protocol  # noqa: E402

STATIC = Path(__file__).parent / "static"
WORDS = STATIC / "words.json"  # what the page and its command say, in Portuguese and English
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
PARAMETERS = ("q", "k", "store", "filter")  # of a search
MOST_CHARACTERS = 10_000  # of a query: a pasted chapter would keep a core for minutes
GRACE_S = 5  # that requests under way are given when the server ends
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",  # what stores hold stays out of the browser's files
}


def application(stores: Sequence[Store], host: str = "127.0.0.1") -> Starlette:
    """The page over open stores.

    Args:
        host: what is listened on. A request for any other name is refused: a foreign site may point a name of its own here (DNS rebinding).
    """

    def about(request: Request) -> JSONResponse:
        return JSONResponse([answers.about(store) for store in stores])

    def search(request: Request) -> JSONResponse:
        check_arguments("/api/search", request.query_params, PARAMETERS)
        store, query = _chosen(stores, request), request.query_params.get("q", "")
        if len(query) > MOST_CHARACTERS:
            return _as_json(
                TextError(f"the query has {len(query):,} characters: at most {MOST_CHARACTERS:,} are accepted; shorten it."), 414
            )
        try:
            filter = _filter(request)
        except ConfigError as error:
            return _as_json(error, 400, of="filter")
        return JSONResponse(answers.search(store, query, _number(request, "k", 10), filter))

    return Starlette(
        routes=[
            Route("/api/stores", about),
            Route("/api/search", search),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ],
        middleware=[Middleware(_WithHeaders), Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, in_url(host)])],
        exception_handlers={SpladeConnectorsError: _told},
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any free one. Raises ConfigError: the address cannot be had."""
    if not host or _is_wildcard(host):
        raise ConfigError(f"host {host!r} is every address of this machine: name the one by which the page is to be reached.")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise ConfigError(
            f"cannot listen on {in_url(host)}:{port} ({reason}): end what uses that port, or choose another one, 0 for any free one; the "
            "host must be an address of this machine."
        ) from error


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine reaches the socket."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def in_url(host: str) -> str:
    """An address as URLs have it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def serve(app: Starlette, listening: socket.socket) -> None:
    """Answer requests until Ctrl-C; those under way are finished."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=MAX_REQUEST_BYTES,
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn has shut down and raises it again: here it is the way to end
        pass


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:  # a name
        return False


def _chosen(stores: Sequence[Store], request: Request) -> Store:
    number = _number(request, "store", 0)
    if not 0 <= number < len(stores):
        raise ConfigError(f"store is {number}: it must be the number of a store, from 0 to {len(stores) - 1}.")
    return stores[number]


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    number = integer(text)
    if number is None:
        raise ConfigError(f"{name} is {text!r:.80}: it must be a whole number.")
    return number


def _filter(request: Request) -> ParsedFilter:
    text = request.query_params.get("filter", "")
    return parsed(read_filter(text, "the filter") if text.strip() else None)


def _told(request: Request, error: Exception) -> JSONResponse:
    return _as_json(error, 400 if isinstance(error, ConfigError | InputError) else 503)


def _as_json(error: Exception, status: int, **more: str) -> JSONResponse:
    return JSONResponse({"error": {"type": type(error).__name__, "message": " ".join(str(error).split()), **more}}, status)


class _WithHeaders:
    """Gives every response HEADERS."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)
