"""An exact store in plain Python: what every engine has to agree with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from splade_ptbr_connectors.vectors import SparseVector
from tests.support.filter_oracle import passes

Document = tuple[SparseVector, Mapping[str, Any]]
Key = tuple[str | None, str]


class Oracle:
    """Documents in a dict, scores by dot products over dicts, filters by plain comparisons.

    A document belongs to a tenant or to none; asked without a tenant, the oracle answers about all of them.

    Args:
        quantized: a document's vector as the engine's scores see it: `float16`, say.
    """

    def __init__(self, quantized: Callable[[SparseVector], SparseVector] = lambda vector: vector) -> None:
        self.quantized = quantized
        self.contents: dict[Key, Document] = {}
        self.dense: dict[Key, Sequence[float]] = {}

    @property
    def documents(self) -> dict[str, Document]:
        """By document id; for a collection without tenants."""
        return {doc_id: document for (_, doc_id), document in self.contents.items()}

    def of(self, tenant: str | None) -> dict[str, Document]:
        """The documents that a store of this tenant holds, by document id."""
        return {doc_id: document for (owner, doc_id), document in self.contents.items() if owner == tenant}

    def upsert(self, entries: Sequence[Sequence[Any]], tenant: str | None = None) -> None:
        """(doc_id, vector, payload) or Entry objects; the last one of a document id counts."""
        for entry in entries:
            self.contents[tenant, entry[0]] = (entry[1], entry[2])
            self.dense.pop((tenant, entry[0]), None)
            if len(entry) > 4 and entry[4] is not None:
                self.dense[tenant, entry[0]] = entry[4]

    def delete(self, doc_ids: Sequence[str], tenant: str | None = None) -> int:
        return sum(self.contents.pop((tenant, doc_id), None) is not None for doc_id in doc_ids)

    def delete_where(self, filter: Mapping[str, Any], tenant: str | None = None) -> int:
        to_delete = self._passing(filter, tenant)
        for key in to_delete:
            del self.contents[key]
        return len(to_delete)

    def count(self, filter: Mapping[str, Any] | None = None, tenant: str | None = None) -> int:
        return len(self._passing(filter, tenant))

    def search(
        self, query: SparseVector, top_k: int, filter: Mapping[str, Any] | None = None, tenant: str | None = None
    ) -> list[tuple[str, float]]:
        scores = {key: dot(query, self.quantized(self.contents[key][0])) for key in self._passing(filter, tenant)}
        ranked = sorted(((-score, doc_id) for (_, doc_id), score in scores.items() if score > 0))
        return [(doc_id, -score) for score, doc_id in ranked[:top_k]]

    def search_hybrid(
        self,
        query: SparseVector,
        dense: Sequence[float],
        top_k: int,
        prefetch: int,
        rrf_k: int,
        filter: Mapping[str, Any] | None = None,
        tenant: str | None = None,
    ) -> list[tuple[str, float]]:
        """Reciprocal rank fusion as its paper has it: the sum of 1 / (rrf_k + rank), ranks from 1."""
        searches = self.search(query, prefetch, filter, tenant), self.nearest(dense, prefetch, filter, tenant)
        scores: dict[str, Fraction] = {}
        for found in searches:
            for rank, (doc_id, _) in enumerate(found, 1):
                scores[doc_id] = scores.get(doc_id, Fraction(0)) + Fraction(1, rrf_k + rank)
        ranked = sorted((-score, doc_id) for doc_id, score in scores.items())
        return [(doc_id, float(-score)) for score, doc_id in ranked[:top_k]]

    def search_by_sum(
        self,
        query: SparseVector,
        dense: Sequence[float],
        prefetch: int,
        dense_weight: float,
        filter: Mapping[str, Any] | None = None,
        tenant: str | None = None,
    ) -> list[tuple[str, float]]:
        """All that either search finds, by the weighted sum of scores of which a search's best is 1, and its last 0.

        Where the sparse search finds less than it may, 0 is what a document without a term of the query scores.
        """
        sparse = dict(self.search(query, prefetch, filter, tenant))
        near = dict(self.nearest(dense, prefetch, filter, tenant))
        floor = min(sparse.values()) if len(sparse) == prefetch else 0.0
        sums = dict.fromkeys({*sparse, *near}, Fraction(0))
        for weight, scores, least in (
            (1 - Fraction(dense_weight), sparse, floor),
            (Fraction(dense_weight), near, min(near.values(), default=0.0)),
        ):
            span = Fraction(max(scores.values(), default=0.0)) - Fraction(least)
            for doc_id, score in scores.items():
                sums[doc_id] += weight * (Fraction(score) - Fraction(least)) / span if span else weight
        return sorted([(doc_id, float(score)) for doc_id, score in sums.items()], key=lambda pair: (-pair[1], pair[0]))

    def nearest(
        self, dense: Sequence[float], top_k: int, filter: Mapping[str, Any] | None = None, tenant: str | None = None
    ) -> list[tuple[str, float]]:
        """The largest dot products with dense vectors."""
        near = [(-float(np.dot(dense, self.dense[key])), key[1]) for key in self._passing(filter, tenant) if key in self.dense]
        return [(doc_id, -score) for score, doc_id in sorted(near)[:top_k]]

    def _passing(self, filter: Mapping[str, Any] | None, tenant: str | None) -> list[Key]:
        return [
            key for key, (_, payload) in self.contents.items() if (tenant is None or key[0] == tenant) and passes(filter or {}, payload)
        ]


def float16(vector: SparseVector) -> SparseVector:
    """The weights rounded to float16, as Qdrant's index keeps them under datatype float16."""
    return SparseVector(vector.term_ids, vector.weights.astype(np.float16).astype(np.float32))


def dot(query: SparseVector, document: SparseVector) -> float:
    weights = document.to_dict()
    return sum(weight * weights.get(term, 0.0) for term, weight in query.to_dict().items())


def check_fused(hits: Sequence[Any], expected: Sequence[tuple[str, float]], top_k: int) -> None:
    """Assert that these are the top_k of what is expected, all that there is: equal scores, within rounding, in either order."""
    scores = dict(expected)
    assert len(hits) == min(top_k, len(expected))
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected[:top_k]], rel=1e-6, abs=1e-6)
    assert [hit.score for hit in hits] == pytest.approx([scores[hit.doc_id] for hit in hits], rel=1e-6, abs=1e-6)
    assert [hit.doc_id for hit in hits] == [hit.doc_id for hit in sorted(hits, key=lambda hit: (-hit.score, hit.doc_id))]
