"""Runs the queries of a judgment file against a store and measures what comes back."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .measures import MEASURES, Effectiveness, measure
from .qrels import Qrels
from .runs import Run

if TYPE_CHECKING:
    from ..stores.base import Store


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a store returned for the judged queries, and how good it was.

    Attributes:
        effectiveness: means over all judged queries.
        run: query id -> document id -> score.
        latency_ms: mean wall time of one search, encoding the query included.
        terms_per_query: mean number of terms of a query vector.
        missing: relevant documents that the store does not hold; no search can find them.
    """

    effectiveness: Effectiveness
    run: Run
    latency_ms: float
    terms_per_query: float
    missing: int

    def to_dict(self) -> dict[str, Any]:
        """Everything but the run, for JSON."""
        return {
            "measures": self.effectiveness.means,
            "queries": self.effectiveness.queries,
            "unanswered": self.effectiveness.unanswered,
            "missing_relevant_documents": self.missing,
            "mean_latency_ms": self.latency_ms,
            "mean_terms_per_query": self.terms_per_query,
        }


def evaluate(
    store: Store,
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    top_k: int = 1000,
    best: int = 1,
    measures: Iterable[str] = MEASURES,
    progress: bool = False,
) -> Evaluation:
    """Search every judged query and measure the result.

    Args:
        store: an open store.
        queries: query id -> text; those that nobody judged are left out.
        qrels: judgments; their queries are the denominator of every mean.
        top_k: documents asked for per query; at least the largest cut-off of the measures.
        best: by how many of its best passages a document is ranked; see Store.search.
        measures: names that ir-measures knows.
        progress: draw a bar if stderr is a terminal.

    Raises:
        InputError: a judged query without a text, or a store that holds no relevant document at all.
    """
    from tqdm import tqdm

    texts = _judged_texts(queries, qrels)
    missing = _missing(store, qrels)
    run, latencies, terms = Run(), [], 0
    for query_id, text in tqdm(texts.items(), "evaluate", unit=" queries", disable=None if progress else True, file=sys.stderr):
        started = time.perf_counter()
        vector = store.encoder.encode_query(text)
        hits = store.search(vector, top_k, with_payload=False, best=best)
        latencies.append(time.perf_counter() - started)
        terms += len(vector)
        run[query_id] = {hit.doc_id: hit.score for hit in hits}
    found = measure(run, qrels, tuple(measures))
    return Evaluation(found, run, 1000 * sum(latencies) / len(texts), terms / len(texts), missing)


def _judged_texts(queries: Mapping[str, str], qrels: Qrels) -> dict[str, str]:
    if not qrels:
        raise InputError("there are no relevance judgments to compare with.")
    without = [query_id for query_id in qrels if query_id not in queries]
    if without:
        raise InputError(f"{len(without)} of {len(qrels)} judged queries have no text (first: {without[0]!r}): name the right query file.")
    return {query_id: queries[query_id] for query_id in qrels}


def _missing(store: Store, qrels: Qrels) -> int:
    relevant = sorted({doc_id for judged in qrels.values() for doc_id, grade in judged.items() if grade > 0})
    there = sum(len(store.get(relevant[start : start + 256])) for start in range(0, len(relevant), 256))
    if relevant and not there:
        raise InputError(f"none of the {len(relevant)} relevant documents is in {store.url}: is it another collection?")
    return len(relevant) - there
