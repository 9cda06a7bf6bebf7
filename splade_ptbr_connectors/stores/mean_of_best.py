"""Documents by the mean of their best few passages, over engines that rank them by the best one.

No mean is above the best passage that it is of. So documents are taken in the order of their best passages, and all of their passages
compared with the query, until as many as are wanted have a mean above the best passage of whatever would come next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from statistics import fmean

from ..batches import batched
from ..errors import ConfigError
from ..vectors import SparseVector
from .engine_methods import Ask, Asking
from .entries import EngineFilter, Entry, Hit, Place, Search
from .predicates import test_of

READ_AT_ONCE = 64  # documents, with all of their vectors
ATTEMPTS = 5  # at a search: a document that is another when it is read each time is not only being written
Quantize = Callable[[SparseVector], SparseVector]
Tolerance = Callable[[SparseVector, SparseVector], float]


def by_mean_of_best(search: Search, quantized: Quantize, tolerance: Tolerance, *, by_score: bool) -> Asking[list[Hit]]:
    """The top_k documents by the mean of their `search.best` best passages that share a term with the query, ties by document id.

    The scores are those of the vectors as the engine keeps them: dot products in float64, whatever it adds up in itself.

    Args:
        quantized, tolerance: Store.quantized() and Store.score_tolerance().
        by_score: the tolerance holds, so that a document with another score is another one; else one with another payload is.

    Raises:
        ConfigError: documents of tenants are found and cannot be read, since the store was opened for none.
    """
    always = set[str]()
    for attempt in range(ATTEMPTS):
        ranked, other = yield from _ranked(search, quantized, tolerance, by_score)
        always = always & other if attempt else other
        if not always:
            return ranked
    raise ConfigError(
        f"best is {search.best!r}, for which documents are read by their ids, and {min(always)!r} is read as another than it was found: it "
        "is a tenant's (open the store with its tenant), or is written all the time (try again); or leave best at 1."
    )


def _ranked(search: Search, quantized: Quantize, tolerance: Tolerance, by_score: bool) -> Asking[tuple[list[Hit], set[str]]]:
    """The documents as they are read, and ids of those that the search has found otherwise: replaced or deleted since, or of a tenant."""
    ranked, seen, other, depth, slack = list[Hit](), set[str](), set[str](), 2 * search.top_k, 0.0
    passes = test_of(() if isinstance(search.filter, EngineFilter) else search.filter)  # an engine's own filter only the engine can ask
    while True:
        found: list[Hit] = yield Ask("search_passages", (search.query, depth, search.filter, not by_score, True))
        times = Counter(hit.doc_id for hit in found)
        other |= {doc_id for doc_id, count in times.items() if count > 1}
        fresh = dict[str, Hit]()
        for hit in found:
            if hit.doc_id not in seen:
                fresh.setdefault(hit.doc_id, hit)
        for doc_ids in batched(fresh, READ_AT_ONCE):
            if _settled(ranked, search.top_k, fresh[doc_ids[0]].score + slack):
                return ranked, other
            entries = yield Ask("get", (doc_ids,))
            other |= set(doc_ids) - entries.keys()
            for entry in entries.values():
                read, best, vector = _scored(entry, search, quantized)
                hit, allowed = fresh[entry.doc_id], tolerance(search.query, vector)
                off = abs(best - hit.score)
                if off > allowed if by_score else hit.payload != entry.payload:
                    other.add(entry.doc_id)
                slack = max(slack, allowed if by_score else max(allowed, off))
                if read.score and passes(entry.payload):  # it may have been replaced since it was found
                    ranked.append(read)
            ranked = sorted(ranked, key=lambda hit: (-hit.score, hit.doc_id))[: search.top_k]
            seen.update(doc_ids)
        if len(found) < depth or _settled(ranked, search.top_k, found[-1].score + slack):
            return ranked, other
        depth *= 2


def _settled(ranked: list[Hit], top_k: int, best: float) -> bool:
    """Whether no document whose best passage has this score is among the first top_k; a mean that equals it might be, by its id."""
    return len(ranked) == top_k and ranked[-1].score > best


def _scored(entry: Entry, search: Search, quantized: Quantize) -> tuple[Hit, float, SparseVector]:
    """The document with the mean as its score, and the score and the vector of its best passage."""
    scores = [search.query.dot(quantized(vector)) for vector in entry.vectors]
    few = [score for score in sorted(scores, reverse=True)[: search.best] if score > 0]
    best = max(scores)
    place = Place(scores.index(best), entry.spans if search.with_payload else ()) if entry.passages else None
    mean = min(best, fmean(few)) if few else 0.0  # rounded, a mean of equal numbers may be above them
    return Hit(entry.doc_id, mean, entry.payload if search.with_payload else {}, place), best, entry.vectors[scores.index(best)]
