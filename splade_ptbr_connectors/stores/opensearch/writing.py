"""Writes documents in bulk requests, and deletes them by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import StoreRequestTooLargeError, StoreWriteError, VectorError
from ..base import Entry, Refusal
from ..calls import Call, Operation
from .bulk import Action, BulkCall, Pending, split
from .documents import index_actions
from .features import FeatureLayout
from .index import Index
from .queries import check_whole
from .settings import OpenSearchSettings

OUTCOMES = "errors,items.*.status,items.*.error"  # of an answer to a bulk request: the rest repeats what was sent


def index_lines(
    entries: Sequence[Entry], tenant: str | None, layout: FeatureLayout, ceiling: float | None
) -> tuple[list[Action], list[Refusal]]:
    """The actions that store these entries, and the entries that the index cannot keep.

    Args:
        ceiling: the largest weight that a sparse_vector field keeps, None for rank_features, which keeps all.

    Raises:
        VectorError: an entry has a dense vector.
    """
    dense = next((entry.doc_id for entry in entries if entry.dense is not None), None)
    if dense is not None:
        raise VectorError(f"the dense vector of {dense!r} has nowhere to go: an OpenSearch store keeps sparse vectors only.")
    if ceiling is None:
        return list(map(Action, [entry.doc_id for entry in entries], index_actions(entries, tenant, layout))), []
    kept = [entry for entry in entries if not len(entry.vector) or entry.vector.weights.max() <= ceiling]
    lost = [entry for entry in entries if len(entry.vector) and entry.vector.weights.max() > ceiling]
    reason = f"a weight above {ceiling:g}, the weight_ceiling of this sparse_vector index"
    return index_lines(kept, tenant, layout, None)[0], [Refusal(entry.doc_id, reason) for entry in lost]


class BulkWriter:
    """Sends bulk requests to one index, none of them larger than the server has shown to take."""

    def __init__(self, settings: OpenSearchSettings) -> None:
        self._max_bytes = settings.max_body_bytes
        self._timeout_s = settings.load_timeout_s

    def write(self, index: Index, actions: Sequence[Action]) -> Operation[list[Refusal]]:
        """Settle every action. Returns the documents that the server refused."""
        refusals: list[Refusal] = []
        for lot in split(actions, self._max_bytes):
            refusals += yield from self._send(index, lot)
        return refusals

    def _send(self, index: Index, actions: Sequence[Action]) -> Operation[list[Refusal]]:
        pending = Pending(actions, index.name)
        # require_alias: a missing index is an error, and not made anew without its mapping
        params = {"filter_path": OUTCOMES, "request_timeout": self._timeout_s, "require_alias": "true"}
        try:
            yield BulkCall("bulk", {"index": index.guard, "params": params}, patient=True, pending=pending)
        except StoreRequestTooLargeError:
            return pending.refusals + (yield from self._halved(index, pending.waiting))
        return pending.refusals

    def _halved(self, index: Index, actions: Sequence[Action]) -> Operation[list[Refusal]]:
        size = sum(len(action.lines) for action in actions)
        if len(actions) == 1:
            return [Refusal(actions[0].doc_id, f"its {size:,} bytes are more than the server takes in a request")]
        self._max_bytes = min(self._max_bytes, size // 2)
        middle = len(actions) // 2
        first = yield from self._send(index, actions[:middle])
        return first + (yield from self._send(index, actions[middle:]))


def delete_where(target: str, query: Mapping[str, Any], timeout_s: float, url: str) -> Operation[int]:
    """Delete what a query finds. Returns how many documents it found; also if a retry deleted the last of them."""
    yield Call("indices.refresh", {"index": target})
    body = {"query": dict(query)}
    counted = check_whole((yield Call("count", {"index": target, "body": body})), url)
    params = {"conflicts": "proceed", "refresh": "true", "request_timeout": timeout_s}
    while True:
        answer = yield Call("delete_by_query", {"index": target, "body": body, "params": params}, patient=True)
        if answer.get("failures") or answer.get("timed_out"):
            raise StoreWriteError(f"{url} could not delete all documents that were to go: see the server's log, and delete again.")
        if not answer.get("version_conflicts"):  # a document that was written meanwhile is looked at again
            return int(counted["count"])
