"""The clients of a Qdrant server, made from an address and credentials."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from ...errors import ConfigError
from ..address import ServerAddress
from ..calls import Call, Operation
from ..credentials import Credentials, InsecureConnectionWarning, environment_names
from ..retries import UnfinishedError
from .settings import QdrantSettings

QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only
KEPT_S = 4.0  # the server closes a connection that was idle for 5 s


T = TypeVar("T")


def ask(make: Callable[[QdrantClient], T], *, patient: bool = False, retry: bool = True) -> Operation[T]:
    """The answer to one call; see Call."""
    answer: T = yield Call(make, _applied, patient, retry)
    return answer


def _applied(answer: Any) -> Any:
    """The answer of a write only when it is applied: "acknowledged" is merely queued, and may be lost or unseen."""
    if isinstance(answer, models.UpdateResult) and answer.status != models.UpdateStatus.COMPLETED:
        raise UnfinishedError(f"the server accepted a write but has not applied it ({answer.status})")
    return answer


@dataclass(frozen=True)
class Clients:
    """Makes clients for one server. The API key goes into a header and nowhere else."""

    address: ServerAddress
    credentials: Credentials
    settings: QdrantSettings

    def check(self) -> None:
        """Raise ConfigError for credentials that cannot be used here, and warn about unsafe ones."""
        key, tls, grpc = self.credentials.api_key, self.address.tls, self._grpc
        if self.credentials.user is not None:
            raise ConfigError(f"Qdrant takes an API key, not user and password: set {environment_names('qdrant')['api_key']} instead.")
        if key is not None and not (key.get_secret_value().isascii() and key.get_secret_value().isprintable()):
            raise ConfigError("the API key holds characters that no HTTP header can carry: check it for line ends and accents.")
        if grpc and not self.credentials.verify:
            raise ConfigError("gRPC always checks the certificate: name the certificate authority (ca_certs), or use qdrant+https.")
        if grpc and self.address.prefix:
            raise ConfigError(f"gRPC knows no path such as {self.address.prefix!r}: write it as host:port/collection, or use qdrant+https.")
        if key is not None and not tls:
            warnings.warn(
                f"the API key is sent to {self.address.server} unencrypted: use qdrant+{'grpcs' if grpc else 'https'}.",
                InsecureConnectionWarning,
                stacklevel=4,
            )
        if tls and not self.credentials.verify:
            warnings.warn(f"the certificate of {self.address.server} is not checked.", InsecureConnectionWarning, stacklevel=4)

    def client(self) -> QdrantClient:
        """A blocking client."""
        return QdrantClient(**self._arguments(_acknowledge))

    def async_client(self) -> AsyncQdrantClient:
        """A client for the running event loop."""
        return AsyncQdrantClient(**self._arguments(_acknowledge_async))

    @property
    def _grpc(self) -> bool:
        return self.address.scheme.startswith("grpc")

    def _arguments(self, acknowledge: Callable[[httpx.Response], Any]) -> dict[str, Any]:
        address, settings, key = self.address, self.settings, self.credentials.api_key
        host = f"[{address.host}]" if ":" in address.host else address.host
        arguments: dict[str, Any] = {
            "host": host,
            "https": address.tls,
            "port": settings.rest_port if self._grpc else address.port,
            "prefix": address.prefix or None,
            "prefer_grpc": self._grpc,
            "timeout": math.ceil(settings.timeout_s),
            "check_compatibility": False,  # a request of its own in a thread; doctor says what the server is
            # as a header and not as api_key, for which the client has a warning of its own
            "headers": {"api-key": key.get_secret_value()} if key is not None else None,
        }
        if QUICKACK is not None:  # without it a kept connection is slower than a new one: the client's own limits keep none on localhost
            kept = settings.max_in_flight + 8
            arguments["limits"] = httpx.Limits(max_connections=None, max_keepalive_connections=kept, keepalive_expiry=KEPT_S)
            arguments["event_hooks"] = {"response": [acknowledge]}
        if self._grpc:
            arguments["grpc_port"] = address.port
            # a server that is back is tried within 2 s, not within the 120 s of gRPC: a search has 15 s
            arguments["grpc_options"] = {"root_certificates": self._root_certificates(), "grpc.max_reconnect_backoff_ms": 2000}
        if address.tls:
            arguments["verify"] = self._tls()
        return arguments

    def _root_certificates(self) -> bytes | None:
        return self.credentials.ca_certs.read_bytes() if self.credentials.ca_certs else None

    def _tls(self) -> ssl.SSLContext | bool:
        if not self.credentials.verify:
            return False
        if self.credentials.ca_certs is None:
            return True
        try:
            return ssl.create_default_context(cafile=str(self.credentials.ca_certs))
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"ca_certs {str(self.credentials.ca_certs)!r} holds no certificates in PEM form ({error}).") from error


def _acknowledge(response: httpx.Response) -> None:
    """Acknowledge the head of an answer at once, before its body is read.

    The server sends them apart, and holds the body back until the head is acknowledged (Nagle's algorithm), which the kernel
    delays by 40 ms on a connection that was used before. It forgets the option when the next request is sent.
    """
    stream = response.extensions.get("network_stream")
    connected = None if stream is None else stream.get_extra_info("socket")
    if connected is not None and QUICKACK is not None:
        with contextlib.suppress(OSError):  # closed by the server meanwhile: reading the body will tell
            connected.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)


async def _acknowledge_async(response: httpx.Response) -> None:
    _acknowledge(response)


class OneAtATime:
    """A client in local mode, which is not made for threads: its calls wait for each other."""

    def __init__(self, client: QdrantClient) -> None:
        self._client = client
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                return method(*arguments, **named)

        return call


def is_local(client: QdrantClient) -> bool:
    """Whether a client is in local mode, without a server."""
    options = client.init_options
    return options.get("location") == ":memory:" or options.get("path") is not None
