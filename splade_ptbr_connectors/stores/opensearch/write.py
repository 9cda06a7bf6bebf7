"""Writing: bulk requests, what their answers say about each document, and deletion by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...errors import StoreAccessError, StoreNotFoundError, StoreRequestTooLargeError, StoreWriteError, VectorError
from ..base import EngineFilter, Entry, ParsedFilter, Refusal
from ..calls import Call, Operation
from ..oversize import batched_by_bytes, load_in_halves
from ..passages import asks_for_text, tail_points
from ..payloads import PASSAGES_FIELD
from ..replacement import replace_documents, sweep_passages
from ..retries import UnfinishedError
from .client import ask
from .failures import LIFT_THE_BLOCK, NODES_ARE_DOWN, UNAVAILABLE, describe, is_away, is_block
from .query import Queries, all_of
from .settings import OpenSearchSettings
from .wire import (
    HEAD,
    PASSAGE,
    PASSAGES,
    TENANT,
    FeatureLayout,
    PassageName,
    delete_action,
    document_key,
    index_actions,
    passages_of,
    tail_actions,
)

OUTCOMES = "errors,items.*.status,items.*.error"  # of an answer to a bulk request: the rest repeats what was sent
SWEPT_AT_ONCE = 1000
TAILS = ["doc_id", TENANT, PASSAGES]  # fields of a head that name its further passages
RETRIED = (409, 429, 502, 503, 504)  # of an item, as of a request: the server could not, the document is not to blame


class Action(NamedTuple):
    """One document's lines of a bulk request."""

    doc_id: str
    lines: bytes


class Pending:
    """The documents of one bulk request, those that are done with left out of the next attempt.

    Attributes:
        waiting: actions that no answer has settled.
        refusals: documents that the server refused.
    """

    def __init__(self, actions: Sequence[Action], index: str) -> None:
        self.waiting = list(actions)
        self.refusals: list[Refusal] = []
        self._index = index

    def body(self) -> bytes:
        """What is to be sent now."""
        return b"".join([action.lines for action in self.waiting])

    def read(self, answer: object) -> None:
        """Settle what the answer settles.

        Raises:
            UnfinishedError: something is to be sent again.
            StoreNotFoundError, StoreAccessError, StoreWriteError: it concerns the whole index, not single documents.
        """
        items = answer.get("items") if isinstance(answer, Mapping) else None
        if not isinstance(items, list) or len(items) > len(self.waiting):
            raise UnfinishedError("the answer to a bulk request names no outcomes")
        again: list[Action] = []
        reason = ""
        for action, item in zip(self.waiting, items, strict=False):
            status, error = _outcome(item)
            if status is None or is_away(error) or (status in RETRIED and not is_block(error, status)):
                again.append(action)
                reason = reason or _unsettled(error, status)
            elif status >= 400 and not _absent(item, status):
                self._refuse(action, status, error)
        missing = self.waiting[len(items) :]
        self.waiting = again + missing
        if self.waiting:
            raise UnfinishedError(f"{len(self.waiting)} documents were not accepted ({reason or 'the answer names no outcome of them'})")

    def _refuse(self, action: Action, status: int, error: Mapping[str, Any]) -> None:
        kind = error.get("type")
        if kind == "index_not_found_exception":
            raise StoreNotFoundError(f"the index {self._index!r} was deleted or replaced meanwhile: open the store again.")
        if is_block(error, status):
            raise StoreWriteError(f"the index {self._index!r} takes no writes: {describe(error)}; {LIFT_THE_BLOCK}.")
        if status in (401, 403):
            raise StoreAccessError(f"the server does not let these credentials write to the index {self._index!r}: {describe(error)}.")
        self.refusals.append(Refusal(action.doc_id, describe(error) or f"status {status}"))


def _outcome(item: object) -> tuple[int | None, Mapping[str, Any]]:
    outcome = next(iter(item.values()), None) if isinstance(item, Mapping) else None
    if not isinstance(outcome, Mapping):
        return None, {}
    status, error = outcome.get("status"), outcome.get("error")
    return (status if isinstance(status, int) else None), (error if isinstance(error, Mapping) else {"reason": error} if error else {})


def _unsettled(error: Mapping[str, Any], status: int | None) -> str:
    """Why a document is yet to be written."""
    told = describe(error) or f"status {status}"
    return f"{told}: {NODES_ARE_DOWN}" if status == UNAVAILABLE or is_away(error) else told


def _absent(item: Mapping[str, Any], status: int) -> bool:
    """A document to be deleted that was not there."""
    return status == 404 and "delete" in item and not _outcome(item)[1]


def check_no_dense(entries: Sequence[Entry]) -> None:
    """Raise VectorError where an entry has a dense vector."""
    dense = next((entry.doc_id for entry in entries if entry.dense is not None), None)
    if dense is not None:
        raise VectorError(f"the dense vector of {dense!r} has nowhere to go: an OpenSearch store keeps sparse vectors only.")


def index_lines(
    entries: Sequence[Entry], tenant: str | None, layout: FeatureLayout, ceiling: float | None
) -> tuple[list[Action], list[Refusal]]:
    """The actions that store these entries, and the entries that the index cannot keep.

    Args:
        ceiling: the largest weight that a sparse_vector field keeps, None for rank_features, which keeps all.
    """
    kept, lost = list(entries), list[Entry]()
    if ceiling is not None:
        lost = [entry for entry in entries if max([vector.weights.max(initial=0) for vector in entry.vectors]) > ceiling]
        refused = {entry.doc_id for entry in lost}
        kept = [entry for entry in entries if entry.doc_id not in refused]
    reason = f"a weight above {ceiling or 0:g}, the weight_ceiling of this sparse_vector index"
    actions = list(map(Action, [entry.doc_id for entry in kept], index_actions(kept, tenant, layout)))
    return actions, [Refusal(entry.doc_id, reason) for entry in lost]


def _about(source: Mapping[str, Any]) -> dict[str, Any]:
    """What a further passage says of itself, as passages.is_stale() takes it."""
    name = PassageName.read(source[PASSAGE])
    return {"head": name.head, "version": name.version, "at": source["at"]}


# -- operations ------------------------------------------------------------------------------------------------------


class Writes(Queries):
    """The operations that write; no bulk request is larger than the server has shown to take."""

    def __init__(self, url: str, collection: str, settings: OpenSearchSettings, tenant: str | None = None) -> None:
        super().__init__(url, collection, settings, tenant)
        self._max_bytes = settings.max_request_bytes
        self._met_passages: bool | None = None  # None: nobody has looked yet

    def upsert(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        check_no_dense(entries)
        if any([entry.passages for entry in entries]):
            self._met_passages = True
        if (yield from self._holds_passages()):
            return (yield from replace_documents(self, entries))
        return (yield from self.write_heads(entries))

    def _holds_passages(self) -> Operation[bool]:
        """Whether there may be documents of several passages; asked of the server once."""
        if self._met_passages is None and self.keeps_passages:
            body = {"query": {"exists": {"field": HEAD}}}
            answer = yield from self.whole(lambda client: client.count(index=self.target, body=body, params={"terminate_after": 1}))
            self._met_passages = answer["count"] > 0
        return bool(self._met_passages)

    def write_heads(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        actions, refusals = index_lines(entries, self.tenant, self.index.layout, self.index.weight_ceiling)
        return refusals + (yield from self.write(actions))

    def write_tails(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        layout = self.index.layout
        actions = [Action(entry.doc_id, lines) for entry in entries for lines in tail_actions(entry, self.tenant, layout)]
        refusals = (yield from self.write(actions)) if actions else []
        return list({refusal.doc_id: refusal for refusal in refusals}.values())

    def tail_keys(self, entry: Entry) -> list[str]:
        return tail_points(entry.doc_id, passages_of(entry, self.tenant) or None, self.tenant)

    def tails_there(self, doc_ids: Sequence[str]) -> Operation[dict[str, list[str]]]:
        sources = yield from self.sources(doc_ids, [PASSAGES, "tenant"])
        return {doc_id: tail_points(doc_id, source[PASSAGES], self.tenant) for doc_id, source in sources.items() if PASSAGES in source}

    def remove(self, keys: Sequence[str]) -> Operation[None]:
        yield from self.write([Action(key, delete_action(key)) for key in keys])

    def delete(self, doc_ids: Sequence[str]) -> Operation[int]:
        """Heads first: without its head a passage counts no more."""
        present = yield from self.sources(doc_ids, TAILS)
        return (yield from self._delete(list(present.values())))

    def _delete(self, heads: Sequence[Mapping[str, Any]]) -> Operation[int]:
        keys = [document_key(source["doc_id"], source.get(TENANT)) for source in heads]
        refusals = yield from self.write([Action(key, delete_action(key)) for key in keys])
        if refusals:
            raise StoreWriteError(f"{self.url} refused to delete {len(refusals):,} documents, first: {refusals[0].reason}; delete again.")
        tails = [key for source in heads for key in tail_points(source["doc_id"], source.get(PASSAGES), source.get(TENANT))]
        if tails:
            yield from self.remove(tails)
        return len(heads)

    def sweep(self) -> Operation[int]:
        yield from self.refresh()
        return (yield from sweep_passages(self))

    def stored_heads(self, keys: Sequence[Any]) -> Operation[dict[Any, dict[str, Any]]]:
        heads = yield from self.sources_of(keys, [PASSAGES, "tenant"])
        return {key: {PASSAGES_FIELD: source.get(PASSAGES)} for key, source in heads.items()}

    def page_of_tails(self, cursor: Any) -> Operation[tuple[dict[Any, dict[str, Any]], Any]]:
        query = all_of(self.documents((), negated=True))
        body: dict[str, Any] = {"query": query, "size": SWEPT_AT_ONCE, "sort": [{PASSAGE: "asc"}], "_source": [PASSAGE, "at"]}
        if cursor is not None:
            body["search_after"] = cursor
        rows = (yield from self.asked(body))["hits"]["hits"]
        return {row["_id"]: _about(row["_source"]) for row in rows}, rows[-1]["sort"] if len(rows) == SWEPT_AT_ONCE else None

    def write(self, actions: Sequence[Action]) -> Operation[list[Refusal]]:
        """Settle every action. Returns the documents that the server refused."""
        yield from self.ensure_write_alias()
        self.unseen = True
        refusals: list[Refusal] = []
        for batch in batched_by_bytes(actions, lambda action: len(action.lines), self._max_bytes):
            refusals += yield from load_in_halves(batch, self._send)
        self.unseen = True  # a search in between may have unset it
        return refusals

    def _send(self, actions: Sequence[Action]) -> Operation[list[Refusal]]:
        pending = Pending(actions, self.collection)
        # require_alias: a missing index is an error, and not made anew without its mapping
        params = {"filter_path": OUTCOMES, "request_timeout": self.settings.load_timeout_s, "require_alias": "true"}
        try:
            yield Call(lambda client: client.bulk(index=self.target, params=params, body=pending.body()), pending.read, patient=True)
        except StoreRequestTooLargeError:
            size = len(pending.body())
            self._max_bytes = min(self._max_bytes, max(1, size // 2))
            raise StoreRequestTooLargeError(f"its {size:,} bytes are more than the server takes in a request") from None
        return pending.refusals

    def delete_where(self, filter: ParsedFilter) -> Operation[int]:
        """Returns how many documents it found; also if a retry deleted the last of them. Their further passages go after them."""
        documents = all_of(self.documents(filter))
        if (isinstance(filter, EngineFilter) or asks_for_text(filter)) and (yield from self._holds_passages()):
            return (yield from self._delete_by_heads(documents))
        deleted = yield from self._delete_by_query(documents)
        if (yield from self._holds_passages()):
            yield from self._delete_by_query(all_of(self.documents(filter, negated=True)))
        return deleted

    def _delete_by_heads(self, query: Mapping[str, Any]) -> Operation[int]:
        """For a filter that tells nothing of further passages: they go with their heads."""
        deleted = 0
        body = {"query": query, "size": SWEPT_AT_ONCE, "_source": TAILS}
        while True:
            yield from self.refresh()
            found = (yield from self.asked(body))["hits"]["hits"]
            if not found:
                return deleted
            deleted += yield from self._delete([hit["_source"] for hit in found])

    def _delete_by_query(self, query: Mapping[str, Any]) -> Operation[int]:
        body = {"query": query}
        params = {"conflicts": "proceed", "refresh": "true", "request_timeout": self.settings.load_timeout_s}
        yield from self.refresh()
        counted = yield from self.whole(lambda client: client.count(index=self.target, body=body))
        while True:
            answer = yield from ask(lambda client: client.delete_by_query(index=self.target, body=body, params=params), patient=True)
            if answer.get("failures") or answer.get("timed_out"):
                raise StoreWriteError(f"{self.url} could not delete all documents that were to go: see the server's log, and delete again.")
            if not answer.get("version_conflicts"):  # a document that was written meanwhile is looked at again
                return int(counted["count"])

    def finish_load(self) -> Operation[None]:
        """Let searches find what was loaded, and merge the index where that was asked for."""
        yield from self.refresh(request_timeout=self.settings.load_timeout_s)
        if self.settings.merge_segments is not None:
            params = {"max_num_segments": self.settings.merge_segments, "request_timeout": self.settings.load_deadline_s}
            yield from ask(lambda client: client.indices.forcemerge(index=self.target, params=params), patient=True)
