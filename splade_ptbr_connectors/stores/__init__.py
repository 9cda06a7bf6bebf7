"""Stores: where vectors live. open_store(url) picks the engine by the scheme of the URL.

    edge:PATH                               an embedded Qdrant in a folder: no server, one process at a time
    numba:PATH                              an exact inverted index of this package in a folder; needs the extra "numba"
    qdrant+http(s)://HOST:6333/COLLECTION   a Qdrant server or cluster; qdrant+grpc(s)://HOST:6334/COLLECTION by gRPC
    opensearch+http(s)://HOST:9200/INDEX    an OpenSearch server or cluster

An engine is a module with `connect(options: OpenOptions) -> Store`, loaded at first use.
"""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..errors import ConfigError
from .address import without_login

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder
    from .base import Store
    from .credentials import Credentials


class Engine(NamedTuple):
    """What is known of an engine before it is loaded.

    Attributes:
        module: of this package.
        form: of its URLs.
        deletion: the command that deletes a collection, with {server} and {name} in it; None: a folder.
        one_process: only one process at a time may have a store open, whose folder keeps the files of its runs too.
    """

    module: str
    form: str
    deletion: str | None = None
    one_process: bool = False


def _server(module: str, form: str, path: str) -> dict[str, Engine]:
    """An engine whose REST interface deletes the collection at a path, by its two schemes."""
    return {
        f"{module[1:]}+{http}": Engine(module, form, f"curl -X DELETE {http}://{{server}}/{path}{{name}}") for http in ("http", "https")
    }


_GRPC = Engine(".qdrant", "qdrant+grpc(s)://HOST:6334/COLLECTION", "QdrantClient(...).delete_collection({name!r})")
ENGINES = {
    "edge": Engine(".edge", "edge:FOLDER", one_process=True),
    "numba": Engine(".numba", "numba:FOLDER"),
    **_server(".qdrant", "qdrant+http(s)://HOST:6333/COLLECTION", "collections/"),
    **dict.fromkeys(("qdrant+grpc", "qdrant+grpcs"), _GRPC),
    **_server(".opensearch", "opensearch+http(s)://HOST:9200/INDEX", ""),
}
STORE_URLS = ", ".join(dict.fromkeys(engine.form for engine in ENGINES.values()))


def engine_of(url: object) -> Engine:
    """The engine that a store's URL names. Raises ConfigError."""
    return ENGINES[_scheme(url)]


def open_store(
    url: str,
    *,
    encoder: Encoder | str | None = None,
    create: bool = True,
    allow_mismatch: bool = False,
    max_batch_documents: int | None = None,
    tenant: str | None = None,
    credentials: Credentials | None = None,
    settings: Mapping[str, Any] | None = None,
    passages: Mapping[str, Any] | bool | None = None,
    batch_size: int | None = None,
) -> Store:
    """Open the store at `url`, or create it.

    Args:
        url: SCHEME:ADDRESS, such as "edge:./index" or "edge:~/index".
        encoder: an encoder, the name of a model to load, or None for the model that an existing store names.
        create: create the store when nothing is there; otherwise that is a StoreNotFoundError.
        allow_mismatch: open a store that was filled with another model; scores then mean little.
        max_batch_documents: documents sent to the engine at once, 1..10,000, by default 256.
        tenant: restrict every read and write to this tenant's documents; no filter can reach beyond it.
        credentials: how to log in to a server; None takes them from the environment (credentials.py). Never part of the URL.
        settings: the engine's own, by name (also as `?name=value` in the URL of a server); they shape a store when it is created.
        passages: how ingest() splits long texts, settings of splitting.Splitter by name; None: as the store remembers, by default in a
            new one; False: a new store of whole documents.
        batch_size: the earlier name of max_batch_documents.

    Raises:
        ConfigError: an unknown scheme, no encoder for a new store, a bad setting.
        MissingExtraError: the engine's client is not installed.
        ModelMismatchError: the store was filled with another model.
        StoreError: StoreNotFoundError, StoreLockedError, StoreFormatError, StoreWriteError, StoreCorruptError, StoreUnavailableError
            or StoreAccessError.
    """
    from ..validation import renamed  # these are slow to load, and commands that open no store do without
    from .pickles import remember
    from .settings import OpenOptions

    size = renamed("batch_size", batch_size, "max_batch_documents", max_batch_documents)
    engine = engine_of(url)
    options = OpenOptions(
        url=url,
        encoder=encoder,
        create=create,
        allow_mismatch=allow_mismatch,
        max_batch_documents=256 if size is None else size,
        tenant=tenant,
        credentials=credentials,
        settings=settings or {},
        passages=passages,
    )
    return remember(cast("Store", importlib.import_module(engine.module, __name__).connect(options)), options)


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
    near = difflib.get_close_matches(scheme, ENGINES, 1)
    hint = f" (did you mean {near[0] + ':'!r}?)" if near else ""
    raise ConfigError(f"unknown store scheme {scheme + ':'!r}{hint}; known schemes: {known}.")
