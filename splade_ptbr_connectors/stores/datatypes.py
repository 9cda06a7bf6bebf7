"""What the sparse index of Qdrant, on a server or in this process, keeps of a weight: float32, float16 or uint8.

The datatype holds for the parts of an index that are built: what was written since is searched as float32, and the stored
vectors themselves stay float32. With uint8 a weight is one of 256 steps between the smallest and the largest weight that its
term has in its part of the index, so that no vector alone says what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..vectors import SparseVector
from .base import SCORE_TOLERANCE, Entry, Refusal

FLOAT16_LIMIT = np.float32(65_520)  # from here on a weight becomes infinite, and every score with it
UINT8_STEPS = 255
LargestWeights = Callable[[list[int]], list[float]]


def quantized(vector: SparseVector, datatype: str) -> SparseVector:
    """The vector as scores see it once its part of the index is built; under uint8, which depends on its neighbours, as it is."""
    if datatype != "float16":
        return vector
    with np.errstate(under="ignore"):
        weights = vector.weights.astype(np.float16).astype(np.float32)
    kept = weights > 0  # below 3e-8 nothing is left, and the term finds the document no longer
    return SparseVector(vector.term_ids[kept], weights[kept])


def score_tolerance(query: SparseVector, vector: SparseVector, datatype: str, largest_weights: LargestWeights) -> float:
    """How far the score of a document may be from query.dot(quantized(vector, datatype)).

    Rounding to the nearest of 256 steps is off by half a step, (largest - smallest) / 510. Allowed is a whole step of the
    largest weight, since the index keeps the range that it was built with: documents deleted since may have had weights of up
    to twice the largest that is left. Those of larger ones leave scores further off, until the index is built anew.

    Args:
        largest_weights: the largest weight in the collection of each of these terms; asked only under uint8.
    """
    kept = query.dot(quantized(vector, datatype))
    tolerance = SCORE_TOLERANCE * kept
    if datatype == "float16":
        return tolerance + abs(query.dot(vector) - kept)
    if datatype == "uint8":
        shared, mine, _ = np.intersect1d(query.term_ids, vector.term_ids, assume_unique=True, return_indices=True)
        steps: NDArray[np.float64] = np.asarray(largest_weights(shared.tolist()), np.float64) / UINT8_STEPS
        return tolerance + float(np.dot(query.weights[mine].astype(np.float64), steps))
    return tolerance


def split(entries: Sequence[Entry], datatype: str) -> tuple[list[Entry], list[Refusal]]:
    """The entries whose weights the datatype can keep, and refusals of the others."""
    if datatype != "float16":
        return list(entries), []
    kept, refusals = [], []
    for entry in entries:
        largest = max([vector.weights.max(initial=0) for vector in entry.vectors])
        if largest < FLOAT16_LIMIT:
            kept.append(entry)
        else:
            reason = f"a weight is {largest:g}, more than float16 keeps (65,504): scale the weights, or use the datatype float32"
            refusals.append(Refusal(entry.doc_id, reason))
    return kept, refusals
