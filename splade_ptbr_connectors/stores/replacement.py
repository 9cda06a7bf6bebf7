"""Documents of several passages on a server that has no transactions, replaced in one step: see passages.py for the order of writes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .base import Entry, Refusal
from .calls import Operation
from .passages import LEFT_OVER_S, is_stale, to_write


class Passages(Protocol):
    """What an engine does for that; keys are of points or documents."""

    def tail_keys(self, entry: Entry) -> list[Any]:
        """Of the further passages that the entry will have."""

    def tails_there(self, doc_ids: Sequence[str]) -> Operation[dict[str, list[Any]]]:
        """The keys of the further passages that these documents have now."""

    def write_tails(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        """Write the further passages of these documents. Returns each document of which one was refused once."""

    def write_heads(self, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
        """Write the documents' own points. Returns those that were refused."""

    def remove(self, keys: Sequence[Any]) -> Operation[None]:
        """Delete points; those that are not there are no error."""

    def page_of_tails(self, cursor: Any) -> Operation[tuple[Mapping[Any, Mapping[str, Any]], Any]]:
        """Further passages behind the cursor (None: the start): what each says of itself by its key, and the cursor behind (None: all)."""

    def stored_heads(self, keys: Sequence[Any]) -> Operation[Mapping[Any, Mapping[str, Any]]]:
        """What is stored of those of these heads that are there, their passages at least."""


def replace_documents(engine: Passages, entries: Sequence[Entry]) -> Operation[list[Refusal]]:
    """Write documents of which some may have, or have had, several passages. Returns those that were refused, which stay as they were."""
    entries = to_write(entries)
    before = yield from engine.tails_there([entry.doc_id for entry in entries])
    refusals = yield from engine.write_tails([entry for entry in entries if entry.passages])
    refused = {refusal.doc_id for refusal in refusals}
    refusals = refusals + (yield from engine.write_heads([entry for entry in entries if entry.doc_id not in refused]))
    refused = {refusal.doc_id for refusal in refusals}
    stale = [key for entry in entries for key in (engine.tail_keys(entry) if entry.doc_id in refused else before.get(entry.doc_id, []))]
    if stale:
        yield from engine.remove(stale)
    return refusals


def sweep_passages(engine: Passages) -> Operation[int]:
    """Delete the passages that writes left behind. Returns how many; what is written meanwhile is left alone."""
    swept, cursor = 0, None
    while True:
        tails, cursor = yield from engine.page_of_tails(cursor)
        heads = yield from engine.stored_heads(list({tail["head"]: None for tail in tails.values()}))
        stale = left_over(tails, heads)
        if stale:
            yield from engine.remove(stale)
        swept += len(stale)
        if cursor is None:
            return swept


def left_over(tails: Mapping[Any, Mapping[str, Any]], heads: Mapping[Any, Mapping[str, Any]]) -> list[Any]:
    """The keys of tails that count no more, and are old enough that no other process is about to write their heads.

    Args:
        tails: what each of them says of itself, by its key.
        heads: the stored payloads that are there, by their keys.
    """
    before = time.time() - LEFT_OVER_S
    return [key for key, tail in tails.items() if is_stale(tail, heads) and tail["at"] < before]
