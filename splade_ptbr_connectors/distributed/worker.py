"""A worker of a distributed ingest: has an encoder and a store of its own, and takes one batch at a time.

It is idempotent: documents that the store holds with the same content are neither encoded nor written, so a batch that is
handed out again, because a machine went away or the whole ingest is run again, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import SpladeConnectorsError
from ..ingestion.item_encoder import encode_items
from ..ingestion.items import REFUSED, Item, ReadyVectors, drop_unchanged, read_items
from ..stores.base import Store
from .rows import COLUMN, Outcome, Table, error_of, read_batch

SAMPLE = 4  # written documents of a batch that may be read back at the end


class Worker:
    """Called by Ray Data with batches.

    Args:
        open_store: opens the store with the model loaded by name; called once, at the first batch.
    """

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self._store: Store | None = None

    def __call__(self, batch: Mapping[str, Iterable[Any]]) -> Table:
        """One batch of rows.py in, its outcome out. An error of this package is part of the outcome, so that it can be raised again."""
        outcome = Outcome()
        try:
            for text in batch[COLUMN]:
                self._process(str(text), outcome)
        except SpladeConnectorsError as error:
            outcome.error = error_of(error)
        return outcome.to_table()

    def _process(self, text: str, outcome: Outcome) -> None:
        rows = read_batch(text, outcome)
        if not rows:
            return
        if self._store is None:
            self._store = self._open_store()
        encoder = self._store.encoder
        ready = ReadyVectors(encoder.vocab_size, encoder.fingerprint, whole=self._store.passage_settings is None)
        items = drop_unchanged(read_items(rows, ready), self._store, len(rows))
        encoded = list(encode_items(items, encoder.encode_documents, self._store.splitter))
        _upload(self._store, encoded, outcome)


def _upload(store: Store, items: list[Item], outcome: Outcome) -> None:
    """Upload what has a vector, and account for every item."""
    ready = {item.record.doc_id: item for item in items if item.record is not None and item.vector is not None}
    entries = [item.to_entry() for item in ready.values()]
    refusals = dict(store.load(entries)) if entries else {}
    for doc_id, reason in refusals.items():
        ready.pop(doc_id).reject(f"{REFUSED}: {reason}")
    for item in items:
        if item.reason:
            outcome.rejected.append((item.line, item.reason, item.dead_letter_line))
        elif item.record is None:
            outcome.unchanged += 1
    outcome.written += len(ready)
    outcome.new += sum(not item.replaces for item in ready.values())
    outcome.without_dense += sum(item.lacks_dense for item in ready.values())
    outcome.sample = [(doc_id, item.content_hash) for doc_id, item in list(ready.items())[:SAMPLE]]
