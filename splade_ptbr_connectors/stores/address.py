"""The address of a collection on a server: SCHEME://HOST:PORT/COLLECTION?setting=value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from ..errors import ConfigError

_LOGIN = re.compile(r"^([a-z+]+:?//)?.*(?:@|%40)", re.IGNORECASE | re.DOTALL)


def without_login(url: str) -> str:
    """A store URL as it may be shown: without a user part wherever it stands, and without settings."""
    return _LOGIN.sub(r"\1***@", url).partition("?")[0]  # in this order: the first "?" may be part of a password


@dataclass(frozen=True)
class ServerAddress:
    """A parsed URL of a server store.

    Attributes:
        scheme: without the engine: "http", "https", "grpc" or "grpcs".
        prefix: path before the collection, "" or "/some/proxy".
        collection: collection, index or alias.
        settings: the query part, by name.
    """

    engine: str
    scheme: str
    host: str
    port: int
    prefix: str
    collection: str
    settings: dict[str, str]

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in ("https", "grpcs")

    @property
    def server(self) -> str:
        """The server without the collection, such as "http://localhost:9200"."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"

    @property
    def url(self) -> str:
        """The canonical store URL, without settings."""
        return f"{self.engine}+{self.server}/{self.collection}"


def parse_address(url: str, *, default_port: int, environment: str) -> ServerAddress:
    """Take a store URL apart.

    Args:
        environment: the variables that credentials belong in, for the message that refuses them in a URL.

    Raises:
        ConfigError: credentials in the URL, no host, a bad port, no collection, a setting given twice. No message holds what may
            be a login, and neither does an exception that it is chained to.
    """
    engine, _, scheme = url.partition(":")[0].partition("+")
    example = f"{engine}+{scheme}://localhost:{default_port}/collection"
    if _LOGIN.search(url.partition("?")[0]):
        raise ConfigError(f"the store URL holds credentials: leave them out and set {environment} instead (a '@' may stand nowhere in it).")
    parts = _split(url.partition("+")[2])
    if parts is None:
        raise ConfigError(f"the store URL has no valid host and port: write it as {example!r}.")
    host, port = parts.hostname, parts.port
    if not host or not url.partition(":")[2].startswith("//"):
        raise ConfigError(f"the store URL names no host: write it as {example!r}.")
    prefix, _, collection = parts.path.rpartition("/")
    if not collection or parts.fragment:
        raise ConfigError(f"the store URL names no collection: write it as {example!r}.")
    return ServerAddress(
        engine, scheme, host, default_port if port is None else port, prefix.rstrip("/"), collection, _settings(parts.query)
    )


def _split(url: str) -> SplitResult | None:
    """The parts of a URL with a possible host and port; None for another. Its ValueError quotes what stands there: it stays here."""
    try:
        parts = urlsplit(url)
        escaped = "%" in (parts.hostname or "") and not parts.netloc.startswith("[")  # only an IPv6 zone is written with one
        return None if parts.port == 0 or escaped else parts
    except ValueError:
        return None


def _pairs(query: str) -> list[tuple[str, str]] | None:
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        return None


def _settings(query: str) -> dict[str, str]:
    pairs = _pairs(query)
    if pairs is None:
        raise ConfigError("the query part of the store URL is not name=value&name=value.")
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"the store setting {twice!r} is given twice in the URL: leave one out.")
    return dict(pairs)
