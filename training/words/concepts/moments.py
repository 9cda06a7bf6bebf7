"""How the concepts of documents come together and go with similarity: what a query's concepts are found by (encoding/concept_heads.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float32]
SMALLEST_DEVIATION = 1e-3
"""Of a concept that few documents have, so that it is not worth much."""


@dataclass(frozen=True)
class Moments:
    """R [C, C], v [C], K [C, H] of concept_heads.py."""

    correlations: Floats
    deviations: Floats
    with_similarity: Floats


def moments_of(codes: sparse.csr_matrix, documents: Floats, similarity: Floats) -> Moments:
    """Of [N, C] concepts of documents whose embeddings are the [N, H] rows, and the matrix of q' S d."""
    count = codes.shape[0]
    mean = np.asarray(codes.mean(axis=0), np.float64).ravel()
    covariance = (codes.T @ codes).toarray() / count - np.outer(mean, mean)
    deviations = np.maximum(np.sqrt(np.diag(covariance).clip(min=0)), SMALLEST_DEVIATION)
    with_documents = np.asarray(codes.T @ documents) / count - np.outer(mean, documents.mean(axis=0))
    with_similarity = with_documents @ similarity.T / deviations[:, None]
    correlations = covariance / np.outer(deviations, deviations)
    return Moments(*(np.asarray(found, np.float32) for found in (correlations, deviations, with_similarity)))
