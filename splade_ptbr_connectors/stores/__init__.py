"""Stores: where vectors live. open_store(url) picks the engine by the scheme of the URL.

    edge:PATH      an embedded Qdrant in a folder: no server, one process at a time

An engine is a module with `connect(address, *, url, encoder, create, allow_mismatch, batch_size) -> Store`, loaded at first use.
"""

from __future__ import annotations

import difflib
import importlib
import os
from typing import TYPE_CHECKING, cast

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder
    from .base import Store

# scheme -> module of this package; what follows the first ":" is the engine's to read
ENGINES = {
    "edge": ".edge",
}


def open_store(
    url: str,
    *,
    encoder: Encoder | str | None = None,
    create: bool = True,
    allow_mismatch: bool = False,
    batch_size: int = 256,
) -> Store:
    """Open the store at `url`, or create it.

    Args:
        url: SCHEME:ADDRESS, such as "edge:./index" or "edge:~/index".
        encoder: an encoder, the name of a model to load, or None for the model that an existing store names.
        create: create the store when nothing is there; otherwise that is a StoreNotFoundError.
        allow_mismatch: open a store that was filled with another model; scores then mean little.
        batch_size: documents sent to the engine at once, 1..10,000.

    Raises:
        ConfigError: an unknown scheme, no encoder for a new store, a bad setting.
        ModelMismatchError: the store was filled with another model.
        StoreError: StoreNotFoundError, StoreLockedError, StoreFormatError, StoreWriteError or StoreCorruptError.
    """
    scheme, address = _split(url)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size <= 10_000:
        raise ConfigError(f"batch_size is {batch_size!r}: it must be an integer from 1 to 10,000.")
    engine = importlib.import_module(ENGINES[scheme], __name__)
    store = engine.connect(address, url=url, encoder=encoder, create=create, allow_mismatch=allow_mismatch, batch_size=batch_size)
    return cast("Store", store)


def _split(url: object) -> tuple[str, str]:
    if not isinstance(url, str):
        raise ConfigError(f"a store URL is a string such as 'edge:./index', got {type(url).__name__}.")
    scheme, colon, address = url.partition(":")
    if colon and scheme in ENGINES:
        return scheme, address
    known = ", ".join(f"{name}:" for name in ENGINES)
    if not colon or os.sep in scheme:
        raise ConfigError(f"store URL {url!r} has no scheme: write it as 'edge:{url}' (known schemes: {known}).")
    near = difflib.get_close_matches(scheme, ENGINES, 1)
    hint = f" (did you mean {near[0] + ':'!r}?)" if near else ""
    raise ConfigError(f"unknown store scheme {scheme + ':'!r}{hint}; known schemes: {known}.")  # the rest may hold a password
