"""EdgeStore: Qdrant's engine in this process (qdrant-edge), its data in a folder.

PATH/splade-store.json is the sidecar (model, format version, settings, what the shard must hold: contents.py), PATH/shard/ holds
the engine's own files, PATH/splade-ledger the state of the last write and the lock.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import qdrant_edge as edge

from ...errors import ConfigError, StoreWriteError
from ...filters import AnyOf, Condition
from ...turns import Turns
from ...vectors import SparseVector
from .. import datatypes
from ..base import EngineFilter, Entry, Hit, HybridSearch, ParsedFilter, Refusal, Store
from ..calls import Operation
from ..engine_methods import LOOKED_THROUGH
from ..model_stamp import ModelStamp, check_passages, find_store, resolve_encoder, store_folder
from ..passages import (
    FetchPoints,
    Found,
    Head,
    Point,
    asks_for_text,
    best_passages,
    fetched,
    fused_documents,
    head_of,
    hit_of,
    immediate,
    passage_number,
    places_without_spans,
    point_of,
    rank,
    with_passages,
)
from ..payloads import ID_FIELD, TENANT_FIELD, from_stored, point_id
from ..settings import OpenOptions, as_stored, read_settings
from .checks import altered, checked_names, checked_owner, checked_payload, checked_vector, hex_id
from .contents import ENGINE, Contents, count, documents_only, every_record
from .creation import create, open_shard
from .engine import EdgeEngine, translated
from .filters import to_edge
from .points import (
    ONLY_NAMES,
    bytes_used,
    hit_rank,
    owners,
    tail_records,
    tails_of,
    to_edge_vector,
    to_entry,
    to_hit,
    to_name,
    with_all_ties,
    with_ties,
)
from .points import (
    query as query_points,
)
from .settings import DENSE, VECTOR, EdgeSettings, stored_settings
from .write import EdgeWriter

if TYPE_CHECKING:
    from ...encoding.protocol import Encoder

logger = logging.getLogger(__name__)
_IN_TURN = Turns(1)  # searches: the engine holds the interpreter lock, so that a second one at once gains nothing


def connect(options: OpenOptions) -> EdgeStore:
    """Open or create the store in the folder that the URL names; see open_store()."""
    folder, url = store_folder(options.address, options.url, EdgeStore.engine), options.url
    settings = read_settings(EdgeSettings, options.settings)
    with translated(url, "open"):
        found = find_store(folder, url, EdgeStore.engine, create=options.create)
    resolved = resolve_encoder(options.encoder, found.model if found else None, url, allow_mismatch=options.allow_mismatch)
    if found is None:
        create(folder, ModelStamp.of(resolved), settings, options)
    else:
        check_passages(options.passages, found.passages, url)
        as_stored(settings, stored_settings(found.settings), url)
    engine, contents = open_shard(folder, url)
    return EdgeStore(url, resolved, engine, contents, max_batch_documents=options.max_batch_documents, tenant=options.tenant)


class EdgeStore(Store):
    """An embedded Qdrant in a folder; one process at a time, any number of threads.

    What upsert_vectors() has acknowledged survives the death of the process; flush() writes it to disk as well.
    """

    engine: ClassVar[str] = "edge"

    def __init__(
        self,
        url: str,
        encoder: Encoder,
        engine: EdgeEngine,
        contents: Contents,
        *,
        max_batch_documents: int = 256,
        tenant: str | None = None,
    ) -> None:
        super().__init__(url, encoder, max_batch_documents=max_batch_documents, tenant=tenant)
        self._edge = engine
        self._contents = contents
        self._description = contents.description
        self.settings = EdgeSettings(**stored_settings(contents.description.settings))
        self._writer = EdgeWriter(engine, contents)
        self._writer.sweep_if_cut_off()

    @property
    def identity(self) -> str:
        return f"edge:{self._contents.description.store_id}"

    @property
    def dense_size(self) -> int | None:
        return self.settings.dense_size

    def quantized(self, vector: SparseVector) -> SparseVector:
        return datatypes.quantized(vector, self.settings.datatype)

    @property
    def knows_tolerance(self) -> bool:
        return self.settings.datatype != "uint8"

    def score_tolerance(self, query: SparseVector, vector: SparseVector) -> float:
        return datatypes.score_tolerance(query, vector, self.settings.datatype, self._largest_weights)

    def info(self) -> dict[str, Any]:
        """Engine, version, settings and size."""
        self._check_open()
        with self._edge.use("read") as shard:
            found, size = shard.info(), bytes_used(self._edge.folder)
        return {
            **super().info(),
            "version": ENGINE,
            "documents": self._count(()),
            "points": int(found.points_count),
            "segments": int(found.segments_count),
            "bytes": size,
            "described": True,
            "settings": self.settings.to_mapping(),
        }

    def flush(self) -> None:
        self._check_open()
        with self._edge.use("flush") as shard:
            shard.flush()
            self._contents.flush()

    def finish_loading(self) -> None:
        self._check_open()
        with self._edge.use("optimize") as shard:
            if not self._edge.has_space(bytes_used(self._edge.folder)):  # merging writes every segment once more
                logger.warning("%s: too little free space to merge the index; searches work, more slowly", self.url)
            else:
                with self._contents.writing(shard, {}, {}):
                    shard.optimize()
            shard.flush()
        self._seal()

    # -- reading ---------------------------------------------------------------------------------------------------

    @_IN_TURN
    def _search(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool) -> list[Hit]:
        nearest = edge.Query.Nearest(to_edge_vector(query), using=VECTOR)
        return self._ranked({"query": nearest, "filter": self._passing(filter)}, top_k, with_payload)

    @_IN_TURN
    def _search_passages(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool, group: bool) -> list[Hit]:
        nearest = edge.Query.Nearest(to_edge_vector(query), using=VECTOR)
        request = {"query": nearest, "filter": self._passing(filter)}
        with self._edge.held():
            with self._edge.use("search") as shard:
                self._writer.sweep_if_cut_off()
                found = best_passages(partial(with_ties, shard, request, top_k), top_k, self._spread if group else None)
                stored = owners(shard, found)
            best = sorted(self._ranked_passages(found, stored))[:top_k]
            if with_payload:
                heads = immediate(self._heads(list({head: None for *_, head in best}), True))
                return [hit_of(Point(head, doc_id, -score, number), heads.get(head)) for score, doc_id, number, head in best]
        places = places_without_spans([number for _, _, number, _ in best])
        return [Hit(doc_id, -score, {}, places[number]) for score, doc_id, number, _ in best]

    def _ranked_passages(self, found: Sequence[Found], stored: Sequence[Mapping[str, Any]]) -> Iterator[tuple[float, str, int, str]]:
        """Of each point its score, times -1, its document, its number and its head, which sort as they are ranked."""
        for (point, score, _), owner in zip(found, stored, strict=True):
            doc_id, head = checked_owner(point, owner, self.url)
            yield -score, doc_id, passage_number(point), head

    @_IN_TURN
    def _search_hybrid(self, search: HybridSearch) -> list[Hit]:
        if self.settings.dense_size is None:
            raise ConfigError(f"the store {self.url} has no dense vectors beside the sparse ones: create one with the setting dense_size.")
        self.settings.check_dense("the dense query", search.dense, self.url)
        native = self._passing(search.filter)
        near = edge.Query.Nearest(list(search.dense), using=DENSE)
        with self._edge.held():  # fused by us: the engine would fuse passages, cut ties as it likes, and knows no sum of shares
            nearest = self._nearest(near, native)
            return immediate(fused_documents(self._points(search.query, native), nearest, self._heads, search, self._spread))

    def _nearest(self, near: Any, native: Any) -> FetchPoints:
        def fetch(count: int) -> Operation[list[Point]]:
            request = edge.QueryRequest(count, query=near, filter=native, with_payload=ONLY_NAMES, with_vector=False)
            with self._edge.use("search") as shard:
                found = shard.query(request)
            return fetched(list(map(self._point_found, found)))

        return fetch

    def _points(self, query: SparseVector, native: Any) -> FetchPoints:
        nearest = edge.Query.Nearest(to_edge_vector(query), using=VECTOR)
        request = {"query": nearest, "filter": native}
        return lambda count: fetched(sorted(map(self._point_found, self._best(request, count, ONLY_NAMES)), key=rank)[:count])

    def _point_found(self, point: Any) -> Point:
        stored = checked_names(point, self.url)
        return point_of(hex_id(point.id), stored[ID_FIELD], float(point.score), stored)

    def _heads(self, keys: list[str], whole: bool) -> Operation[dict[str, Head]]:
        payload, checked = (True, checked_payload) if whole else (ONLY_NAMES, checked_names)
        with self._edge.use("search") as shard:
            records = shard.retrieve(keys, payload, False)
        stored = {hex_id(record.id): checked(record, self.url) for record in records}
        return fetched({key: head_of(found, from_stored(dict(found))[1] if whole else {}) for key, found in stored.items()})

    def _ranked(self, request: Mapping[str, Any], top_k: int, with_payload: bool) -> list[Hit]:
        payload, checked = (True, checked_payload) if with_payload else (ONLY_NAMES, checked_names)
        hits = [to_hit(point, checked(point, self.url)) for point in self._best(request, top_k, payload)]
        return sorted(hits, key=hit_rank)[:top_k]

    def _best(self, request: Mapping[str, Any], top_k: int, payload: Any) -> list[Any]:
        """The top_k points, and one more where it does not tie with the last of them."""
        with self._edge.use("search") as shard:
            points = query_points(shard, request, top_k + 1, payload)
            if len(points) > top_k and points[top_k].score == points[top_k - 1].score:
                points = with_all_ties(shard, request, points[top_k - 1].score, top_k, payload)
        return points

    def _largest_weights(self, term_ids: list[int]) -> list[float]:
        """Of all tenants: the range of a term spans them."""
        queries = [edge.Query.Nearest(edge.SparseVector([term_id], [1.0]), using=VECTOR) for term_id in term_ids]
        with self._edge.use("search") as shard:
            found = [query_points(shard, {"query": query}, 1, payload=False) for query in queries]
        return [max((float(point.score) for point in points), default=0.0) for points in found]

    def _get(self, doc_ids: list[str]) -> dict[str, Entry]:
        with self._edge.use("read") as shard:
            heads = shard.retrieve(self._point_ids(doc_ids), True, True)
            tails = tail_records(shard, heads)
        return {entry.doc_id: entry for entry in self._entries(heads, tails)}

    def _entries(self, heads: Sequence[Any], tails: Mapping[str, Any]) -> list[Entry]:
        """The documents of these heads, with all of their passages. Raises StoreCorruptError."""
        entries = [to_entry(record, self.url) for record in heads]
        return [self._with_passages(entry, head, tails) for entry, head in zip(entries, heads, strict=True)]

    def _with_passages(self, entry: Entry, head: Any, records: Mapping[str, Any]) -> Entry:
        vectors = [entry.vector]
        for point in tails_of(head):
            if point not in records:
                raise altered(entry.doc_id, self.url)
            vectors.append(checked_vector(records[point], VECTOR, self.url))
            checked_payload(records[point], self.url, vectors[-1])
        return with_passages(entry, head.payload, vectors)

    def _content_hashes(self, doc_ids: list[str]) -> dict[str, str]:
        with self._edge.use("read") as shard:
            records = shard.retrieve(self._point_ids(doc_ids), ONLY_NAMES, False)
        found = [to_name(record, self.url) for record in records]
        return {entry.doc_id: entry.content_hash for entry in found if entry.content_hash is not None}

    def _count(self, filter: ParsedFilter) -> int:
        with self._edge.use("count") as shard:
            return count(shard, self._documents(filter))

    def _has_any(self, asked: Condition) -> bool | None:
        with self._edge.use("count") as shard:
            large = int(shard.info().points_count) > LOOKED_THROUGH  # its documents alone take a look at every payload
        return True if large else super()._has_any(asked)

    def _scan_page(self, cursor: Any, size: int, with_vectors: bool) -> tuple[list[Entry], Any]:
        payload = True if with_vectors else ONLY_NAMES
        mine = self._documents(())
        request = edge.ScrollRequest(limit=size, offset=cursor, filter=mine, with_payload=payload, with_vector=with_vectors)
        with self._edge.use("read") as shard:
            records, following = shard.scroll(request)
            tails = tail_records(shard, records) if with_vectors else {}
        if with_vectors:
            return self._entries(records, tails), following
        return [to_name(record, self.url) for record in records], following

    # -- writing ---------------------------------------------------------------------------------------------------

    def _upsert(self, entries: list[Entry]) -> list[Refusal]:
        for entry in entries:
            if entry.dense is not None:
                self.settings.check_dense(f"the dense vector of {entry.doc_id!r}", entry.dense, self.url)
        entries, refusals = datatypes.split(entries, self.settings.datatype)
        self._writer.upsert(entries, self.tenant, self.settings.dense_size or 0)
        return refusals

    def _delete_where(self, filter: ParsedFilter) -> int:
        native = self._documents(filter)
        with self._edge.use("delete") as shard:
            return self._writer.delete(shard, [hex_id(record.id) for record in every_record(shard, False, filter=native)])

    def _delete(self, doc_ids: list[str]) -> int:
        with self._edge.use("delete") as shard:
            return self._writer.delete(shard, self._point_ids(doc_ids))

    def sweep(self) -> int:
        self._check_open()
        return self._writer.sweep()

    def _close(self) -> None:
        if self._edge.inherited:
            return  # all of it is the parent's
        try:
            if self._edge.loaded and not self._edge.replaced:  # else the seal would be another store's
                self._seal()
        finally:
            try:
                self._edge.close()
            finally:
                self._contents.close()

    def _seal(self) -> None:
        try:
            with translated(self.url, "seal"):
                self._writer.sweep_if_cut_off()  # a sealed store is not swept when it is opened
                self._contents.seal(self._edge)
        except StoreWriteError as error:  # nothing is lost by it
            logger.warning("%s: every document will be counted when the store is opened next: %s", self.url, error)

    # -- the tenant --------------------------------------------------------------------------------------------------

    def _restrict_to_tenant(self, filter: ParsedFilter) -> Any:
        """The engine's filter: whatever `filter` allows, only this tenant's documents pass."""
        native = filter.filter if isinstance(filter, EngineFilter) else to_edge(filter) if filter else None
        if native is not None and not isinstance(native, edge.Filter):
            accepted = "a mapping such as {'metadata.year': 2024}, or a qdrant_edge.Filter"
            raise ConfigError(f"filter is {type(native).__name__}: it must be {accepted}.")
        if self.tenant is None:
            return native
        mine = to_edge((AnyOf(TENANT_FIELD, (self.tenant,)),))
        return mine if native is None else edge.Filter(must=[native, mine])

    def _passing(self, filter: ParsedFilter) -> Any:
        """The same, of passages that a search may find."""
        return self._documents(filter) if asks_for_text(filter) else self._restrict_to_tenant(filter)

    def _documents(self, filter: ParsedFilter) -> Any:
        """The same, without further passages of documents."""
        native = self._restrict_to_tenant(filter)
        return documents_only(native) if self._contents.passages else native

    def _point_ids(self, doc_ids: list[str]) -> list[str]:
        return [point_id(doc_id, self.tenant) for doc_id in dict.fromkeys(doc_ids)]
