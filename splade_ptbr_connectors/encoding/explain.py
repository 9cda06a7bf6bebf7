"""Why a document matched: the share of each common term in the score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..vectors import SparseVector


@dataclass(frozen=True, slots=True)
class Contribution:
    """One term that query and document share; contribution = query_weight * document_weight."""

    term_id: int
    token: str
    query_weight: float
    document_weight: float
    contribution: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score and its parts, largest first; the contributions add up to the score."""

    score: float
    contributions: tuple[Contribution, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts and lists, for JSON."""
        return asdict(self)


def explain(query: SparseVector, document: SparseVector, token_of: Callable[[int], str]) -> Explanation:
    """Split the dot product of two vectors into its terms."""
    terms, in_query, in_document = np.intersect1d(query.term_ids, document.term_ids, assume_unique=True, return_indices=True)
    parts = [
        Contribution(term, token_of(term), q, d, q * d)
        for term, q, d in zip(terms.tolist(), query.weights[in_query].tolist(), document.weights[in_document].tolist(), strict=True)
    ]
    parts.sort(key=lambda part: (-part.contribution, part.term_id))
    return Explanation(sum(part.contribution for part in parts), tuple(parts))
