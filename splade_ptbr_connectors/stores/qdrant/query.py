"""Reading: search, hybrid search, get, content hashes, count, scan; and filters as the client wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from qdrant_client import models

from ...batches import batched
from ...errors import ConfigError, StoreCorruptError, VectorError
from ...filters import AnyOf, Condition, Period, Range
from ...vectors import SparseVector
from ..base import EngineFilter, Entry, Hit, HybridSearch, ParsedFilter
from ..calls import Operation
from ..engine_methods import LOOKED_THROUGH
from ..field_conditions import QdrantDialect, translate
from ..passages import FetchPoints, Head, Point, Spread, asks_for_text, fused_documents, head_of, rank, with_passages
from ..payloads import HASH_FIELD, NUMBER_PATH, TENANT_FIELD
from .client import ask
from .schema import Schema
from .wire import PointId, point_key, tails_of, to_bare_entry, to_bare_hit, to_entry, to_found, to_hit, wrong_dense

FIRST_TIES = 1000
GET_AT_ONCE = 1000


# -- filters ---------------------------------------------------------------------------------------------------------


def restrict_to_tenant(filter: ParsedFilter, tenant: str | None, rename: Callable[[str], str] = str) -> models.Filter | None:
    """The client's filter: whatever `filter` allows, only this tenant's documents pass.

    Args:
        filter: conditions, or a `qdrant_client.models.Filter`.
        rename: maps a JSON path of a payload to where the collection keeps it.

    Raises:
        ConfigError: another kind of filter, or a field name that no engine can be asked for.
    """
    native = _native(filter.filter) if isinstance(filter, EngineFilter) else to_qdrant(filter, rename) if filter else None
    if tenant is None:
        return native
    mine = to_qdrant((AnyOf(TENANT_FIELD, (tenant,)),))
    return mine if native is None else models.Filter(must=[native, mine])


def to_qdrant(conditions: Iterable[Condition], rename: Callable[[str], str] = str) -> models.Filter:
    """All conditions must hold."""
    native: models.Filter = translate(conditions, _Client(rename))
    return native


def _native(filter: object) -> models.Filter:
    if not isinstance(filter, models.Filter):
        accepted = "a mapping such as {'metadata.year': 2024}, or a qdrant_client.models.Filter"
        raise ConfigError(f"filter is {type(filter).__name__}: it must be {accepted}.")
    return filter


class _Client(QdrantDialect):
    slack: ClassVar[int] = 1  # the server's JSON reader may be off by the last bit of a float of many digits

    def among(self, place: str, values: list[str] | list[int]) -> models.FieldCondition:
        return models.FieldCondition(key=place, match=models.MatchAny(any=values))

    def flag(self, place: str, value: bool) -> models.FieldCondition:
        return models.FieldCondition(key=place, match=models.MatchValue(value=value))

    def between(self, place: str, bounds: Range) -> models.FieldCondition:
        limits = models.Range(gte=bounds.gte, gt=bounds.gt, lte=bounds.lte, lt=bounds.lt)
        return models.FieldCondition(key=place, range=limits)

    def during(self, place: str, period: Period) -> models.FieldCondition:
        return models.FieldCondition(key=place, range=models.DatetimeRange(**self.date_times(period)))

    def empty(self, place: str) -> models.IsEmptyCondition:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=place))

    def nothing(self) -> models.HasIdCondition:
        return models.HasIdCondition(has_id=[])

    def combined(self, must: list[Any] | None, must_not: list[Any] | None, should: list[Any] | None) -> models.Filter:
        return models.Filter(must=must, must_not=must_not, should=should)


# -- operations ------------------------------------------------------------------------------------------------------


class Queries(Schema):
    """The operations that read."""

    def search(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool) -> Operation[list[Hit]]:
        arguments = {"query": query.to_qdrant(), "using": self.shape.vector, "query_filter": self.passing(filter)}
        return (yield from self._ranked(arguments, top_k, with_payload))

    def points(self, query: SparseVector, filter: ParsedFilter) -> FetchPoints:
        arguments = {"query": query.to_qdrant(), "using": self.shape.vector, "query_filter": self.passing(filter)}
        return lambda count: self._best_points(arguments, count)

    def heads(self, keys: list[Any], whole: bool) -> Operation[dict[Any, Head]]:
        fields = True if whole else self._id_fields
        records = yield from self._retrieve(keys, with_payload=fields, with_vectors=False)
        layout, found = self.shape.layout, dict[Any, Head]()
        for record in records:
            stored = record.payload or {}
            found[point_key(record.id)] = head_of(stored, layout.read(record.id, dict(stored))[1] if whole else {})
        return found

    def search_hybrid(self, search: HybridSearch, spread: Spread) -> Operation[list[Hit]]:
        """Fused by us: the server would fuse passages, cut ties as it likes, and knows no sum of shares."""
        shape = self.shape
        if shape.dense_size is None:
            raise ConfigError(f"the store {self.url} has no dense vectors beside the sparse ones: create one with the setting dense_size.")
        if shape.dense_size != len(search.dense):
            raise VectorError(wrong_dense("the dense query", len(search.dense), shape.dense_size, self.url))
        near = {
            "query": list(search.dense),
            "using": shape.dense_vector,
            "query_filter": self.passing(search.filter),
            "with_payload": self._id_fields,
        }
        points = self.points(search.query, search.filter)
        return (yield from fused_documents(points, lambda count: self._nearest(near, count), self.heads, search, spread))

    def _nearest(self, near: Mapping[str, Any], count: int) -> Operation[list[Point]]:
        return [to_found(point, self.shape) for point in (yield from self._points(near, count))]

    def restricted(self, filter: ParsedFilter) -> models.Filter | None:
        """The filter as the client wants it."""
        return restrict_to_tenant(filter, self.tenant, self.shape.layout.field)

    def passing(self, filter: ParsedFilter) -> models.Filter | None:
        """The same, of passages that a search may find."""
        return self.documents(filter) if asks_for_text(filter) else self.restricted(filter)

    def documents(self, filter: ParsedFilter, *, negated: bool = False) -> models.Filter | None:
        """The same, without further passages of documents, or for these only."""
        native = self.restricted(filter)
        if not self.keeps_passages:
            return native
        documents = models.IsEmptyCondition(is_empty=models.PayloadField(key=NUMBER_PATH))
        must: list[Any] = [native] if native is not None else []
        return models.Filter(must=must, must_not=[documents]) if negated else models.Filter(must=[documents, *must])

    def _ranked(self, arguments: Mapping[str, Any], top_k: int, with_payload: bool) -> Operation[list[Hit]]:
        """One query, and where the cut falls into a tie another: the server cuts it as it likes, we by document id."""
        wanted = {**arguments, "with_payload": True if with_payload else self._id_fields}
        points = _scoring((yield from self._points(wanted, top_k + 1)))
        if len(points) > top_k and points[top_k].score == points[top_k - 1].score:
            return (yield from self._ranked_with_all_ties(arguments, points[top_k].score, top_k, with_payload))
        read = to_hit if with_payload else to_bare_hit
        return sorted([read(point, self.shape) for point in points], key=_rank)[:top_k]

    def _ranked_with_all_ties(self, arguments: Mapping[str, Any], score: float, top_k: int, with_payload: bool) -> Operation[list[Hit]]:
        points = _scoring((yield from self._all_from(arguments, score, top_k)))
        best = sorted(points, key=lambda point: rank(to_found(point, self.shape)))[:top_k]
        if not with_payload:
            return [to_bare_hit(point, self.shape) for point in best]
        records = yield from self._retrieve([point.id for point in best], with_payload=True, with_vectors=False)
        payloads = {record.id: record.payload for record in records}
        hits = [to_hit(point.model_copy(update={"payload": payloads[point.id]}), self.shape) for point in best if point.id in payloads]
        return sorted(hits, key=_rank)

    def _best_points(self, arguments: Mapping[str, Any], count: int) -> Operation[list[Point]]:
        """The first `count` passages, ties by document id and number."""
        points = _scoring((yield from self._points({**arguments, "with_payload": self._id_fields}, count + 1)))
        if len(points) > count and points[count].score == points[count - 1].score:
            points = _scoring((yield from self._all_from(arguments, points[count].score, count)))
        return sorted([to_found(point, self.shape) for point in points], key=rank)[:count]

    def _all_from(self, arguments: Mapping[str, Any], score: float, top_k: int) -> Operation[list[models.ScoredPoint]]:
        """Every point of this score or a better one, with its id fields."""
        below = float(np.nextafter(np.float32(score), np.float32(0)))  # the server's threshold is exclusive for a dot product
        wanted = {**arguments, "score_threshold": below, "with_payload": self._id_fields}
        limit = top_k + FIRST_TIES
        while True:
            points = yield from self._points(wanted, limit)
            if len(points) < limit:
                return points
            limit *= 4

    def _points(self, arguments: Mapping[str, Any], limit: int) -> Operation[list[models.ScoredPoint]]:
        return (yield from ask(lambda client: client.query_points(self.collection, **arguments, limit=limit))).points

    @property
    def _id_fields(self) -> list[str] | bool:
        return self.shape.layout.id_fields or False

    def largest_weights(self, term_ids: Sequence[int]) -> Operation[list[float]]:
        """The largest weight of each of these terms in the index, of all tenants: the range of a term spans them."""
        vectors = [models.SparseVector(indices=[term_id], values=[1.0]) for term_id in term_ids]
        requests = [models.QueryRequest(query=vector, using=self.shape.vector, limit=1, with_payload=False) for vector in vectors]
        if not requests:
            return []
        answers = yield from ask(lambda client: client.query_batch_points(self.collection, requests))
        return [max((float(point.score) for point in answer.points), default=0.0) for answer in answers]

    def get(self, doc_ids: Sequence[str]) -> Operation[dict[str, Entry]]:
        records = yield from self._retrieve(self.shape.point_ids(doc_ids), with_payload=True, with_vectors=True)
        return {entry.doc_id: entry for entry in (yield from self._with_passages(records))}

    def _with_passages(self, heads: Sequence[models.Record]) -> Operation[list[Entry]]:
        """The documents of these heads with all of their passages.

        One that is replaced meanwhile comes as it is after that, or is missing.
        """
        entries = [to_entry(record, self.shape) for record in heads]
        tails = {point: n for n, record in enumerate(heads) for point in tails_of(record)}
        if not tails:
            return entries
        records = yield from self._retrieve(list(tails), with_payload=False, with_vectors=True)
        vectors = {point_key(record.id): to_entry(record, self.shape).vector for record in records}
        lost = {n for point, n in tails.items() if point not in vectors}
        whole = [
            with_passages(entry, record.payload or {}, [entry.vector, *[vectors[point] for point in tails_of(record)]])
            for n, (entry, record) in enumerate(zip(entries, heads, strict=True))
            if n not in lost
        ]
        return whole + (yield from self._again([heads[n].id for n in lost]))

    def _again(self, heads: Sequence[PointId]) -> Operation[list[Entry]]:
        """Documents of which passages were missing: read once more if they have been replaced since. Raises StoreCorruptError."""
        if not heads:
            return []
        records = yield from self._retrieve(heads, with_payload=True, with_vectors=True)
        tails = [point for record in records for point in tails_of(record)]
        found = yield from self._retrieve(tails, with_payload=False, with_vectors=False)
        if len(found) < len(tails):
            names = ", ".join([repr(to_entry(record, self.shape).doc_id) for record in records[:3]])
            raise StoreCorruptError(f"{self.url} lacks passages of {names}: delete these documents, and ingest them again.")
        return (yield from self._with_passages(records))

    def content_hashes(self, doc_ids: Sequence[str]) -> Operation[dict[str, str]]:
        layout = self.shape.layout
        if not layout.id_fields:
            return {}
        records = yield from self._retrieve(self.shape.point_ids(doc_ids), with_payload=layout.id_fields, with_vectors=False)
        found = [(layout.doc_id(record.id, record.payload or {}), (record.payload or {}).get(HASH_FIELD)) for record in records]
        return {doc_id: content_hash for doc_id, content_hash in found if content_hash is not None}

    def _retrieve(self, ids: Sequence[PointId], *, with_payload: bool | list[str], with_vectors: bool) -> Operation[list[models.Record]]:
        records: list[models.Record] = []
        for some in batched(ids, GET_AT_ONCE):
            records += yield from self._retrieve_at_once(some, with_payload, with_vectors)
        return records

    def _retrieve_at_once(self, ids: list[PointId], with_payload: bool | list[str], with_vectors: bool) -> Operation[list[models.Record]]:
        return (yield from ask(lambda client: client.retrieve(self.collection, ids, with_payload=with_payload, with_vectors=with_vectors)))

    def count(self, filter: ParsedFilter) -> Operation[int]:
        native = self.documents(filter)
        return (yield from ask(lambda client: client.count(self.collection, count_filter=native, exact=True))).count

    def has_any(self, asked: Condition) -> Operation[bool | None]:
        """Not sought in a large collection: of a field without an index the server would read every payload."""
        about = yield from ask(lambda client: client.count(self.collection, exact=False), retry=False)
        if about.count > LOOKED_THROUGH or (yield from self._holds_any((asked,))):
            return True
        return False if (yield from self._holds_any(())) else None

    def _holds_any(self, filter: ParsedFilter) -> Operation[bool]:
        arguments: dict[str, Any] = {"scroll_filter": self.documents(filter), "limit": 1, "with_payload": False, "with_vectors": False}
        records, _ = yield from ask(lambda client: client.scroll(self.collection, **arguments), retry=False)
        return bool(records)

    def sample(self, size: int) -> Operation[list[Entry]]:
        return (yield from self.scan_page(None, size, True))[0]

    def scan_page(self, cursor: Any, size: int, with_vectors: bool) -> Operation[tuple[list[Entry], Any]]:
        arguments: dict[str, Any] = {
            "scroll_filter": self.documents(()),
            "limit": size,
            "offset": cursor,
            "with_payload": True if with_vectors else self._id_fields,
            "with_vectors": with_vectors,
        }
        records, following = yield from ask(lambda client: client.scroll(self.collection, **arguments))
        if with_vectors:
            return (yield from self._with_passages(records)), following
        return [to_bare_entry(record, self.shape) for record in records], following


def _scoring(points: Sequence[models.ScoredPoint]) -> list[models.ScoredPoint]:
    return [point for point in points if point.score > 0]


def _rank(hit: Hit) -> tuple[float, str]:
    return -hit.score, hit.doc_id
