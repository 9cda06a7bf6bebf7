"""Stores: where vectors live. open_store(url) picks the engine by the scheme of the URL: engines.py lists them.

An engine is a module with `connect(options: OpenOptions) -> Store`, loaded at first use.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from .engines import ENGINES, SERVERS, STORE_URLS, Engine, engine_of

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder
    from .base import Store
    from .credentials import Credentials

__all__ = ["ENGINES", "SERVERS", "STORE_URLS", "Engine", "engine_of", "open_store"]


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
    from .pickles import remember  # these are slow to load, and commands that open no store do without
    from .settings import OpenOptions, batch_documents

    engine = engine_of(url)
    options = OpenOptions(
        url=url,
        encoder=encoder,
        create=create,
        allow_mismatch=allow_mismatch,
        max_batch_documents=batch_documents(max_batch_documents, batch_size),
        tenant=tenant,
        credentials=credentials,
        settings=settings or {},
        passages=passages,
    )
    return remember(cast("Store", importlib.import_module(engine.module, __name__).connect(options)), options)
