"""OpenSearchStore: an index of an OpenSearch server or cluster."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar
from urllib.parse import unquote

import numpy as np

from ...errors import ConfigError, SpladeConnectorsError, StoreNotFoundError
from ...filters import Condition
from ...vectors import SparseVector
from ..address import parse_address
from ..base import Entry, Hit, Refusal
from ..binding import ModelStamp, resolve_encoder, warn_unknown_origin
from ..calls import Call, Operation
from ..credentials import Credentials, environment_names
from ..options import OpenOptions
from ..remote import RemoteStore
from ..retrying import Failure
from ..settings import as_stored, read_settings
from . import administration, loading, opening, queries
from .bulk import Action, index_gone
from .documents import delete_action, document_key, to_entry
from .failures import read_failure
from .filters import to_query
from .index import ENGINE, Index, check_name, fixed_settings
from .searching import Searcher
from .settings import OpenSearchSettings
from .transport import Connecting
from .writing import BulkWriter, delete_where, index_lines

if TYPE_CHECKING:
    from ...encoding.protocol import Encoder

T = TypeVar("T")
logger = logging.getLogger(__name__)
DEFAULT_PORT = 9200
SCAN_KEEP_ALIVE = "10m"
IDS_ONLY = ["doc_id", "hash"]
WHOLE = ["doc_id", "hash", "sparse", "payload", "tenant"]
SCAN_ORDER = [{"doc_id": "asc"}, {"tenant": {"order": "asc", "missing": "_first"}}]


def connect(address: str, options: OpenOptions) -> OpenSearchStore:
    """Open or create the index at `address`; see open_store()."""
    names = environment_names(ENGINE)
    parsed = parse_address(options.url, default_port=DEFAULT_PORT, environment=f"{names['user']} and {names['password']}")
    settings = read_settings(OpenSearchSettings, options.settings, parsed.settings)
    connecting = Connecting(parsed, options.credentials or Credentials.from_environment(ENGINE), settings)
    name = check_name(unquote(parsed.collection))
    connecting.check()
    client = connecting.client()
    try:
        given = {*options.settings, *parsed.settings}
        return OpenSearchStore._open(client, name, parsed.url, settings, given, options, connecting.async_client, owned=True)
    except BaseException:
        client.close()
        raise


class OpenSearchStore(RemoteStore):
    """An index of an OpenSearch server; any number of threads and event loops."""

    engine: ClassVar[str] = ENGINE

    def __init__(
        self,
        url: str,
        encoder: Encoder,
        client: Any,
        index: Index,
        settings: OpenSearchSettings,
        *,
        batch_size: int = 256,
        tenant: str | None = None,
        new_async_client: Callable[[], Any] | None = None,
        owned: bool = False,
    ) -> None:
        policy = settings.policy()
        in_flight = settings.max_in_flight
        super().__init__(url, encoder, client, batch_size=batch_size, tenant=tenant, max_in_flight=in_flight, policy=policy)
        self.settings = settings
        self._index = index
        self._description = index.description
        self._make_async_client = new_async_client
        self._owned = owned
        self._searcher = Searcher(url, index.field_type, index.layout, settings)
        self._writer = BulkWriter(settings)
        self._loads = 0
        self._unseen = False  # something was written that a search does not see yet

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
        batch_size: int = 256,
        tenant: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Open or create an index with an opensearchpy.OpenSearch of your own, which stays yours to close.

        Args:
            index: name or alias.
            async_client: an AsyncOpenSearch of the event loop that will use it; without one, async methods run in threads.
            encoder, create, allow_mismatch, batch_size, tenant, settings: as for open_store().
        """
        url = f"opensearch:{check_name(index)}"
        given = dict(settings or {})
        options = OpenOptions(
            url=url, encoder=encoder, create=create, allow_mismatch=allow_mismatch, batch_size=batch_size, tenant=tenant, settings=given
        )
        new_async_client = None if async_client is None else lambda: async_client
        return cls._open(client, index, url, read_settings(OpenSearchSettings, given), given, options, new_async_client, owned=False)

    @classmethod
    def _open(
        cls,
        client: Any,
        name: str,
        url: str,
        settings: OpenSearchSettings,
        given: Collection[str],
        options: OpenOptions,
        new_async_client: Callable[[], Any] | None,
        *,
        owned: bool,
    ) -> Self:
        run = opening.Opener(client, url, settings.policy()).run
        index, encoder = run(opening.find(name)), options.encoder
        if index is None:
            if not options.create:
                raise StoreNotFoundError(f"there is no store at {url}: fill one with ingest, or check the address.")
            encoder = resolve_encoder(encoder, None, url)
            index = run(opening.create(name, ModelStamp.of(encoder), settings))
        if index.description is None:
            warn_unknown_origin(encoder, url)
        stamp = index.description.model if index.description else None
        resolved = resolve_encoder(encoder, stamp, url, allow_mismatch=options.allow_mismatch)
        settings = as_stored(settings, given, fixed_settings(index, settings), url)
        how: dict[str, Any] = {"batch_size": options.batch_size, "tenant": options.tenant, "owned": owned}
        return cls(url, resolved, client, index, settings, new_async_client=new_async_client, **how)

    @property
    def identity(self) -> str:
        return f"{ENGINE}:{self._description.store_id if self._description else self._index.uuid}"

    @property
    def collection(self) -> str:
        """The index itself, also when the store was opened by an alias."""
        return self._index.name

    @property
    def pruned_queries(self) -> int:
        """How many queries had more terms than the server takes, and were cut to their largest weights."""
        return self._searcher.pruned

    def stored_form(self, vector: SparseVector) -> SparseVector:
        """The weights as rank_features keeps them: cut to 9 significant bits, as Lucene does with term frequencies."""
        if self._index.field_type != "rank_features":
            return vector
        return SparseVector(vector.term_ids, (vector.weights.view(np.int32) >> 15 << 15).view(np.float32))

    def info(self) -> dict[str, Any]:
        self._check_open()
        server, index = self._run(self._searcher.server()), self._run(opening.find(self._target)) or self._index
        return {
            **super().info(),
            "index": index.name,
            "aliases": list(index.aliases),
            "distribution": server.distribution,
            "version": server.version,
            "plugins": list(server.plugins),
            "max_clauses": server.max_clauses,
            "neural_sparse": server.neural_sparse,
            "sparse_vector": server.sparse_vector,
            "field_type": index.field_type,
            "terms_per_field": index.layout.terms_per_field,
            "query": self._searcher.form(server),
            "shards": int(index.settings.get("index.number_of_shards", 0)),
            "replicas": int(index.settings.get("index.number_of_replicas", 0)),
            "documents": self.count(),
            "interrupted_load": index.noted is not None and not self._loads,
            "described": index.description is not None,
        }

    # -- searching -----------------------------------------------------------------------------------------------------

    def _search_operation(
        self, query: SparseVector, top_k: int, filter: tuple[Condition, ...] | Any | None, with_payload: bool
    ) -> Operation[list[Hit]]:
        clauses = to_query(filter, self.tenant)
        yield from self._see_own_writes()
        body = queries.search((yield from self._searcher.query(query, top_k, clauses)), top_k, with_payload)
        answer = yield self._read("search", body=body, params={"allow_partial_search_results": "false"})
        return queries.hits(queries.check_whole(answer, self.url), self.url)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _get_operation(self, doc_ids: Sequence[str]) -> Operation[dict[str, Entry]]:
        sources = yield from self._sources(doc_ids, WHOLE)
        return {doc_id: to_entry(source, self.url) for doc_id, source in sources.items()}

    def _content_hashes_operation(self, doc_ids: Sequence[str]) -> Operation[dict[str, str]]:
        sources = yield from self._sources(doc_ids, [*IDS_ONLY, "tenant"])
        return {doc_id: source["hash"] for doc_id, source in sources.items() if source.get("hash") is not None}

    def _sources(self, doc_ids: Sequence[str], fields: list[str]) -> Operation[dict[str, Mapping[str, Any]]]:
        """What is stored under these ids, and is this tenant's own."""
        keys = {document_key(doc_id, self.tenant): doc_id for doc_id in doc_ids}
        answer = yield self._read("mget", body={"docs": [{"_id": key, "_source": fields} for key in keys]})
        sources: dict[str, Mapping[str, Any]] = {}
        for doc in answer["docs"]:
            if "error" in doc:
                raise index_gone(self.collection)
            if doc.get("found") and doc["_source"].get("tenant") == self.tenant:
                sources[keys[doc["_id"]]] = doc["_source"]
        return sources

    def _count_operation(self, filter: tuple[Condition, ...] | Any | None) -> Operation[int]:
        clauses = to_query(filter, self.tenant)
        yield from self._see_own_writes()
        answer = yield self._read("count", body={"query": queries.confined(clauses)})
        return int(queries.check_whole(answer, self.url)["count"])

    def _scan_page_operation(self, cursor: Any, size: int, with_vectors: bool) -> Operation[tuple[list[Entry], Any]]:
        if cursor is None:
            yield from self._see_own_writes()
            opened = yield self._read("create_pit", params={"keep_alive": SCAN_KEEP_ALIVE})
            cursor = (opened["pit_id"], None)
        snapshot, after = cursor
        body = {
            "query": queries.confined(to_query(None, self.tenant)),
            "size": size,
            "sort": SCAN_ORDER,
            "track_total_hits": False,
            "_source": WHOLE if with_vectors else IDS_ONLY,
            "pit": {"id": snapshot, "keep_alive": SCAN_KEEP_ALIVE},
            **({"search_after": after} if after is not None else {}),
        }
        answer = yield Call("search", {"body": body, "params": {"allow_partial_search_results": "false"}})
        found = queries.check_whole(answer, self.url)["hits"]["hits"]
        entries = [to_entry(hit["_source"], self.url) for hit in found]
        if len(found) == size:
            return entries, (answer.get("pit_id", snapshot), found[-1]["sort"])
        yield Call("delete_pit", {"body": {"pit_id": [answer.get("pit_id", snapshot)]}})
        return entries, None

    def _read(self, name: str, *, retry: bool = True, **arguments: Any) -> Call:
        return Call(name, {"index": self._target, **arguments}, retry=retry)

    @property
    def _target(self) -> str:
        return self._index.guard or self._index.name

    def _see_own_writes(self) -> Operation[None]:
        if self._unseen and self.settings.read_own_writes and not self._loads:
            self._unseen = False
            yield self._read("indices.refresh")

    # -- writing -------------------------------------------------------------------------------------------------------

    def _upsert_operation(self, entries: list[Entry]) -> Operation[list[Refusal]]:
        return self._write(*index_lines(entries, self.tenant, self._index.layout, self._index.weight_ceiling))

    async def _aupsert(self, entries: list[Entry]) -> list[Refusal]:
        prepared = await asyncio.to_thread(index_lines, entries, self.tenant, self._index.layout, self._index.weight_ceiling)
        return await self._run_async(self._write(*prepared))

    def _write(self, actions: list[Action], refusals: list[Refusal]) -> Operation[list[Refusal]]:
        if self._index.guard is None:
            self._index = dataclasses.replace(self._index, guard=(yield from opening.ensure_guard(self._index)))
        self._unseen = True
        written = yield from self._writer.write(self._index, actions)
        self._unseen = True  # a search in between may have unset it
        return refusals + written

    def _delete_operation(self, doc_ids: Sequence[str]) -> Operation[int]:
        present = yield from self._sources(doc_ids, ["doc_id", "tenant"])
        yield from self._write([Action(doc_id, delete_action(document_key(doc_id, self.tenant))) for doc_id in present], [])
        return len(present)

    def _delete_where_operation(self, filter: tuple[Condition, ...] | Any) -> Operation[int]:
        query = queries.confined(to_query(filter, self.tenant))
        return delete_where(self._target, query, self.settings.load_timeout_s, self.url)

    # -- loading -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Switches refreshing off, and replicas while the index is first filled; restores both whatever happens.

        What was there before is noted in the index first, so that restore_settings() or the next load can restore it after
        a process was killed.
        """
        self._check_open()
        previous = self._run(loading.begin(self._target))
        self._loads += 1
        try:
            yield
        except BaseException:
            self._loads -= 1
            self._restore_after_error(previous)
            raise
        self._loads -= 1
        self._run(loading.end(self._target, previous, patient=True))

    def _restore_after_error(self, previous: Mapping[str, Any]) -> None:
        try:
            self._run(loading.end(self._target, previous, patient=False))
        except SpladeConnectorsError as error:  # the error of the load is the one to report
            logger.warning("%s: settings of the load are still in force, restore_settings() restores them (%s)", self.url, error)

    def restore_settings(self) -> bool:
        """Restore what a load that was killed has left changed. Only when no load is running. Returns whether there was anything."""
        self._check_open()
        return self._run(loading.restore(self._target))

    def finish_loading(self) -> None:
        self._check_open()
        self._run(self._finish())

    def _finish(self) -> Operation[None]:
        self._unseen = False
        yield self._read("indices.refresh", params={"request_timeout": self.settings.load_timeout_s})
        if self.settings.merge_segments is not None:
            params = {"max_num_segments": self.settings.merge_segments, "request_timeout": self.settings.load_deadline_s}
            yield dataclasses.replace(self._read("indices.forcemerge", params=params), patient=True)

    # -- aliases and adoption --------------------------------------------------------------------------------------------

    def point_alias(self, alias: str) -> str | None:
        """Let an alias point to this store's index, in one step: a search by the alias sees the old index or the new one.

        Returns: the index that it pointed to before, None if there was no such alias.

        Raises:
            ConfigError: an index has this name.
            StoreFormatError: it points to several indices.
        """
        self._check_open()
        return self._run(administration.point_alias(check_name(alias), self.collection))

    def adopt(self) -> None:
        """Write down that this store's model filled the index. Only for an index that does not say which one did."""
        self._check_open()
        self._index = self._run(administration.adopt(self.collection, ModelStamp.of(self.encoder), self.settings, self.url))
        self._description = self._index.description

    # -- clients -------------------------------------------------------------------------------------------------------

    def _read_failure(self, error: Exception, call: Call) -> Failure:
        return read_failure(error, self.url)

    def _new_async_client(self) -> Any:
        if self._make_async_client is None:
            raise ConfigError("no asynchronous client was given")
        return self._make_async_client()

    async def _run_async(self, operation: Operation[T]) -> T:
        if self._make_async_client is None:
            return await asyncio.to_thread(self._run, operation)
        return await super()._run_async(operation)

    async def aclose(self) -> None:
        """Close the asynchronous client of this event loop, then the store. Clients given to from_client() stay open."""
        await asyncio.to_thread(self._show_writes)
        if self._owned:
            await super().aclose()
        else:
            self.close()

    def _close(self) -> None:
        self._show_writes()
        if self._owned:
            super()._close()

    def _show_writes(self) -> None:
        """What was written is found by whoever opens the store next; without this, a second later."""
        if not self._unseen or not self.settings.read_own_writes:
            return
        self._unseen = False
        try:
            self._perform(self._read("indices.refresh", retry=False))
        except SpladeConnectorsError as error:
            logger.info("%s: not refreshed on close, what was written is found when the server next does (%s)", self.url, error)
