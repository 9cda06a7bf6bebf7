"""The engines that there are, and which of them a store's URL names. An engine's module is loaded at first use."""

from __future__ import annotations

import difflib
import os
from typing import NamedTuple

from ..errors import ConfigError
from .address import without_login


class Engine(NamedTuple):
    """What is known of an engine before it is loaded.

    Attributes:
        module: of this package.
        form: of its URLs.
        deletion: the command that deletes a collection, with {server} and {name} in it; None: a folder.
        one_process: only one process at a time may have a store open, whose folder keeps the files of its runs too.
        dense: it keeps dense vectors beside the sparse ones, for hybrid search.
    """

    module: str
    form: str
    deletion: str | None = None
    one_process: bool = False
    dense: bool = False

    @property
    def name(self) -> str:
        """What it is called in messages and settings, such as "qdrant" for all schemes of Qdrant."""
        return self.module.rpartition(".")[2]


def _server(module: str, form: str, path: str, *, dense: bool = False) -> dict[str, Engine]:
    """An engine whose REST interface deletes the collection at a path, by its two schemes."""
    return {
        f"{module[1:]}+{http}": Engine(module, form, f"curl -X DELETE {http}://{{server}}/{path}{{name}}", dense=dense)
        for http in ("http", "https")
    }


_GRPC = Engine(".qdrant", "qdrant+grpc(s)://HOST:6334/COLLECTION", "QdrantClient(...).delete_collection({name!r})", dense=True)
ENGINES = {
    "edge": Engine(".edge", "edge:FOLDER", one_process=True, dense=True),
    "numba": Engine(".numba", "numba:FOLDER"),
    **_server(".qdrant", "qdrant+http(s)://HOST:6333/COLLECTION", "collections/", dense=True),
    **dict.fromkeys(("qdrant+grpc", "qdrant+grpcs"), _GRPC),
    **_server(".opensearch", "opensearch+http(s)://HOST:9200/INDEX", ""),
}
STORE_URLS = ", ".join(dict.fromkeys(engine.form for engine in ENGINES.values()))
SERVERS = tuple(dict.fromkeys(engine.name for engine in ENGINES.values() if engine.deletion))
DENSE_ENGINES = " or ".join(dict.fromkeys(engine.name for engine in ENGINES.values() if engine.dense))  # for messages


def engine_of(url: object) -> Engine:
    """The engine that a store's URL names. Raises ConfigError."""
    return ENGINES[_scheme(url)]


def _scheme(url: object) -> str:
    if not isinstance(url, str):
        raise ConfigError(f"a store URL is a string such as 'edge:./index', got {type(url).__name__}.")
    scheme, colon, _ = url.partition(":")
    if colon and scheme in ENGINES:
        return scheme
    known = ", ".join(f"{name}:" for name in ENGINES)
    forgotten = next((name for name in ENGINES if url.startswith(f"{name}//")), None)
    if forgotten:
        raise ConfigError(f"the store URL lacks the colon behind its scheme: write it as '{forgotten}://HOST:PORT/COLLECTION'.")
    scheme, shown = without_login(scheme), without_login(url)  # a password may stand anywhere in what is not a URL
    if not colon or os.sep in scheme:
        raise ConfigError(f"store URL {shown!r} has no scheme: write it as 'edge:{shown}' (known schemes: {known}).")
    if scheme in ("http", "https"):
        raise ConfigError(f"store URL {shown!r} does not say its engine: write it as 'qdrant+{shown}' or 'opensearch+{shown}'.")
    near = difflib.get_close_matches(scheme, ENGINES, 1)
    hint = f" (did you mean {near[0] + ':'!r}?)" if near else ""
    raise ConfigError(f"unknown store scheme {scheme + ':'!r}{hint}; known schemes: {known}.")
