"""Bodies of searches: a sparse query in each of the forms that OpenSearch knows, confined by a filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import ConfigError, StoreUnavailableError
from ...vectors import SparseVector
from ..base import Hit
from .documents import checked_doc_id
from .features import FIELD, FeatureLayout

MAX_TOKEN_WEIGHT = 64.0  # of a neural_sparse query
ORDER = [{"_score": "desc"}, {"doc_id": "asc"}]

Clauses = Mapping[str, list[dict[str, Any]]]


def boosts(query: SparseVector) -> list[float]:
    """The weights, each with no more digits than tell a float32 from its neighbours."""
    return [float(f"{weight:.9g}") for weight in query.weights.tolist()]


def rank_feature(query: SparseVector, clauses: Clauses, layout: FeatureLayout) -> dict[str, Any]:
    """A dot product as a disjunction of linear rank_feature queries; a document has to match one of them."""
    paths = map(layout.path, query.term_ids.tolist())
    should = [{"rank_feature": {"field": path, "linear": {}, "boost": boost}} for path, boost in zip(paths, boosts(query), strict=True)]
    return {"bool": {"should": should, "minimum_should_match": 1, **clauses}}


def neural_sparse(query: SparseVector, clauses: Clauses, method_parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The same, built by the neural-search plugin.

    Raises:
        ConfigError: a weight that it does not take.
    """
    if len(query) and query.weights.max() > MAX_TOKEN_WEIGHT:
        raise ConfigError(
            f"the query has a weight of {query.weights.max():g}, neural_sparse takes up to {MAX_TOKEN_WEIGHT:g}: scale it down, or set "
            "query=rank_feature."
        )
    tokens: dict[str, Any] = {"query_tokens": dict(zip(map(str, query.term_ids.tolist()), boosts(query), strict=True))}
    if method_parameters:
        tokens["method_parameters"] = dict(method_parameters)
    return {"bool": {"must": [{"neural_sparse": {FIELD: tokens}}], **clauses}}


def sparse_vector(query: SparseVector, clauses: Clauses, top_k: int, heap_factor: float) -> dict[str, Any]:
    """An approximate search over all terms of the query, for as many hits as are wanted.

    With a filter it is exact: the approximate search would filter what it found, and come back with too few.
    """
    approximate = {"top_n": len(query), "k": top_k, "heap_factor": heap_factor}
    return neural_sparse(query, clauses, None if clauses else approximate)


def search(query: Mapping[str, Any], top_k: int, with_payload: bool) -> dict[str, Any]:
    """The body of a search: by score, ties by document id, counting nothing beyond the hits.

    Document ids come with the order. Without payloads no document is read at all, of which the vector is the longest part.
    """
    returned: dict[str, Any] = {"_source": ["payload"]} if with_payload else {"_source": False, "stored_fields": "_none_"}
    return {"query": query, "size": top_k, "sort": ORDER, "track_total_hits": False, **returned}


def confined(clauses: Clauses) -> dict[str, Any]:
    """All documents that a filter lets pass."""
    return {"bool": dict(clauses)} if clauses else {"match_all": {}}


def check_whole(answer: Any, url: str) -> Mapping[str, Any]:
    """Return the answer if all shards took part and none gave up, else raise StoreUnavailableError: no part is taken for the whole."""
    shards = answer.get("_shards") if isinstance(answer, Mapping) else None
    if not isinstance(shards, Mapping):
        raise StoreUnavailableError(f"{url} answered with something else than the result of a search: check that no proxy is in between.")
    if shards.get("failed") or shards.get("skipped", 0) < 0:
        raise StoreUnavailableError(f"{shards['failed']} of {shards.get('total')} shards of {url} did not answer: see the server's log.")
    if answer.get("timed_out"):
        raise StoreUnavailableError(f"{url} ran out of time and found only a part: raise timeout_s, or see to the server.")
    whole: Mapping[str, Any] = answer
    return whole


def hits(answer: Mapping[str, Any], url: str) -> list[Hit]:
    """The hits of a search. A score of zero is none: the products were too small for a float32.

    Raises:
        StoreFormatError: a document without an id.
    """
    rows = answer["hits"]["hits"]
    scores = np.array([row["_score"] for row in rows], np.float32).tolist()  # JSON holds the shortest text of a float32
    found = [(row, score) for row, score in zip(rows, scores, strict=True) if score > 0]
    return [Hit(checked_doc_id(row["sort"][1], url), score, row.get("_source", {}).get("payload") or {}) for row, score in found]
