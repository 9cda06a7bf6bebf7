"""Records into a store at once: what the vector stores of other frameworks do with a few documents at a time.

Encoded, split and compared with what is stored as by ingest(), without what a long run needs: no checkpoint, no dead-letter file, no
merging of the index at the end. What was added is found when these return.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..batches import batched
from ..errors import StoreRefusedError
from ..records import Record
from ..stores.base import Entry, Refusal, Store
from .item_encoder import encode_items
from .items import drop_unchanged, read_items


def add(records: Sequence[Record], store: Store) -> None:
    """Encode and store records of different ids; those that are stored unchanged already are not encoded again.

    Raises:
        StoreRefusedError: the encoder or the engine refused single documents; the others are stored.
    """
    refusals: list[Refusal] = []
    for batch in batched(records, store.max_batch_documents):
        entries, refused = _encoded(batch, store)
        refusals += refused + (store.load(entries) if entries else [])
    _check(refusals, len(records), store)


async def aadd(records: Sequence[Record], store: Store) -> None:
    """add() without blocking the event loop."""
    refusals: list[Refusal] = []
    for batch in batched(records, store.max_batch_documents):
        entries, refused = await asyncio.to_thread(_encoded, batch, store)
        refusals += refused + (await store.aload(entries) if entries else [])
    _check(refusals, len(records), store)


def _encoded(records: Sequence[Record], store: Store) -> tuple[list[Entry], list[Refusal]]:
    items = list(encode_items(drop_unchanged(read_items(records), store, len(records)), store.encoder.encode_documents, store.splitter))
    refused = [Refusal(record.doc_id, item.reason) for record, item in zip(records, items, strict=True) if item.reason]
    return [item.to_entry() for item in items if item.record is not None], refused


def _check(refusals: Sequence[Refusal], of: int, store: Store) -> None:
    if refusals:
        first = refusals[0]
        raise StoreRefusedError(
            f"{len(refusals):,} of {of:,} documents are not stored in {store.url}, first {first.doc_id!r}: {first.reason}; the others are. "
            "Correct them (`refusals` of this error) and add them again.",
            refusals,
        )
