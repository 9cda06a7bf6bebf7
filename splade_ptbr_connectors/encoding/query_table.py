"""Queries without a network: each distinct token of the query weighs what a learned table says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFormatError
from ..vectors import SMALLEST_WEIGHT, SparseVector
from .folder import ModelFolder


class QueryTable:
    """A weight per vocabulary term, [V] float32; weights <= 0 mean that the term is dropped from queries.

    Source: inference-free queries, arXiv 2411.04403 (IDF table) and arXiv 2505.01452 (learned table).
    """

    def __init__(self, weights: NDArray[np.float32]) -> None:
        self._weights = weights

    @classmethod
    def read(cls, folder: ModelFolder) -> QueryTable:
        """Read the table that splade.json names. Raises ModelFormatError when it is missing or of another size."""
        from safetensors.numpy import load_file

        path = folder.path / (folder.config.query.file or "query_weights.safetensors")
        if path.parent != folder.path or not path.is_file():
            raise ModelFormatError(
                f"{folder.path} has no {folder.config.query.file!r}, its table of query weights: the download is incomplete."
            )
        tensors = load_file(path)
        weights = tensors.get("weights")
        if weights is None or weights.shape != (folder.config.vocab_size,) or not np.isfinite(weights).all():
            raise ModelFormatError(f"{path} must hold one finite tensor 'weights' with {folder.config.vocab_size:,} entries.")
        return cls(weights.astype(np.float32))

    def encode(self, token_ids: list[int]) -> SparseVector:
        """The vector of a query: its distinct tokens with a weight in the table."""
        terms = np.unique(np.asarray(token_ids, np.uint32))
        weights = self._weights[terms]
        kept = weights >= SMALLEST_WEIGHT
        return SparseVector(terms[kept], weights[kept])
