"""The operations that read: search, hybrid search, get, content hashes, count, scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qdrant_client import models

from ...errors import VectorError
from ...filters import Condition
from ...vectors import SparseVector
from ..base import Entry, Hit, HybridSearch
from ..calls import Call, Operation
from ..payloads import HASH_FIELD
from .filters import scoped
from .points import Scope, to_bare_hit, to_entry, to_hit, wrong_dense

GetFilter = tuple[Condition, ...] | Any | None
_FIRST_TIES = 1000
GET_AT_ONCE = 1000


def native_filter(filter: GetFilter, scope: Scope) -> models.Filter | None:
    """The filter as the client wants it, confined to the tenant."""
    return scoped(filter, scope.tenant, scope.layout.field)


def search(query: SparseVector, top_k: int, filter: GetFilter, with_payload: bool, scope: Scope) -> Operation[list[Hit]]:
    """The best documents by dot product."""
    arguments = {
        "collection_name": scope.collection,
        "query": query.to_qdrant(),
        "using": scope.vector,
        "query_filter": native_filter(filter, scope),
    }
    return (yield from _ranked(arguments, top_k, with_payload, scope))


def search_hybrid(search: HybridSearch, scope: Scope) -> Operation[list[Hit]]:
    """The best documents by reciprocal rank fusion of both searches, by the server.

    The filter stands in each search, where it decides which documents are ranked, and not beside the fusion.
    Qdrant scores 1 / (k + rank) with ranks from 0, so that its k is one more than ours.
    """
    if scope.dense_size != len(search.dense):
        raise VectorError(wrong_dense("the dense query", len(search.dense), scope.dense_size, scope.url))
    native = native_filter(search.filter, scope)
    searches = [models.Prefetch(query=list(search.dense), using=scope.dense_vector, filter=native, limit=search.prefetch)]
    if len(search.query):  # an empty sparse query finds nothing, and the server refuses it
        searches.insert(0, models.Prefetch(query=search.query.to_qdrant(), using=scope.vector, filter=native, limit=search.prefetch))
    fusion = models.RrfQuery(rrf=models.Rrf(k=search.rrf_k + 1))
    arguments = {"collection_name": scope.collection, "prefetch": searches, "query": fusion}
    return (yield from _ranked(arguments, search.top_k, True, scope))


def largest_weights(term_ids: Sequence[int], scope: Scope) -> Operation[list[float]]:
    """The largest weight of each of these terms in the index, of all tenants: the range of a term spans them."""
    vectors = [models.SparseVector(indices=[term_id], values=[1.0]) for term_id in term_ids]
    requests = [models.QueryRequest(query=vector, using=scope.vector, limit=1, with_payload=False) for vector in vectors]
    if not requests:
        return []
    answers = yield Call("query_batch_points", {"collection_name": scope.collection, "requests": requests})
    return [max((float(point.score) for point in answer.points), default=0.0) for answer in answers]


def get(doc_ids: Sequence[str], scope: Scope) -> Operation[dict[str, Entry]]:
    """The entries of these documents."""
    found: dict[str, Entry] = {}
    for ids in _lots(scope.point_ids(doc_ids)):
        records = yield _retrieve(ids, True, True, scope)
        entries = [to_entry(record, scope) for record in records]
        found |= {entry.doc_id: entry for entry in entries}
    return found


def content_hashes(doc_ids: Sequence[str], scope: Scope) -> Operation[dict[str, str]]:
    """The content hashes of those of these documents that have one."""
    hashes: dict[str, str] = {}
    if not scope.layout.id_fields:
        return hashes
    for ids in _lots(scope.point_ids(doc_ids)):
        for record in (yield _retrieve(ids, scope.layout.id_fields, False, scope)):
            if HASH_FIELD in (record.payload or {}):
                hashes[scope.layout.doc_id(record.id, record.payload)] = record.payload[HASH_FIELD]
    return hashes


def count(filter: GetFilter, scope: Scope) -> Operation[int]:
    """How many documents pass the filter, exact."""
    answer = yield Call("count", {"collection_name": scope.collection, "count_filter": native_filter(filter, scope), "exact": True})
    return int(answer.count)


def scan_page(cursor: Any, size: int, with_vectors: bool, scope: Scope) -> Operation[tuple[list[Entry], Any]]:
    """One page of all documents."""
    arguments = {
        "collection_name": scope.collection,
        "scroll_filter": native_filter(None, scope),
        "limit": size,
        "offset": cursor,
        "with_payload": True if with_vectors else scope.layout.id_fields or False,
        "with_vectors": with_vectors,
    }
    records, following = yield Call("scroll", arguments)
    read = to_entry if with_vectors else _bare_entry
    return [read(record, scope) for record in records], following


def _bare_entry(record: Any, scope: Scope) -> Entry:
    payload: Mapping[str, Any] = record.payload or {}
    return Entry(scope.layout.doc_id(record.id, payload), SparseVector([], []), {}, payload.get(HASH_FIELD))


def _ranked(arguments: Mapping[str, Any], top_k: int, with_payload: bool, scope: Scope) -> Operation[list[Hit]]:
    """One query, and where the cut falls into a tie another: the server cuts it as it likes, we by document id."""
    wanted = True if with_payload else scope.layout.id_fields or False
    answer = yield Call("query_points", {**arguments, "limit": top_k + 1, "with_payload": wanted})
    points = _scoring(answer.points)
    if len(points) > top_k and points[top_k].score == points[top_k - 1].score:
        return (yield from _with_all_ties(arguments, points[top_k].score, top_k, with_payload, scope))
    read = to_hit if with_payload else to_bare_hit
    return sorted([read(point, scope) for point in points], key=_rank)[:top_k]


def _with_all_ties(arguments: Mapping[str, Any], score: float, top_k: int, with_payload: bool, scope: Scope) -> Operation[list[Hit]]:
    # the server's threshold is exclusive for a dot product
    wanted = {**arguments, "score_threshold": float(np.nextafter(np.float32(score), np.float32(0)))}
    wanted["with_payload"] = scope.layout.id_fields or False
    limit = top_k + _FIRST_TIES
    points: list[Any] = []
    while limit > len(points):
        answer = yield Call("query_points", {**wanted, "limit": limit})
        points = answer.points
        limit = 4 * limit if len(points) == limit else 0
    best = sorted(_scoring(points), key=lambda point: (-point.score, scope.layout.doc_id(point.id, point.payload or {})))[:top_k]
    if not with_payload:
        return [to_bare_hit(point, scope) for point in best]
    payloads: dict[Any, Any] = {}
    for ids in _lots([point.id for point in best]):
        payloads |= {record.id: record.payload for record in (yield _retrieve(ids, True, False, scope))}
    hits = [to_hit(point.model_copy(update={"payload": payloads[point.id]}), scope) for point in best if point.id in payloads]
    return sorted(hits, key=_rank)


def _retrieve(ids: Sequence[Any], payload: bool | list[str], vectors: bool, scope: Scope) -> Call:
    arguments = {"collection_name": scope.collection, "ids": list(ids), "with_payload": payload, "with_vectors": vectors}
    return Call("retrieve", arguments)


def _scoring(points: Sequence[Any]) -> list[Any]:
    return [point for point in points if point.score > 0]


def _rank(hit: Hit) -> tuple[float, str]:
    return -hit.score, hit.doc_id


def _lots(ids: Sequence[Any]) -> list[Sequence[Any]]:
    return [ids[start : start + GET_AT_ONCE] for start in range(0, len(ids), GET_AT_ONCE)]
