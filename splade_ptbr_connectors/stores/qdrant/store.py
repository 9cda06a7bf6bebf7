"""QdrantStore: a collection on a Qdrant server, over REST or gRPC."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from ...errors import ConfigError, ModelMismatchError, StoreError, StoreNotFoundError, StoreUnavailableError
from ...filters import Condition
from ...vectors import SparseVector
from .. import datatypes
from ..address import parse_address
from ..base import Entry, Hit, HybridSearch, Refusal
from ..binding import ModelStamp, resolve_encoder, warn_unknown_origin
from ..calls import Call, Operation
from ..credentials import Credentials, environment_names
from ..description import StoreDescription
from ..options import OpenOptions
from ..remote import RemoteStore
from ..retrying import AttemptFailed, Failure
from ..settings import read_settings
from . import collection as collections
from . import reading, writing
from .client import Borrowed, BorrowedAsync, Connection, InThreads, is_local
from .failures import read_failure
from .layouts import LAYOUTS
from .opening import Opener
from .points import Scope
from .settings import QdrantSettings

if TYPE_CHECKING:
    from ...encoding.protocol import Encoder

logger = logging.getLogger(__name__)
DEFAULT_PORT = {"http": 6333, "https": 6333, "grpc": 6334, "grpcs": 6334}
SAMPLE = 256  # stored vectors looked at by adopt()
_LONGEST_POLL_S = 2.0
_REPORT_EVERY_S = 10.0


def connect(address: str, options: OpenOptions) -> QdrantStore:
    """Open or create the collection at `address`; see open_store()."""
    scheme = options.url.partition(":")[0].partition("+")[2]
    parsed = parse_address(options.url, default_port=DEFAULT_PORT[scheme], environment=environment_names("qdrant")["api_key"])
    settings = read_settings(QdrantSettings, options.settings, parsed.settings)
    connection = Connection(parsed, options.credentials or Credentials.from_environment("qdrant"), settings)
    name = collections.check_name(unquote(parsed.collection))
    connection.check()
    client = connection.client()
    try:
        return _open(client, name, parsed.url, settings, {*options.settings, *parsed.settings}, options, connection=connection)
    except BaseException:
        client.close()
        raise


def _open(
    client: Any, name: str, url: str, settings: QdrantSettings, given: Collection[str], options: OpenOptions, **how: Any
) -> QdrantStore:
    """The store, once it is known what is there; a new collection is made first."""
    opener = Opener(client, url, settings, local=is_local(client))
    name = opener.resolve(name)
    info, encoder = opener.find(name), options.encoder
    if info is None:
        if not options.create:
            raise StoreNotFoundError(f"there is no store at {url}: fill one with ingest, or check the address.")
        encoder = resolve_encoder(encoder, None, url)
        info = opener.create(name, ModelStamp.of(encoder))
    description = collections.describe(info, name)
    settings = collections.settled(info, settings, given, description, url)
    if description is None:
        warn_unknown_origin(encoder, url)
    resolved = resolve_encoder(encoder, description.model if description else None, url, allow_mismatch=options.allow_mismatch)
    if options.tenant is not None:
        opener.index_tenant(name, info)
    return QdrantStore(url, resolved, client, name, settings, description, batch_size=options.batch_size, tenant=options.tenant, **how)


class QdrantStore(RemoteStore):
    """A collection of a Qdrant server; any number of threads and event loops.

    A store opened by an alias stays with the collection that the alias meant then: another one may hold another model's vectors.
    """

    engine: ClassVar[str] = collections.ENGINE

    def __init__(
        self,
        url: str,
        encoder: Encoder,
        client: Any,
        collection: str,
        settings: QdrantSettings,
        description: StoreDescription | None,
        *,
        batch_size: int = 256,
        tenant: str | None = None,
        connection: Connection | None = None,
        async_client: AsyncQdrantClient | None = None,
    ) -> None:
        in_flight = 1 if is_local(client) else settings.max_in_flight
        super().__init__(url, encoder, client, batch_size=batch_size, tenant=tenant, max_in_flight=in_flight, policy=settings.policy())
        self.settings = settings
        self._name = collection
        self._description = description
        self._connection = connection
        self._given_async_client = async_client
        self._scope = Scope(
            url=url,
            collection=collection,
            layout=LAYOUTS[settings.layout],
            vector=settings.vector or "",
            datatype=settings.datatype,
            dense_vector=settings.dense_vector,
            dense_size=settings.dense_size,
            tenant=tenant,
            max_request_bytes=settings.max_request_bytes,
        )

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
        batch_size: int = 256,
        tenant: str | None = None,
        settings: dict[str, Any] | None = None,
    ) -> QdrantStore:
        """A store on a client of your own, local mode included; closing the store leaves the client open.

        Args:
            client: a client of a server, or one in local mode (QdrantClient(":memory:") or QdrantClient(path=...)).
            async_client: for asearch(), aget() and aload(), within its own event loop; without it they use `client` in threads.
            encoder, create, allow_mismatch, batch_size, tenant, settings: as for open_store().

        Raises:
            as open_store().
        """
        if not isinstance(client, QdrantClient):
            raise ConfigError(f"client is {type(client).__name__}: it must be a qdrant_client.QdrantClient.")
        if async_client is not None and not isinstance(async_client, AsyncQdrantClient):
            raise ConfigError(f"async_client is {type(async_client).__name__}: it must be a qdrant_client.AsyncQdrantClient.")
        name, given = collections.check_name(collection), settings or {}
        url = f"qdrant:{name}"
        options = OpenOptions(
            url=url, encoder=encoder, create=create, allow_mismatch=allow_mismatch, batch_size=batch_size, tenant=tenant, settings=given
        )
        return _open(Borrowed(client), name, url, read_settings(QdrantSettings, given), given, options, async_client=async_client)

    # -- what the collection is ------------------------------------------------------------------------------------

    @property
    def identity(self) -> str:
        return f"qdrant:{self._description.store_id}" if self._description else f"qdrant:{self.url}"

    @property
    def collection(self) -> str:
        """The collection itself, where the store was opened by an alias."""
        return self._name

    def stored_form(self, vector: SparseVector) -> SparseVector:
        return datatypes.stored_form(vector, self.settings.datatype)

    def score_tolerance(self, query: SparseVector, vector: SparseVector) -> float:
        def largest(term_ids: list[int]) -> list[float]:
            return self._run(reading.largest_weights(term_ids, self._scope))

        return datatypes.score_tolerance(query, vector, self.settings.datatype, largest)

    def info(self) -> dict[str, Any]:
        """Engine, server version, status, settings, and what the collection lacks."""
        self._check_open()
        found = self._get_collection()
        parameters = found.config.params
        return {
            **super().info(),
            "version": self._run(_one(Call("info"))).version,
            "collection": self.collection,
            "status": str(found.status),
            "optimizer": _optimizer(found),
            "documents": self._run(reading.count(None, self._scope)),
            "shards": parameters.shard_number,
            "replication_factor": parameters.replication_factor,
            "tenant_index": collections.has_tenant_index(found),
            "described": self._description is not None,
            "settings": self.settings.shaping(),
        }

    def adopt(self) -> None:
        """Write into a collection that does not say so that the store's encoder filled it. Said already, nothing happens.

        Raises:
            ModelMismatchError: the collection names another model.
            VectorError: stored vectors hold terms that the model does not have.
        """
        self._check_open()
        found = collections.describe(self._get_collection(), self._name)
        stamp = ModelStamp.of(self.encoder)
        if found is not None and found.model.fingerprint != stamp.fingerprint:
            raise ModelMismatchError(f"the store {self.url} was filled with the model {found.model}, not with {stamp}: it is not adopted.")
        for entry in self._run(reading.scan_page(None, SAMPLE, True, self._scope))[0]:
            entry.vector.check_vocabulary(self.encoder.vocab_size)
        if found is None:
            found = StoreDescription(self.engine, stamp, self.settings.shaping())
            self._run(_one(collections.adoption(self.collection, found)))
        self._description = found

    def point_alias(self, alias: str) -> str | None:
        """Let an alias mean this collection from now on, in one step. Returns the collection that it meant before, if any.

        Raises:
            StoreError: a collection has that name.
        """
        self._check_open()
        collections.check_name(alias)
        names = {found.name for found in self._run(_one(Call("get_collections"))).collections}
        if alias in names:
            raise StoreError(f"{alias!r} is a collection, not an alias: choose another name for the alias, or delete the collection first.")
        before = {found.alias_name: found.collection_name for found in self._run(_one(Call("get_aliases"))).aliases}.get(alias)
        steps: list[Any] = [models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=self._name, alias_name=alias))]
        if before is not None:
            steps.insert(0, models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
        self._run(_one(Call("update_collection_aliases", {"change_aliases_operations": steps})))
        return before

    def finish_loading(self) -> None:
        """Wait until the server has built its index, at most `finish_timeout_s`; searches work before, more slowly.

        Raises:
            StoreError: the server reports that optimizing failed.
        """
        self._check_open()
        started = reported = time.monotonic()
        wait = 0.05
        while (found := self._get_collection()).status not in (models.CollectionStatus.GREEN, models.CollectionStatus.GREY):
            if found.status == models.CollectionStatus.RED:
                raise StoreError(f"the collection of {self.url} is red ({_optimizer(found)}): look at the server's log.")
            now = time.monotonic()
            if now - started >= self.settings.finish_timeout_s:
                logger.warning("%s: still optimizing after %.0f s; searches work, more slowly", self.url, now - started)
                return
            if now - reported >= _REPORT_EVERY_S:
                logger.info("%s: optimizing, %s vectors indexed", self.url, found.indexed_vectors_count)
                reported = now
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_POLL_S)

    def _get_collection(self) -> models.CollectionInfo:
        found: models.CollectionInfo = self._run(_one(Call("get_collection", {"collection_name": self._name})))
        return found

    # -- calls -------------------------------------------------------------------------------------------------------

    def _attempt(self, call: Call) -> Any:
        return _applied(super()._attempt(call), self.url)

    async def _attempt_async(self, call: Call) -> Any:
        return _applied(await super()._attempt_async(call), self.url)

    def _read_failure(self, error: Exception, call: Call) -> Failure:
        return read_failure(error, self.url)

    def _new_async_client(self) -> Any:
        if self._connection is not None:
            return self._connection.async_client()
        return InThreads(self._client) if self._given_async_client is None else BorrowedAsync(self._given_async_client)

    # -- operations --------------------------------------------------------------------------------------------------

    def _search_hybrid(self, search: HybridSearch) -> list[Hit]:
        return self._run(self._hybrid_operation(search))

    async def _asearch_hybrid(self, search: HybridSearch) -> list[Hit]:
        return await self._run_async(self._hybrid_operation(search))

    def _hybrid_operation(self, search: HybridSearch) -> Operation[list[Hit]]:
        if self.settings.dense_size is None:
            raise ConfigError(f"the store {self.url} has no dense vectors beside the sparse ones: create one with the setting dense_size.")
        return reading.search_hybrid(search, self._scope)

    def _search_operation(
        self, query: SparseVector, top_k: int, filter: tuple[Condition, ...] | Any | None, with_payload: bool
    ) -> Operation[list[Hit]]:
        return reading.search(query, top_k, filter, with_payload, self._scope)

    def _get_operation(self, doc_ids: Sequence[str]) -> Operation[dict[str, Entry]]:
        return reading.get(doc_ids, self._scope)

    def _content_hashes_operation(self, doc_ids: Sequence[str]) -> Operation[dict[str, str]]:
        return reading.content_hashes(doc_ids, self._scope)

    def _count_operation(self, filter: tuple[Condition, ...] | Any | None) -> Operation[int]:
        return reading.count(filter, self._scope)

    def _scan_page_operation(self, cursor: Any, size: int, with_vectors: bool) -> Operation[tuple[list[Entry], Any]]:
        return reading.scan_page(cursor, size, with_vectors, self._scope)

    def _upsert_operation(self, entries: list[Entry]) -> Operation[list[Refusal]]:
        return writing.upsert(entries, self._scope)

    def _delete_operation(self, doc_ids: Sequence[str]) -> Operation[int]:
        return writing.delete(doc_ids, self._scope)

    def _delete_where_operation(self, filter: tuple[Condition, ...] | Any) -> Operation[int]:
        return writing.delete_where(filter, self._scope)


def _one(call: Call) -> Operation[Any]:
    return (yield call)


def _applied(answer: Any, url: str) -> Any:
    """The answer of a write only when it is applied: "acknowledged" is merely queued, and may be lost or unseen."""
    if isinstance(answer, models.UpdateResult) and answer.status != models.UpdateStatus.COMPLETED:
        error = StoreUnavailableError(f"the server of {url} took a write but has not applied it ({answer.status}): load it again.")
        raise AttemptFailed(Failure(error, retry=True))
    return answer


def _optimizer(info: models.CollectionInfo) -> str:
    status = info.optimizer_status
    return f"error: {status.error}" if isinstance(status, models.OptimizersStatusOneOf1) else str(status)
