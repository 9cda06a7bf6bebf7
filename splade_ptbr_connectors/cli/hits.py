"""Hits as plain dicts, with the tokens that made them match."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..stores.base import Hit, Store
    from ..vectors import SparseVector


def hit_to_dict(hit: Hit) -> dict[str, Any]:
    """doc_id, score, title and text, and the rest of the payload under "payload"."""
    payload = dict(hit.payload)
    title, text = str(payload.pop("title", "")), str(payload.pop("text", ""))
    return {"doc_id": hit.doc_id, "score": hit.score, "title": title, "text": text, "payload": payload}


def add_tokens(hits: list[dict[str, Any]], query: SparseVector, store: Store) -> None:
    """Give each hit its "tokens": the terms that it shares with the query, largest contribution first."""
    from ..retrieval import explain_hits

    explanations = explain_hits(store, query, [hit["doc_id"] for hit in hits])
    for hit in hits:
        hit["tokens"] = [asdict(part) for part in explanations[hit["doc_id"]].contributions]
