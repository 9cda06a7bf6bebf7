"""The best passage of each document: exact, since a search finds all that tie with its last hit."""

from __future__ import annotations

from ...vectors import SparseVector
from ..passages import Spread
from .contents import Contents
from .filters import Passing

Best = tuple[float, str, int, int]  # score times -1, document id, number of the passage, number of the document in the database


def best_passages(contents: Contents, query: SparseVector, top_k: int, passing: Passing | None, spread: Spread | None) -> list[Best]:
    """The top_k documents by their best passage, or without a spread the top_k passages; ties by document id, then by number."""
    found = contents.hit_rows(query, top_k, passing, spread)
    numbers, ids, scores = contents.results(found)
    hits = zip(scores, ids, contents.places_of(found).tolist(), numbers, strict=True)
    return sorted([(-score, doc_id, place, number - place) for score, doc_id, place, number in hits])[:top_k]
