"""Maximal marginal relevance (Carbonell and Goldstein 1998) over sparse vectors: good hits that are not all alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError
from ..strict import shown
from ..vectors import SparseVector


def check_lambda(lambda_mult: object) -> float:
    """Return a usable weight of relevance, or raise ConfigError."""
    if isinstance(lambda_mult, bool) or not isinstance(lambda_mult, int | float) or not 0 <= lambda_mult <= 1:
        raise ConfigError(
            f"lambda_mult is {shown(lambda_mult)}: it must be a number from 0 (as different as can be) to 1 (by score alone)."
        )
    return float(lambda_mult)


def diverse(scores: Sequence[float], vectors: Sequence[SparseVector], k: int, lambda_mult: float) -> list[int]:
    """Numbers of the k hits, of those given best first, each the largest lambda * relevance - (1 - lambda) * similarity when chosen.

    Args:
        scores, vectors: of the hits.
        lambda_mult: 1 leaves the order of the scores.

    Relevance is the score by that of the best hit, similarity the largest cosine with a hit that is chosen already: both are 0..1.
    """
    relevance = np.array(scores) / (max(scores, default=0.0) or 1.0)  # of a hybrid search all may be 0
    norms = [float(np.linalg.norm(vector.weights)) or 1.0 for vector in vectors]  # and a document need not have terms
    similarity, chosen = np.zeros(len(relevance)), list[int]()
    while len(chosen) < min(k, len(vectors)):
        gain = lambda_mult * relevance - (1 - lambda_mult) * similarity
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        cosines = [vectors[best].dot(vector) / (norms[best] * norm) for vector, norm in zip(vectors, norms, strict=True)]
        similarity = np.maximum(similarity, cosines)
    return chosen
