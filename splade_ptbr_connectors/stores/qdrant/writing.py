"""The operations that write: upsert, delete, delete by filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qdrant_client import models

from ...errors import StoreRequestTooLargeError
from ...filters import Condition
from ..base import Entry, Refusal
from ..calls import Call, Operation
from ..datatypes import split
from .failures import RequestRejectedError
from .points import Scope, check_dense, in_parts, to_points
from .reading import count, native_filter


def upsert(entries: Sequence[Entry], scope: Scope) -> Operation[list[Refusal]]:
    """Write a batch, in parts where it is large. A part that the server refuses is halved, down to the documents at fault."""
    check_dense(entries, scope)
    entries, refusals = split(entries, scope.datatype)
    waiting = list(in_parts(entries, scope.max_request_bytes))[::-1]
    while waiting:
        part = waiting.pop()
        points = to_points(part, scope)
        try:
            yield Call("upsert", {"collection_name": scope.collection, "points": points, "wait": True}, patient=True)
        except (StoreRequestTooLargeError, RequestRejectedError) as error:
            if len(part) == 1:
                refusals.append(Refusal(part[0].doc_id, _reason(error)))
            else:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]  # the first half next: a later duplicate has to win
    return refusals


def delete(doc_ids: Sequence[str], scope: Scope) -> Operation[int]:
    """Delete by document id; returns how many were there."""
    ids = scope.point_ids(doc_ids)
    arguments = {"collection_name": scope.collection, "ids": ids, "with_payload": False, "with_vectors": False}
    present = [record.id for record in (yield Call("retrieve", arguments))]
    if present:
        yield _deletion(models.PointIdsList(points=present), scope)
    return len(present)


def delete_where(filter: tuple[Condition, ...] | Any, scope: Scope) -> Operation[int]:
    """Delete what passes the filter; returns how many passed it just before."""
    doomed = yield from count(filter, scope)
    if doomed:
        native = native_filter(filter, scope) or models.Filter()
        yield _deletion(models.FilterSelector(filter=native), scope)
    return doomed


def _deletion(selector: models.PointsSelector, scope: Scope) -> Call:
    return Call("delete", {"collection_name": scope.collection, "points_selector": selector, "wait": True})


def _reason(error: StoreRequestTooLargeError | RequestRejectedError) -> str:
    return error.reason if isinstance(error, RequestRejectedError) else str(error)
