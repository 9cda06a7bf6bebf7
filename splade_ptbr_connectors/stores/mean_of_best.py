"""Documents by the mean of their best few passages, over engines that rank them by the best one.

No mean is above the best passage that it is of. So documents are taken in the order of their best passages, and all of their passages
compared with the query, until as many as are wanted have a mean above the best passage of whatever would come next.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

from ..batches import batched
from ..errors import ConfigError
from ..vectors import SparseVector
from .engine_methods import Ask, Asking
from .entries import Entry, Hit, Place, Search

READ_AT_ONCE = 64  # documents, with all of their vectors


def by_mean_of_best(search: Search, quantized: Callable[[SparseVector], SparseVector]) -> Asking[list[Hit]]:
    """The top_k documents by the mean of their `search.best` best passages that share a term with the query, ties by document id.

    The scores are those of the vectors as the engine keeps them: dot products in float64, whatever it adds up in itself.

    Args:
        quantized: Store.quantized().

    Raises:
        ConfigError: documents of tenants are found and cannot be read, since the store was opened for none.
    """
    ranked, seen, depth = list[Hit](), set[str](), 2 * search.top_k
    while True:
        found = yield from _best_first(search, depth)
        for some in batched([hit for hit in found if hit.doc_id not in seen], READ_AT_ONCE):
            if _settled(ranked, search.top_k, some[0].score):
                return ranked
            doc_ids = [hit.doc_id for hit in some]
            entries = yield Ask("get", (doc_ids,))
            if len(entries) < len(doc_ids):
                yield from _check_gone(search, depth, set(doc_ids) - entries.keys())
            hits = [_hit(entry, search, quantized) for entry in entries.values()]
            ranked = sorted([*ranked, *(hit for hit in hits if hit.score)], key=lambda hit: (-hit.score, hit.doc_id))[: search.top_k]
            seen.update(doc_ids)
        if len(found) < depth or _settled(ranked, search.top_k, found[-1].score):
            return ranked
        depth *= 2


def _best_first(search: Search, depth: int, *, with_payload: bool = False) -> Asking[list[Hit]]:
    """So many documents by their best passage."""
    found: list[Hit] = yield Ask("search_passages", (search.query, depth, search.filter, with_payload, True))
    doc_ids = [hit.doc_id for hit in found]
    if len(set(doc_ids)) < len(doc_ids):
        raise _of_tenants(max(doc_ids, key=doc_ids.count), search)
    return found


def _settled(ranked: list[Hit], top_k: int, best: float) -> bool:
    """Whether no document whose best passage has this score is among the first top_k; a mean that equals it might be, by its id."""
    return len(ranked) == top_k and ranked[-1].score > best


def _check_gone(search: Search, depth: int, doc_ids: set[str]) -> Asking[None]:
    """Raise ConfigError for documents that a search finds, as it reads their payloads, and get() does not; others are deleted."""
    found = yield from _best_first(search, depth, with_payload=True)
    kept = next((hit.doc_id for hit in found if hit.doc_id in doc_ids), None)
    if kept is not None:
        raise _of_tenants(kept, search)


def _of_tenants(doc_id: str, search: Search) -> ConfigError:
    return ConfigError(
        f"best is {search.best!r}, for which documents are read by their ids, and {doc_id!r} is a tenant's: open the store with its "
        "tenant, or leave best at 1."
    )


def _hit(entry: Entry, search: Search, quantized: Callable[[SparseVector], SparseVector]) -> Hit:
    """The document with its best passage; the score 0 where none shares a term with the query, since it was replaced."""
    scores = [search.query.dot(quantized(vector)) for vector in entry.vectors]
    few = [score for score in sorted(scores, reverse=True)[: search.best] if score > 0]
    score = min(few[0], fmean(few)) if few else 0.0  # rounded, a mean of equal numbers may be above them
    place = Place(scores.index(max(scores)), entry.spans if search.with_payload else ()) if entry.passages else None
    return Hit(entry.doc_id, score, entry.payload if search.with_payload else {}, place)
