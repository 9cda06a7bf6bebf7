"""EdgeStore: Qdrant's engine in this process (qdrant-edge), its data in a folder.

PATH/splade-store.json is the sidecar (model, format version, settings), PATH/shard/ holds the engine's own files.
"""

from __future__ import annotations

import importlib.metadata
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import qdrant_edge as edge

from ...errors import ConfigError, StoreCorruptError, StoreNotFoundError
from ...filters import AnyOf, Condition
from ...vectors import SparseVector
from .. import datatypes
from ..base import Entry, Hit, HybridSearch, Refusal, Store
from ..binding import ModelStamp, resolve_encoder
from ..description import StoreDescription
from ..options import OpenOptions
from ..payloads import HASH_FIELD, ID_FIELD, TENANT_FIELD, from_stored, to_stored
from ..point_ids import point_id
from ..settings import as_stored, read_settings
from ..sidecar import find_store, read_sidecar, store_folder, write_sidecar
from .engine import RESERVE_BYTES, EdgeEngine, check_space, translated
from .filters import to_edge
from .settings import DENSE, VECTOR, EdgeSettings, stored_settings

if TYPE_CHECKING:
    from ...encoding.protocol import Encoder

logger = logging.getLogger(__name__)
SHARD = "shard"
ID_ONLY = edge.PayloadSelector.Include([ID_FIELD])
BYTES_PER_BYTE = 4  # on disk a write lands in the log, the vector storage, the payload storage and later a merged segment


class Repair(NamedTuple):
    """What repair() did: how many documents are there, and where the set-aside log is (None: there was nothing to repair)."""

    documents: int
    set_aside: Path | None


def connect(address: str, options: OpenOptions) -> EdgeStore:
    """Open or create the store in the folder `address`; see open_store()."""
    folder, url = store_folder(address, options.url, EdgeStore.engine), options.url
    settings = read_settings(EdgeSettings, options.settings)
    with translated(url, "open"):
        found = find_store(folder, url, EdgeStore.engine, create=options.create)
    resolved = resolve_encoder(options.encoder, found.model if found else None, url, allow_mismatch=options.allow_mismatch)
    if found is not None:
        settings = as_stored(settings, options.settings, stored_settings(found.settings), url)
    if found is None or not (folder / SHARD).exists():
        found = _create(folder, found.model if found else ModelStamp.of(resolved), settings, url)
    return EdgeStore(url, resolved, EdgeEngine(folder / SHARD, url), found, batch_size=options.batch_size, tenant=options.tenant)


def repair(path: str | Path) -> Repair:
    """Make a store open again after a StoreCorruptError, by setting the engine's write-ahead log aside.

    What was flushed (at every checkpoint, at the end of an ingest, on close) comes back; run the last ingest again for
    the rest. The log is renamed, not deleted; a store that opens is left as it is.

    Raises:
        StoreCorruptError: more than the log is damaged; nothing was changed, ingest into a new folder.
        StoreLockedError, StoreNotFoundError: in use, or not an edge store.
    """
    folder = store_folder(str(path), str(path), EdgeStore.engine)
    log = folder / SHARD / "wal"
    with translated(str(folder), "repair"):
        if read_sidecar(folder, EdgeStore.engine) is None or not log.is_dir():
            raise StoreNotFoundError(f"{folder} is not an edge store: nothing to repair.")
    try:
        return Repair(_documents(folder), None)
    except StoreCorruptError:  # what else may be raised (locked, no permission) is not for a repair to force
        with translated(str(folder), "repair"):
            set_aside = next(name for n in range(1, 10_000) if not (name := log.with_name(f"wal.set-aside-{n}")).exists())
            log.rename(set_aside)
    try:
        return Repair(_documents(folder), set_aside)
    except StoreCorruptError:  # not the log: everything as it was
        shutil.rmtree(log, ignore_errors=True)
        set_aside.rename(log)
        raise


class EdgeStore(Store):
    """An embedded Qdrant in a folder; one process at a time, any number of threads.

    What upsert_vectors() has acknowledged survives the death of the process; flush() puts it on the medium as well.
    """

    engine: ClassVar[str] = "edge"

    def __init__(
        self,
        url: str,
        encoder: Encoder,
        engine: EdgeEngine,
        description: StoreDescription,
        *,
        batch_size: int = 256,
        tenant: str | None = None,
    ) -> None:
        super().__init__(url, encoder, batch_size=batch_size, tenant=tenant)
        self._edge = engine
        self._store_id = description.store_id
        self._description = description
        self.settings = EdgeSettings(**stored_settings(description.settings))

    @property
    def identity(self) -> str:
        return f"edge:{self._store_id}"

    def stored_form(self, vector: SparseVector) -> SparseVector:
        return datatypes.stored_form(vector, self.settings.datatype)

    def score_tolerance(self, query: SparseVector, vector: SparseVector) -> float:
        return datatypes.score_tolerance(query, vector, self.settings.datatype, self._largest_weights)

    def info(self) -> dict[str, Any]:
        """Engine, version, settings and size."""
        self._check_open()
        with self._edge.use("read") as shard:
            found = shard.info()
        return {
            **super().info(),
            "version": importlib.metadata.version("qdrant-edge-py"),
            "documents": self._count(None),
            "segments": int(found.segments_count),
            "bytes": _bytes_used(self._edge.folder),
            "described": True,
            "settings": self.settings.to_mapping(),
        }

    def flush(self) -> None:
        self._check_open()
        with self._edge.use("flush") as shard:
            shard.flush()

    def finish_loading(self) -> None:
        self._check_open()
        room = self._edge.has_space(_bytes_used(self._edge.folder))  # merging writes every segment once more
        with self._edge.use("optimize") as shard:
            if room:
                shard.optimize()
            else:
                logger.warning("%s: too little free space to merge the index; searches work, more slowly", self.url)
            shard.flush()

    # -- reading ---------------------------------------------------------------------------------------------------

    def _search(self, query: SparseVector, top_k: int, filter: tuple[Condition, ...] | Any | None, with_payload: bool) -> list[Hit]:
        nearest = edge.Query.Nearest(_to_edge_vector(query), using=VECTOR)
        return self._ranked({"query": nearest, "filter": self._scoped(filter)}, top_k, with_payload)

    def _search_hybrid(self, search: HybridSearch) -> list[Hit]:
        if self.settings.dense_size is None:
            raise ConfigError(f"the store {self.url} has no dense vectors beside the sparse ones: create one with the setting dense_size.")
        self.settings.check_dense("the dense query", search.dense, self.url)
        native = self._scoped(search.filter)
        searches = [edge.Prefetch(search.prefetch, query=edge.Query.Nearest(list(search.dense), using=DENSE), filter=native)]
        if len(search.query):
            nearest = edge.Query.Nearest(_to_edge_vector(search.query), using=VECTOR)
            searches.insert(0, edge.Prefetch(search.prefetch, query=nearest, filter=native))
        # Edge scores 1 / (k + rank) with ranks from 0, so that its k is one more than ours
        return self._ranked({"query": edge.Fusion.Rrf(k=search.rrf_k + 1), "prefetches": searches}, search.top_k, True)

    def _ranked(self, request: Mapping[str, Any], top_k: int, with_payload: bool) -> list[Hit]:
        payload = True if with_payload else ID_ONLY
        with self._edge.use("search") as shard:
            points = _query(shard, request, top_k + 1, payload)
            if len(points) > top_k and points[top_k].score == points[top_k - 1].score:
                points = _with_all_ties(shard, request, points[top_k - 1].score, top_k, payload)
        return sorted(map(_hit, points), key=_rank)[:top_k]

    def _largest_weights(self, term_ids: list[int]) -> list[float]:
        """Of all tenants: the range of a term spans them."""
        queries = [edge.Query.Nearest(edge.SparseVector([term_id], [1.0]), using=VECTOR) for term_id in term_ids]
        with self._edge.use("search") as shard:
            found = [_query(shard, {"query": query}, 1, payload=False) for query in queries]
        return [max((float(point.score) for point in points), default=0.0) for points in found]

    def _get(self, doc_ids: list[str]) -> dict[str, Entry]:
        with self._edge.use("read") as shard:
            records = shard.retrieve(self._point_ids(doc_ids), True, True)
        return {entry.doc_id: entry for entry in map(_entry, records)}

    def _content_hashes(self, doc_ids: list[str]) -> dict[str, str]:
        wanted = edge.PayloadSelector.Include([ID_FIELD, HASH_FIELD])
        with self._edge.use("read") as shard:
            payloads = [record.payload for record in shard.retrieve(self._point_ids(doc_ids), wanted, False)]
        return {payload[ID_FIELD]: payload[HASH_FIELD] for payload in payloads if HASH_FIELD in payload}

    def _count(self, filter: tuple[Condition, ...] | Any | None) -> int:
        with self._edge.use("count") as shard:
            return int(shard.count(edge.CountRequest(exact=True, filter=self._scoped(filter))))

    def _scan_page(self, cursor: Any, size: int, with_vectors: bool) -> tuple[list[Entry], Any]:
        payload = True if with_vectors else edge.PayloadSelector.Include([ID_FIELD, HASH_FIELD])
        request = edge.ScrollRequest(limit=size, offset=cursor, filter=self._scoped(None), with_payload=payload, with_vector=with_vectors)
        with self._edge.use("read") as shard:
            records, following = shard.scroll(request)
        return list(map(_entry, records)), following

    # -- writing ---------------------------------------------------------------------------------------------------

    def _upsert(self, entries: list[Entry]) -> list[Refusal]:
        for entry in entries:
            if entry.dense is not None:
                self.settings.check_dense(f"the dense vector of {entry.doc_id!r}", entry.dense, self.url)
        entries, refusals = datatypes.split(entries, self.settings.datatype)
        points = [self._point(entry) for entry in entries]
        expected = 4 * len(entries) * (self.settings.dense_size or 0) + sum(
            [8 * len(entry.vector) + 4 * _characters(entry.payload) + 1024 for entry in entries]
        )
        with self._edge.use("write") as shard:
            self._edge.check_space(BYTES_PER_BYTE * expected)
            shard.update(edge.UpdateOperation.upsert_points(points))
        return refusals

    def _delete_where(self, filter: tuple[Condition, ...] | Any) -> int:
        native = self._scoped(filter)
        with self._edge.use("delete") as shard:
            doomed = int(shard.count(edge.CountRequest(exact=True, filter=native)))
            if doomed:
                self._edge.check_space(0)
                shard.update(edge.UpdateOperation.delete_points_by_filter(native))
        return doomed

    def _delete(self, doc_ids: list[str]) -> int:
        with self._edge.use("delete") as shard:
            present = [record.id for record in shard.retrieve(self._point_ids(doc_ids), False, False)]
            if present:
                self._edge.check_space(0)
                shard.update(edge.UpdateOperation.delete_points(present))
        return len(present)

    def _close(self) -> None:
        self._edge.close()

    # -- the tenant --------------------------------------------------------------------------------------------------

    def _scoped(self, filter: tuple[Condition, ...] | Any | None) -> Any:
        """The engine's filter, confined to the tenant."""
        native = to_edge(filter) if isinstance(filter, tuple) else filter
        if native is not None and not isinstance(native, edge.Filter):
            raise ConfigError(f"filter is {type(filter).__name__}: it must be a mapping or a qdrant_edge.Filter.")
        if self.tenant is None:
            return native
        mine = to_edge((AnyOf(TENANT_FIELD, (self.tenant,)),))
        return mine if native is None else edge.Filter(must=[native, mine])

    def _point_ids(self, doc_ids: list[str]) -> list[str]:
        return [point_id(doc_id, self.tenant) for doc_id in dict.fromkeys(doc_ids)]

    def _point(self, entry: Entry) -> Any:
        stored = to_stored(entry.doc_id, entry.payload, entry.content_hash, self.tenant)
        vectors: dict[str, Any] = {VECTOR: _to_edge_vector(entry.vector)}
        if entry.dense is not None:
            vectors[DENSE] = list(entry.dense)
        return edge.Point(point_id(entry.doc_id, self.tenant), vectors, stored)


def _create(folder: Path, model: ModelStamp, settings: EdgeSettings, url: str) -> StoreDescription:
    """The sidecar first: a folder with a sidecar and no shard is taken up again, one with a shard alone would be no store."""
    description = StoreDescription(EdgeStore.engine, model, settings.to_mapping())
    with translated(url, "create"):
        folder.mkdir(parents=True, exist_ok=True)
        check_space(folder, RESERVE_BYTES)
        write_sidecar(folder, description)
    EdgeEngine.create(folder / SHARD, settings.config(), url)
    return description


def _documents(folder: Path) -> int:
    engine = EdgeEngine(folder / SHARD, str(folder))
    with engine.use("count") as shard:
        documents = int(shard.count(edge.CountRequest(exact=True)))
    engine.close()
    return documents


def _query(shard: Any, request: Mapping[str, Any], limit: int, payload: Any, threshold: float | None = None) -> list[Any]:
    asked = edge.QueryRequest(limit, **request, score_threshold=threshold, with_payload=payload, with_vector=False)
    return [point for point in shard.query(asked) if point.score > 0]


def _with_all_ties(shard: Any, request: Mapping[str, Any], score: float, top_k: int, payload: Any) -> list[Any]:
    """The top_k points, those tied with the last one chosen by document id: the engine cuts a tie as it likes."""
    below = float(np.nextafter(np.float32(score), np.float32(0)))  # the engine's threshold is exclusive
    everyone = shard.count(edge.CountRequest(exact=True))
    points = _query(shard, request, everyone, ID_ONLY, below)
    best = sorted(points, key=lambda point: (-point.score, point.payload[ID_FIELD]))[:top_k]
    payloads = {record.id: record.payload for record in shard.retrieve([point.id for point in best], payload, False)}
    return [_Point(point.score, payloads[point.id]) for point in best]


class _Point(NamedTuple):
    score: float
    payload: dict[str, Any]


def _hit(point: Any) -> Hit:
    doc_id, payload, _ = from_stored(dict(point.payload))
    return Hit(doc_id, float(point.score), payload)


def _rank(hit: Hit) -> tuple[float, str]:
    return -hit.score, hit.doc_id


def _entry(record: Any) -> Entry:
    doc_id, payload, content_hash = from_stored(dict(record.payload))
    vectors = record.vector or {}
    vector = SparseVector.from_qdrant(vectors[VECTOR]) if VECTOR in vectors else SparseVector([], [])
    return Entry(doc_id, vector, payload, content_hash, tuple(vectors[DENSE]) if DENSE in vectors else None)


def _to_edge_vector(vector: SparseVector) -> Any:
    return edge.SparseVector(vector.term_ids.tolist(), vector.weights.tolist())


def _characters(payload: Mapping[str, Any]) -> int:
    return sum([len(value) if isinstance(value, str) else 64 for value in payload.values()])


def _bytes_used(folder: Path) -> int:
    # blocks, not sizes: the engine's files are sparse
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
