"""QdrantStore: a collection on a Qdrant server, over REST or gRPC."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from ...errors import ConfigError, StoreError
from ...vectors import SparseVector
from .. import datatypes
from ..address import parse_address
from ..connection import Connection
from ..credentials import Credentials, environment_names
from ..remote import RemoteStore
from ..settings import OpenOptions, batch_documents, read_settings
from .client import Clients, OneAtATime, is_local
from .failures import read_failure
from .schema import ENGINE, optimizer_status
from .settings import QdrantSettings
from .write import Writes

if TYPE_CHECKING:
    from ...encoding.protocol import Encoder

logger = logging.getLogger(__name__)
DEFAULT_PORT = {"http": 6333, "https": 6333, "grpc": 6334, "grpcs": 6334}
_LONGEST_POLL_S = 2.0
_REPORT_EVERY_S = 10.0


def connect(options: OpenOptions) -> QdrantStore:
    """Open or create the collection that the URL names; see open_store()."""
    scheme = options.url.partition(":")[0].partition("+")[2]
    address = parse_address(options.url, default_port=DEFAULT_PORT[scheme], environment=environment_names(ENGINE)["api_key"])
    settings = read_settings(QdrantSettings, options.settings, address.settings)
    credentials = options.credentials or Credentials.from_environment(ENGINE)
    operations = Writes(address.url, unquote(address.collection), settings, options.tenant)
    clients = Clients(address, credentials, settings)
    clients.check()
    return QdrantStore._connect(clients, read_failure, operations, options)


class QdrantStore(RemoteStore[Writes]):
    """A collection of a Qdrant server; see RemoteStore."""

    engine: ClassVar[str] = ENGINE

    @classmethod
    def from_client(
        cls,
        client: QdrantClient,
        collection: str,
        *,
        encoder: Encoder | str | None = None,
        async_client: AsyncQdrantClient | None = None,
        create: bool = True,
        allow_mismatch: bool = False,
        max_batch_documents: int | None = None,
        tenant: str | None = None,
        settings: Mapping[str, Any] | None = None,
        passages: Mapping[str, Any] | bool | None = None,
        batch_size: int | None = None,
    ) -> QdrantStore:
        """A store on a client of your own, local mode included; closing the store leaves the client open.

        Args:
            client: a client of a server, or one in local mode (QdrantClient(":memory:") or QdrantClient(path=...)).
            collection: name or alias.
            async_client: an AsyncQdrantClient of the event loop that will use it; without one, async methods run in threads.
            encoder, create, allow_mismatch, max_batch_documents, tenant, settings, passages, batch_size: as for open_store().

        Raises:
            as open_store().
        """
        if not isinstance(client, QdrantClient):
            raise ConfigError(f"client is {type(client).__name__}: it must be a qdrant_client.QdrantClient.")
        if async_client is not None and not isinstance(async_client, AsyncQdrantClient):
            raise ConfigError(f"async_client is {type(async_client).__name__}: it must be a qdrant_client.AsyncQdrantClient.")
        asked, local = read_settings(QdrantSettings, settings or {}), is_local(client)
        operations = Writes(f"{ENGINE}:{collection}", collection, asked, tenant, has_indexes=not local)
        options = OpenOptions(
            url=operations.url,
            encoder=encoder,
            create=create,
            allow_mismatch=allow_mismatch,
            max_batch_documents=batch_documents(max_batch_documents, batch_size),
            tenant=tenant,
            passages=passages,
        )
        connection = Connection(
            operations.url,
            OneAtATime(client) if local else client,
            read_failure,
            asked.policy(),
            new_async_client=None if async_client is None else lambda: async_client,
            owned=False,
        )
        return cls._open(connection, operations, options, max_in_flight=1 if local else asked.max_in_flight)

    @property
    def settings(self) -> QdrantSettings:
        """Those that were asked for, and those that the collection has fixed."""
        return self._operations.settings

    @property
    def dense_size(self) -> int | None:
        return self._operations.shape.dense_size

    def quantized(self, vector: SparseVector) -> SparseVector:
        return datatypes.quantized(vector, self.settings.datatype)

    @property
    def knows_tolerance(self) -> bool:
        return self.settings.datatype != "uint8"

    def score_tolerance(self, query: SparseVector, vector: SparseVector) -> float:
        def largest(term_ids: list[int]) -> list[float]:
            return self._run(self._operations.largest_weights(term_ids))

        return datatypes.score_tolerance(query, vector, self.settings.datatype, largest)

    def finish_loading(self) -> None:
        """Wait until the server has built its index, at most `finish_timeout_s`; searches work before, more slowly.

        Raises:
            StoreError: the server reports that optimizing failed.
        """
        self._check_open()
        started = reported = time.monotonic()
        wait = 0.05
        while (found := self._look()).status not in (models.CollectionStatus.GREEN, models.CollectionStatus.GREY):
            if found.status == models.CollectionStatus.RED:
                raise StoreError(f"the collection of {self.url} is red ({optimizer_status(found)}): look at the server's log.")
            now = time.monotonic()
            if now - started >= self.settings.finish_timeout_s:
                logger.warning("%s: still optimizing after %.0f s; searches work, more slowly", self.url, now - started)
                return
            if now - reported >= _REPORT_EVERY_S:
                logger.info("%s: optimizing, %s vectors indexed", self.url, found.indexed_vectors_count)
                reported = now
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_POLL_S)

    def _look(self) -> models.CollectionInfo:
        self._run(self._operations.look())
        return self._operations.found
