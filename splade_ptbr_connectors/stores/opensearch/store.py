"""OpenSearchStore: an index of an OpenSearch server or cluster."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import unquote

import numpy as np

from ...errors import SpladeConnectorsError
from ...vectors import SparseVector
from ..address import parse_address
from ..connection import Connection
from ..credentials import Credentials, environment_names
from ..remote import RemoteStore
from ..settings import OpenOptions, batch_documents, read_settings
from .client import Clients
from .failures import read_failure
from .mapping import ENGINE
from .settings import OpenSearchSettings
from .write import Writes

if TYPE_CHECKING:
    from ...encoding.protocol import Encoder

logger = logging.getLogger(__name__)
DEFAULT_PORT = 9200


def connect(options: OpenOptions) -> OpenSearchStore:
    """Open or create the index that the URL names; see open_store()."""
    names = environment_names(ENGINE)
    address = parse_address(options.url, default_port=DEFAULT_PORT, environment=f"{names['user']} and {names['password']}")
    settings = read_settings(OpenSearchSettings, options.settings, address.settings)
    credentials = options.credentials or Credentials.from_environment(ENGINE)
    operations = Writes(address.url, unquote(address.collection), settings, options.tenant)
    clients = Clients(address, credentials, settings)
    clients.check()
    return OpenSearchStore._connect(clients, read_failure, operations, options)


class OpenSearchStore(RemoteStore[Writes]):
    """An index of an OpenSearch server; see RemoteStore."""

    engine: ClassVar[str] = ENGINE

    @classmethod
    def from_client(
        cls,
        client: Any,
        index: str,
        *,
        encoder: Encoder | str | None = None,
        async_client: Any = None,
        create: bool = True,
        allow_mismatch: bool = False,
        max_batch_documents: int | None = None,
        tenant: str | None = None,
        settings: Mapping[str, Any] | None = None,
        passages: Mapping[str, Any] | bool | None = None,
        batch_size: int | None = None,
    ) -> Self:
        """Open or create an index with an opensearchpy.OpenSearch of your own, which stays yours to close.

        Args:
            index: name or alias.
            async_client: an AsyncOpenSearch of the event loop that will use it; without one, async methods run in threads.
            encoder, create, allow_mismatch, max_batch_documents, tenant, settings, passages, batch_size: as for open_store().
        """
        asked = read_settings(OpenSearchSettings, settings or {})
        operations = Writes(f"{ENGINE}:{index}", index, asked, tenant)
        options = OpenOptions(
            url=operations.url,
            encoder=encoder,
            create=create,
            allow_mismatch=allow_mismatch,
            max_batch_documents=batch_documents(max_batch_documents, batch_size),
            tenant=tenant,
            passages=passages,
        )
        new_async_client = None if async_client is None else lambda: async_client
        connection = Connection(operations.url, client, read_failure, asked.policy(), new_async_client=new_async_client, owned=False)
        return cls._open(connection, operations, options, max_in_flight=asked.max_in_flight)

    @property
    def settings(self) -> OpenSearchSettings:
        """Those that were asked for, and those that the index has fixed."""
        return self._operations.settings

    @property
    def identity(self) -> str:
        return super().identity if self._description else f"{ENGINE}:{self._operations.index.uuid}"

    @property
    def pruned_queries(self) -> int:
        """How many queries had more terms than the server takes, and were cut to their largest weights."""
        return self._operations.pruned

    def quantized(self, vector: SparseVector) -> SparseVector:
        """The weights as rank_features keeps them: cut to 9 significant bits, as Lucene does with term frequencies."""
        if self._operations.index.field_type != "rank_features":
            return vector
        return SparseVector(vector.term_ids, (vector.weights.view(np.int32) >> 15 << 15).view(np.float32))

    # -- loading -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Switches refreshing off, and replicas while the index is first filled; restores both whatever happens.

        What was there before is saved in the index first, so that restore_settings() or the next load can restore it after
        a process was killed.
        """
        self._check_open()
        previous = self._run(self._operations.begin_load())
        self._operations.loads += 1
        try:
            yield
        except BaseException:
            self._operations.loads -= 1
            self._restore_after_error(previous)
            raise
        self._operations.loads -= 1
        self._run(self._operations.end_load(previous, patient=True))

    def _restore_after_error(self, previous: Mapping[str, Any]) -> None:
        try:
            self._run(self._operations.end_load(previous, patient=False))
        except SpladeConnectorsError as error:  # the error of the load is the one to report
            logger.warning("%s: settings of the load are still in force, restore_settings() restores them (%s)", self.url, error)

    def restore_settings(self) -> bool:
        """Restore what a load that was killed has left changed. Only when no load is running. Returns whether there was anything."""
        self._check_open()
        return self._run(self._operations.restore_settings())

    def finish_loading(self) -> None:
        self._check_open()
        self._run(self._operations.finish_load())

    def _close(self) -> None:
        """What was written is found by whoever opens the store next; without the refresh, a second later."""
        if self._operations.unseen and self.settings.read_own_writes:
            try:
                self._run(self._operations.refresh(retry=False))
            except SpladeConnectorsError as error:
                logger.info("%s: not refreshed on close, what was written is found when the server next does (%s)", self.url, error)
        super()._close()
