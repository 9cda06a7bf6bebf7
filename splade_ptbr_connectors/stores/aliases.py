"""What collections on a server have that a folder has not: neighbours, aliases, and a past without this package."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, unquote

from ..errors import ConfigError
from ..vectors import SparseVector
from . import open_store
from .base import Store
from .model_stamp import UnknownOriginWarning

if TYPE_CHECKING:
    from .remote import RemoteStore


def on_server(store: Store) -> RemoteStore[Any]:
    """The same store, if it is on a server. Raises ConfigError for an embedded one."""
    from .remote import RemoteStore

    if not isinstance(store, RemoteStore):
        raise ConfigError(
            f"{store.url} is not a server store: only those have aliases and can be adopted. Ingest into a folder of another name, and "
            "open that one."
        )
    return store


def collection_name(url: str) -> str:
    """The last part of a server's store URL: a collection or an alias."""
    return unquote(url.partition("?")[0].rpartition("/")[2])


def sibling_url(url: str, collection: str) -> str:
    """The URL of another collection on the same server, with the same settings."""
    address, mark, settings = url.partition("?")
    return f"{address.rpartition('/')[0]}/{quote(collection, safe='')}{mark}{settings}"


class NoModel:
    """In place of an encoder, to look at a store whose model is unknown or not at hand; open it with allow_mismatch=True."""

    name = "(no model)"
    fingerprint = ""
    vocab_size = 2**32
    load_arguments: Mapping[str, Any] = {}

    def token(self, term_id: int) -> str:
        """How the term reads: its number."""
        return f"<{term_id}>"

    def encode_query(self, text: str) -> SparseVector:
        """Raises ConfigError, as the others do."""
        self._refuse()

    def encode_queries(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        """See encode_query."""
        self._refuse()

    def encode_documents(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        """See encode_query."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ConfigError("the store was opened without a model: texts cannot be encoded.")


def open_without_model(url: str, **options: Any) -> Store:
    """Open an existing store whatever its model is. Nothing can be encoded."""
    return open_as_it_is(url, encoder=NoModel(), allow_mismatch=True, **options)


def open_as_it_is(url: str, **options: Any) -> Store:
    """open_store() for a store that exists, without the warning that it does not say which model filled it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownOriginWarning)
        return open_store(url, create=False, **options)
