"""Exact oracles for engines that keep less than a float32 of each weight: the same search, over what the engine keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from splade_ptbr_connectors.vectors import SparseVector
from tests.support.oracle import Oracle


class RankFeaturesOracle(Oracle):
    """Scores as Lucene's rank features give them: ids and scores of OpenSearch are equal to these, not close to them."""

    def search(
        self, query: SparseVector, top_k: int, filter: Mapping[str, Any] | None = None, tenant: str | None = None
    ) -> list[tuple[str, float]]:
        scores = {key: rank_features_score(query, self.contents[key][0]) for key in self._passing(filter, tenant)}
        ranked = sorted((-score, doc_id) for (_, doc_id), score in scores.items() if score > 0)
        return [(doc_id, -score) for score, doc_id in ranked[:top_k]]


def rank_features_weights(vector: SparseVector) -> dict[int, np.float32]:
    """A weight is kept as the upper 17 bits of a float32: sign, exponent and 8 of its 23 bits behind the point, cut and not rounded."""
    kept = (vector.weights.view(np.int32) >> 15 << 15).view(np.float32)
    return dict(zip(vector.term_ids.tolist(), kept, strict=True))


def rank_features_score(query: SparseVector, document: SparseVector) -> float:
    """float32 products, added up in float64, the sum rounded to float32."""
    kept = rank_features_weights(document)
    weights = zip(query.term_ids.tolist(), query.weights, strict=True)
    with np.errstate(over="ignore", under="ignore"):
        products = [float(weight * kept[term]) for term, weight in weights if term in kept]
        return float(np.float32(sum(products)))
