"""Writing: upsert, delete, delete by filter."""

from __future__ import annotations

from collections.abc import Sequence

from qdrant_client import models

from ...errors import StoreRequestTooLargeError
from ..base import Entry, ParsedFilter, Refusal
from ..calls import Operation
from ..datatypes import split
from ..oversize import batched_by_bytes, load_in_halves
from .client import ask
from .failures import RequestRejectedError
from .query import Queries
from .wire import check_dense, request_bytes, to_points


class Writes(Queries):
    """The operations that write."""

    def upsert(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        check_dense(entries, self.shape, self.url)
        entries, refusals = split(entries, self.shape.datatype)
        for batch in batched_by_bytes(entries, request_bytes, self.settings.max_request_bytes):
            refusals += yield from load_in_halves(batch, self._send, (StoreRequestTooLargeError, RequestRejectedError))
        return refusals

    def _send(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        points = to_points(entries, self.shape)
        yield from ask(lambda client: client.upsert(self.collection, points, wait=True), patient=True)
        return []

    def delete(self, doc_ids: Sequence[str]) -> Operation[int]:
        records = yield from self._retrieve(self.shape.point_ids(doc_ids), with_payload=False, with_vectors=False)
        if records:
            yield from self._remove(models.PointIdsList(points=[record.id for record in records]))
        return len(records)

    def delete_where(self, filter: ParsedFilter) -> Operation[int]:
        """Returns how many passed the filter just before."""
        passing = yield from self.count(filter)
        if passing:
            yield from self._remove(models.FilterSelector(filter=self.restricted(filter) or models.Filter()))
        return passing

    def _remove(self, selector: models.PointIdsList | models.FilterSelector) -> Operation[None]:
        yield from ask(lambda client: client.delete(self.collection, selector, wait=True))
