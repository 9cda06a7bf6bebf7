"""Writing: upsert, delete, delete by filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_client import models

from ...errors import StoreRequestTooLargeError
from ..base import EngineFilter, Entry, ParsedFilter, Refusal
from ..calls import Operation
from ..datatypes import split
from ..oversize import batched_by_bytes, load_in_halves
from ..passages import asks_for_text, tail_points
from ..payloads import ID_FIELD, PASSAGE_FIELD, PASSAGES_FIELD, TENANT_FIELD
from ..replacement import replace_documents, sweep_passages
from .client import ask
from .failures import RequestRejectedError
from .query import GET_AT_ONCE, Queries
from .wire import NewPoint, PointId, check_dense, new_points, new_tails, point_key, request_bytes, tails_of, to_points

TAILS = [ID_FIELD, TENANT_FIELD, PASSAGES_FIELD]  # fields of a head that name its further passages


class Writes(Queries):
    """The operations that write."""

    def upsert(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        check_dense(entries, self.shape, self.url)
        entries, refusals = split(entries, self.shape.datatype)
        self.met_passages = self.met_passages or any([entry.passages for entry in entries])
        if self.holds_passages:
            return refusals + (yield from replace_documents(self, entries))
        return refusals + (yield from self.write_heads(entries))

    def write_heads(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        return (yield from self._write(new_points(entries, self.shape)))

    def write_tails(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        refusals = yield from self._write(new_tails(entries, self.shape))
        return list({refusal.doc_id: refusal for refusal in refusals}.values())

    def _write(self, points: Sequence[NewPoint]) -> Operation[list[Refusal]]:
        refusals = list[Refusal]()
        for batch in batched_by_bytes(points, request_bytes, self.settings.max_request_bytes):
            refusals += yield from load_in_halves(batch, self._send, (StoreRequestTooLargeError, RequestRejectedError))
        return refusals

    def _send(self, new: Sequence[NewPoint]) -> Operation[list[Refusal]]:
        points = to_points(new, self.shape)
        yield from ask(lambda client: client.upsert(self.collection, points, wait=True), patient=True)
        return []

    def tail_keys(self, entry: Entry) -> list[str]:
        return tail_points(entry.doc_id, self.shape.layout.write(entry, self.tenant).get(PASSAGES_FIELD), self.tenant)

    def tails_there(self, doc_ids: Sequence[str]) -> Operation[dict[str, list[str]]]:
        records = yield from self._retrieve(self.shape.point_ids(doc_ids), with_payload=TAILS, with_vectors=False)
        return {(record.payload or {})[ID_FIELD]: tails for record in records if (tails := tails_of(record))}

    def remove(self, keys: Sequence[PointId]) -> Operation[None]:
        yield from self._remove(models.PointIdsList(points=list(keys)))

    def delete(self, doc_ids: Sequence[str]) -> Operation[int]:
        """Heads first: without its head a passage counts no more."""
        fields = TAILS if self.keeps_passages else False
        heads = yield from self._retrieve(self.shape.point_ids(doc_ids), with_payload=fields, with_vectors=False)
        return (yield from self._delete(heads))

    def _delete(self, heads: Sequence[models.Record]) -> Operation[int]:
        if heads:
            yield from self.remove([record.id for record in heads])
        if tails := [point for record in heads for point in tails_of(record)]:
            yield from self.remove(tails)
        return len(heads)

    def delete_where(self, filter: ParsedFilter) -> Operation[int]:
        """Returns how many passed the filter just before. The further passages of a document pass it as well, and are deleted last."""
        if self.keeps_passages and (isinstance(filter, EngineFilter) or asks_for_text(filter)):
            return (yield from self._delete_by_heads(filter))
        passing = yield from self.count(filter)
        if passing:
            yield from self._remove(models.FilterSelector(filter=self.documents(filter) or models.Filter()))
            if self.keeps_passages:
                yield from self._remove(models.FilterSelector(filter=self.documents(filter, negated=True) or models.Filter()))
        return passing

    def _delete_by_heads(self, filter: ParsedFilter) -> Operation[int]:
        """For a filter that tells nothing of further passages: they go with their heads."""
        deleted, cursor = 0, None
        arguments: dict[str, Any] = {"scroll_filter": self.documents(filter), "limit": GET_AT_ONCE, "with_payload": TAILS}
        while True:
            heads, cursor = yield from self._scrolled(cursor, arguments)
            deleted += yield from self._delete(heads)
            if cursor is None:
                return deleted

    def sweep(self) -> Operation[int]:
        return (yield from sweep_passages(self))

    def stored_heads(self, keys: Sequence[Any]) -> Operation[dict[Any, Mapping[str, Any]]]:
        records = yield from self._retrieve(keys, with_payload=[PASSAGES_FIELD], with_vectors=False)
        return {point_key(record.id): record.payload or {} for record in records}

    def page_of_tails(self, cursor: Any) -> Operation[tuple[dict[Any, Mapping[str, Any]], Any]]:
        native = self.documents((), negated=True)
        arguments = {"scroll_filter": native, "limit": GET_AT_ONCE, "with_payload": [PASSAGE_FIELD]}
        found, following = yield from self._scrolled(cursor, arguments)
        return {record.id: (record.payload or {})[PASSAGE_FIELD] for record in found}, following

    def _scrolled(self, cursor: Any, arguments: Mapping[str, Any]) -> Operation[tuple[list[models.Record], Any]]:
        return (yield from ask(lambda client: client.scroll(self.collection, **arguments, offset=cursor, with_vectors=False)))

    def _remove(self, selector: models.PointIdsList | models.FilterSelector) -> Operation[None]:
        yield from ask(lambda client: client.delete(self.collection, selector, wait=True))
