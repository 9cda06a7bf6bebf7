"""The clients of an OpenSearch server: connections that keep Retry-After and follow no redirect; and what the server is."""

from __future__ import annotations

import base64
import io
import ssl
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import urllib3
from opensearchpy import OpenSearch, exceptions
from opensearchpy.connection import Urllib3HttpConnection

from ...errors import ConfigError, StoreError, StoreUnavailableError
from ..address import ServerAddress
from ..calls import Call, Operation
from ..credentials import Credentials, InsecureConnectionWarning
from .settings import OpenSearchSettings

PIECE_BYTES = 2**18
DEFAULT_MAX_CLAUSES = 1024
NEURAL_SEARCH = "opensearch-neural-search"
CLAUSES = "indices.query.bool.max_clause_count"
NEURAL_SPARSE_SINCE, SPARSE_VECTOR_SINCE = (2, 14), (3, 3)
RETRY_AFTER = "retry_after"  # attribute of an error: the header's text


class BlockingConnection(Urllib3HttpConnection):
    """Like its parent, but an error carries the Retry-After header, and neither bodies nor credentials are logged."""

    def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        timeout: float | None = None,
        ignore: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One request and its whole answer. Raises exceptions.TransportError."""
        path = _path(self.url_prefix + url, params)
        sent = {**self.headers, **(headers or {})}
        if self.pool is None:
            self._create_urllib3_pool()
        try:
            answer = self.pool.urlopen(
                method, path, body, headers=sent, timeout=timeout or self.timeout, retries=urllib3.Retry(False), redirect=False
            )
            text = answer.data.decode("utf-8", "surrogatepass")
        except urllib3.exceptions.SSLError as error:
            raise exceptions.SSLError("N/A", str(error), error) from error
        except urllib3.exceptions.ReadTimeoutError as error:
            raise exceptions.ConnectionTimeout("TIMEOUT", str(error), error) from error
        except (urllib3.exceptions.HTTPError, OSError, UnicodeDecodeError) as error:
            raise exceptions.ConnectionError("N/A", str(error), error) from error
        return _checked(self, answer.status, answer.headers, text, ignore)


def _checked(connection: Any, status: int, headers: Mapping[str, str], text: str, ignore: Collection[int]) -> Any:
    if 200 <= status < 300 or status in ignore:
        return status, headers, text
    try:
        connection._raise_error(status, text, headers.get("content-type"))
    except exceptions.TransportError as error:
        setattr(error, RETRY_AFTER, headers.get("retry-after"))
        raise
    raise exceptions.TransportError(status, text)


def _in_pieces(body: bytes | None) -> Any:
    """A large body as a file: aiohttp writes it piece by piece, and the event loop goes on in between."""
    return io.BytesIO(body) if body is not None and len(body) > PIECE_BYTES else body


def _path(path: str, params: Mapping[str, Any] | None) -> str:
    return f"{path}?{urlencode(params)}" if params else path


def _async_connection() -> Any:
    """The class of asynchronous connections, made at first use: aiohttp is needed for nothing else."""
    import aiohttp
    import yarl
    from opensearchpy import AIOHttpConnection

    class AsynchronousConnection(AIOHttpConnection):
        """As BlockingConnection, on aiohttp."""

        async def perform_request(
            self,
            method: str,
            url: str,
            params: Mapping[str, Any] | None = None,
            body: bytes | None = None,
            timeout: float | None = None,
            ignore: Collection[int] = (),
            headers: Mapping[str, str] | None = None,
        ) -> Any:
            """One request and its whole answer. Raises exceptions.TransportError."""
            if self.session is None:
                await self._create_aiohttp_session()
            target = yarl.URL(self.host + _path(self.url_prefix + url, params), encoded=True)
            sent = {**self.headers, **(headers or {})}
            patience = aiohttp.ClientTimeout(total=timeout or self.timeout)
            try:
                async with self.session.request(
                    method, target, data=_in_pieces(body), headers=sent, timeout=patience, allow_redirects=False
                ) as answer:
                    text = (await answer.read()).decode("utf-8", "surrogatepass")
            except aiohttp.ClientSSLError as error:
                raise exceptions.SSLError("N/A", str(error), error) from error
            except TimeoutError as error:
                raise exceptions.ConnectionTimeout("TIMEOUT", str(error), error) from error
            except (aiohttp.ClientError, OSError, UnicodeDecodeError) as error:
                raise exceptions.ConnectionError("N/A", str(error), error) from error
            return _checked(self, answer.status, answer.headers, text, ignore)

    return AsynchronousConnection


def ask(
    make: Callable[[OpenSearch], Any], read: Callable[[Any], Any] | None = None, *, patient: bool = False, retry: bool = True
) -> Operation[Any]:
    """The answer to one call; see Call."""
    return (yield Call(make, read, patient=patient, retry=retry))


@dataclass(frozen=True)
class Clients:
    """Makes clients for one server. Credentials go into a header and nowhere else."""

    address: ServerAddress
    credentials: Credentials
    settings: OpenSearchSettings

    def check(self) -> None:
        """Raise ConfigError for credentials that cannot be sent, and warn about unsafe ones."""
        for secret in (self.credentials.api_key, self.credentials.password):
            if secret is not None and not secret.get_secret_value().isprintable():
                raise ConfigError("the credentials hold characters that no HTTP header can carry: check them for line ends.")
        key = self.credentials.api_key
        if key is not None and not key.get_secret_value().isascii():
            raise ConfigError("the API key holds characters that no HTTP header can carry: check it for accents.")
        if self.credentials.user is not None and ":" in self.credentials.user:
            raise ConfigError("the user name holds a colon, which basic authentication cannot carry.")
        if self.credentials.present and not self.address.tls:
            self._warn(f"the credentials are sent to {self.address.server} unencrypted: use opensearch+https.")
        if self.address.tls and not self.credentials.verify:
            self._warn(f"the certificate of {self.address.server} is not checked.")

    def client(self) -> OpenSearch:
        """A blocking client."""
        return OpenSearch(**self._arguments(), connection_class=BlockingConnection)

    def async_client(self) -> Any:
        """A client for the running event loop."""
        from opensearchpy import AsyncOpenSearch

        return AsyncOpenSearch(**self._arguments(), connection_class=_async_connection())

    def _warn(self, message: str) -> None:
        warnings.warn(message, InsecureConnectionWarning, stacklevel=5)

    def _arguments(self) -> dict[str, Any]:
        host: dict[str, Any] = {"host": self.address.host, "port": self.address.port, "use_ssl": self.address.tls}
        if self.address.prefix:
            host["url_prefix"] = self.address.prefix
        arguments: dict[str, Any] = {
            "hosts": [host],
            "headers": _authorization(self.credentials),
            "timeout": self.settings.timeout_s,
            "pool_maxsize": self.settings.max_in_flight + 8,
            "max_retries": 0,  # retries.py does that, with waits and a deadline
            "retry_on_status": (),
        }
        if self.address.tls:
            arguments["ssl_context"] = self._tls()
        return arguments

    def _tls(self) -> ssl.SSLContext:
        trusted = self.credentials.ca_certs
        try:
            context = ssl.create_default_context(cafile=str(trusted) if trusted else None)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"ca_certs {str(trusted)!r} holds no certificates in PEM form ({error}).") from error
        if not self.credentials.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _authorization(credentials: Credentials) -> dict[str, str]:
    if credentials.api_key is not None:
        return {"authorization": f"ApiKey {credentials.api_key.get_secret_value()}"}
    if credentials.user is not None and credentials.password is not None:
        pair = f"{credentials.user}:{credentials.password.get_secret_value()}"
        return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


# -- what the server is and has ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Capabilities:
    """A server as far as it matters to a store.

    Attributes:
        distribution: "opensearch", or what else answers.
        plugins: their names; empty also where these credentials may not list them.
        max_clauses: how many terms a query may have.
    """

    distribution: str
    version: str
    plugins: tuple[str, ...]
    max_clauses: int

    @property
    def neural_sparse(self) -> bool:
        """Whether a query may be written as neural_sparse with ready tokens."""
        return NEURAL_SEARCH in self.plugins and version_tuple(self.version) >= NEURAL_SPARSE_SINCE

    @property
    def sparse_vector(self) -> bool:
        """Whether an index may have a sparse_vector field."""
        return NEURAL_SEARCH in self.plugins and version_tuple(self.version) >= SPARSE_VECTOR_SINCE


def detect() -> Operation[Capabilities]:
    """Ask the server. What these credentials may not see counts as absent, or as the server's default."""
    about = yield from ask(lambda client: client.info())
    version = about.get("version") or {} if isinstance(about, Mapping) else {}
    plugins = yield from _allowed(ask(lambda client: client.cat.plugins(params={"format": "json", "h": "component"})))
    asked = {"include_defaults": "true", "flat_settings": "true", "filter_path": f"*.{CLAUSES}"}
    limits = yield from _allowed(ask(lambda client: client.cluster.get_settings(params=asked)))
    return Capabilities(
        str(version.get("distribution", "elasticsearch")), str(version.get("number", "")), plugin_names(plugins), max_clauses(limits)
    )


def _allowed(operation: Operation[Any]) -> Operation[Any]:
    try:
        return (yield from operation)
    except StoreUnavailableError:
        raise
    except StoreError:
        return None


def plugin_names(answer: object) -> tuple[str, ...]:
    """Out of the answer to GET /_cat/plugins: a cluster's nodes may each have their own, a plugin counts if one has it."""
    rows = answer if isinstance(answer, list) else []
    return tuple(sorted({str(row["component"]) for row in rows if isinstance(row, Mapping) and "component" in row}))


def max_clauses(answer: object) -> int:
    """Out of the cluster's settings: a transient one wins over a persistent one, that one over the default."""
    settings = answer if isinstance(answer, Mapping) else {}
    for level in ("transient", "persistent", "defaults"):
        value = (settings.get(level) or {}).get(CLAUSES)
        if value is not None and str(value).isdigit():
            return int(value)
    return DEFAULT_MAX_CLAUSES


def version_tuple(version: str) -> tuple[int, ...]:
    """(3, 6, 0) of "3.6.0-SNAPSHOT"; () of something else."""
    numbers = version.partition("-")[0].split(".")
    return tuple(map(int, numbers)) if all(number.isdigit() for number in numbers) else ()
