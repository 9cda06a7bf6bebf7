"""Stores that travel: a pickle holds how a store was opened, and unpickling opens it again, or finds it open in this process.

A pickle holds no credentials: the process that unpickles takes them from its environment (credentials.py).
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from . import open_store
from .engines import ENGINES
from .settings import OpenOptions

if TYPE_CHECKING:
    from .base import Store

_open: weakref.WeakValueDictionary[tuple[Any, ...], Store] = weakref.WeakValueDictionary()
_lock = threading.RLock()  # two threads that unpickle the same store open it once


def remember(store: Store, options: OpenOptions) -> Store:
    """The store, which can be pickled from now on."""
    kept = {name: getattr(options, name) for name in ("allow_mismatch", "max_batch_documents", "tenant", "settings")}
    store._options = OpenOptions(url=_absolute(options.url), encoder=store.encoder, create=False, **kept)
    _open[_key(store._options)] = store
    return store


def pickled(url: str, options: OpenOptions | None) -> tuple[Any, ...]:
    """What Store.__reduce__ returns. Raises ConfigError for a store that was not opened by open_store()."""
    if options is None:
        raise ConfigError(f"the store {url} cannot be pickled: only what open_store() has opened can be opened again elsewhere.")
    return _reopened, ({**dict(options), "settings": dict(options.settings)},)


def _reopened(arguments: dict[str, Any]) -> Store:
    if "batch_size" in arguments:  # pickled under the earlier name
        arguments["max_batch_documents"] = arguments.pop("batch_size")
    with _lock:
        found = _open.get(_key(OpenOptions(**arguments)))
        return open_store(**arguments) if found is None or found.closed else found


def _absolute(url: str) -> str:
    """The URL of a folder from wherever it is opened; any other as it is."""
    scheme, _, address = url.partition(":")
    return url if ENGINES[scheme].deletion else f"{scheme}:{Path(address.removeprefix('//')).expanduser().absolute()}"


def _key(options: OpenOptions) -> tuple[Any, ...]:
    """Of this process: what a fork inherits is its parent's."""
    settings = repr(sorted(options.settings.items()))
    return os.getpid(), options.url, getattr(options.encoder, "fingerprint", None), options.tenant, options.max_batch_documents, settings
