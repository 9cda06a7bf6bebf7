"""Bulk requests: what is still to be sent of one, what its answer says about each document, and how it is split."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import StoreAccessError, StoreError, StoreNotFoundError, StoreWriteError
from ..base import Refusal
from ..calls import Call

RETRIED = (409, 429, 502, 503, 504)  # of an item, as of a request: the server could not, the document is not to blame


class Action(NamedTuple):
    """One document's lines of a bulk request."""

    doc_id: str
    lines: bytes


class Unfinished(Exception):
    """Documents of a bulk request are neither stored nor refused: they are to be sent again."""


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
            Unfinished: something is to be sent again.
            StoreNotFoundError, StoreAccessError, StoreWriteError: it concerns the whole index, not single documents.
        """
        items = answer.get("items") if isinstance(answer, Mapping) else None
        if not isinstance(items, list) or len(items) > len(self.waiting):
            raise Unfinished("the answer to a bulk request names no outcomes")
        again: list[Action] = []
        reason = ""
        for action, item in zip(self.waiting, items, strict=False):
            status, error = _outcome(item)
            if status is None or status in RETRIED:
                again.append(action)
                reason = reason or describe(error) or f"status {status}"
            elif status >= 400 and not _absent(item, status):
                self._refuse(action, status, error)
        missing = self.waiting[len(items) :]
        self.waiting = again + missing
        if self.waiting:
            raise Unfinished(f"{len(self.waiting)} documents were not taken ({reason or 'the answer names no outcome of them'})")

    def _refuse(self, action: Action, status: int, error: Mapping[str, Any]) -> None:
        kind = error.get("type")
        if kind == "index_not_found_exception":
            raise index_gone(self._index)
        if kind == "cluster_block_exception":
            raise StoreWriteError(f"the index {self._index!r} takes no writes: {describe(error)}; free disk space or lift the block.")
        if status in (401, 403):
            raise StoreAccessError(f"the server does not let these credentials write to the index {self._index!r}: {describe(error)}.")
        self.refusals.append(Refusal(action.doc_id, describe(error) or f"status {status}"))


@dataclass(frozen=True, slots=True)
class BulkCall(Call):
    """A bulk request that settles what it carries; an attempt that leaves something over has failed."""

    pending: Pending | None = None

    def on(self, client: Any) -> Any:
        pending = self.pending
        if pending is None:
            raise StoreError("a bulk call carries nothing")
        answer = client.bulk(**self.arguments, body=pending.body())
        return _read_later(pending, answer) if inspect.isawaitable(answer) else pending.read(answer)


async def _read_later(pending: Pending, answer: Any) -> None:
    pending.read(await answer)


def index_gone(index: str) -> StoreNotFoundError:
    """The error for an index that was there when the store was opened."""
    return StoreNotFoundError(f"the index {index!r} is gone, deleted or replaced meanwhile: open the store again.")


def split(actions: Iterable[Action], max_bytes: int) -> Iterator[list[Action]]:
    """Consecutive actions in lots of at most so many bytes; one that is larger travels alone."""
    lot: list[Action] = []
    size = 0
    for action in actions:
        if lot and size + len(action.lines) > max_bytes:
            yield lot
            lot, size = [], 0
        lot.append(action)
        size += len(action.lines)
    if lot:
        yield lot


def describe(error: Any) -> str:
    """The server's reason in one line, with the innermost cause."""
    reasons: list[str] = []
    for _ in range(4):
        if not isinstance(error, Mapping):
            break
        reason = " ".join(str(error.get("reason") or error.get("type") or "").split())[:200]
        if reason and reason not in reasons:
            reasons.append(reason)
        error = error.get("caused_by")
    return ": ".join(reasons).rstrip(".")


def _outcome(item: object) -> tuple[int | None, Mapping[str, Any]]:
    outcome = next(iter(item.values()), None) if isinstance(item, Mapping) else None
    if not isinstance(outcome, Mapping):
        return None, {}
    status, error = outcome.get("status"), outcome.get("error")
    return (status if isinstance(status, int) else None), (error if isinstance(error, Mapping) else {"reason": error} if error else {})


def _absent(item: Mapping[str, Any], status: int) -> bool:
    """A document to be deleted that was not there."""
    return status == 404 and "delete" in item and not _outcome(item)[1]
