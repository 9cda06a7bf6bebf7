"""Dense activations to sparse vectors: special terms out, pruning, and the maximum over a document's windows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..vectors import SMALLEST_WEIGHT, SparseVector


def sparse_rows(activations: NDArray[np.float32], dropped: NDArray[np.int64]) -> Iterator[SparseVector]:
    """Turn [B, V] activations into B vectors without the `dropped` columns. Raises ModelError for NaN or infinity."""
    if not np.isfinite(activations).all():
        raise ModelError("the model gave NaN or infinite activations: use dtype='float32', or check the checkpoint.")
    activations[:, dropped] = 0
    flat = np.flatnonzero(activations >= SMALLEST_WEIGHT)  # several times as fast as pairs of row and term
    weights = activations.ravel()[flat]
    ends = np.searchsorted(flat, np.arange(1, len(activations) + 1) * activations.shape[1])
    terms = flat % max(activations.shape[1], 1)
    start = 0
    for end in ends.tolist():
        yield SparseVector(terms[start:end], weights[start:end])
        start = end


def maximum(vectors: list[SparseVector]) -> SparseVector:
    """The element-wise maximum of some vectors; of none, the empty vector."""
    if len(vectors) <= 1:
        return vectors[0] if vectors else SparseVector([], [])
    terms = np.concatenate([vector.term_ids for vector in vectors])
    weights = np.concatenate([vector.weights for vector in vectors])
    order = np.argsort(terms, kind="stable")
    terms, weights = terms[order], weights[order]
    unique, starts = np.unique(terms, return_index=True)
    return SparseVector(unique, np.maximum.reduceat(weights, starts) if len(starts) else weights)
