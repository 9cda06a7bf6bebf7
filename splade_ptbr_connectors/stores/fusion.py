"""Two searches of one query made one ranking: by a weighted sum of their scores, or by their ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import Field

from ..errors import ConfigError
from ..validation import Share, check

DENSE_WEIGHT = 0.3  # the best on dev splits of mini and E5
RankConstant = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]  # beyond, neighbouring ranks count the same but for rounding


class WeightedSum(NamedTuple):
    """score = (1 - dense_weight) * sparse + dense_weight * dense, each from 0 to 1 within its search (Bruch, Gai and Ingber 2023).

    The first hit of a search counts 1 and its last one 0, which is also what a document counts that is not among them. Where a sparse
    search has fewer hits than it was asked for, all others have the score 0, so that 0 takes the place of the last one's.
    """

    dense_weight: float = DENSE_WEIGHT

    @property
    def largest(self) -> float:
        """A score that no document exceeds."""
        return 1.0

    def parts(self, sparse: Sequence[float], dense: Sequence[float], depth: int) -> list[float]:
        """What every hit adds to the score of its document: those of the sparse search, then those of the dense one.

        Args:
            sparse, dense: their scores, best first; dense ones may be distances.
            depth: how many hits each search was asked for.
        """
        least = 0.0 if len(sparse) < depth else sparse[-1]
        from_sparse = [(1 - self.dense_weight) * part for part in _scaled(sparse, least)]
        return from_sparse + [self.dense_weight * part for part in _scaled(dense, dense[-1] if dense else 0.0)]


class ReciprocalRanks(NamedTuple):
    """score = sum of 1 / (k + rank), ranks from 1 (Cormack, Clarke and Büttcher 2009)."""

    k: int

    @property
    def largest(self) -> float:
        """As of WeightedSum."""
        return 2 / (self.k + 1)

    def parts(self, sparse: Sequence[float], dense: Sequence[float], depth: int) -> list[float]:
        """As of WeightedSum."""
        return [1 / (self.k + rank) for scores in (sparse, dense) for rank in range(1, len(scores) + 1)]


Fusion = WeightedSum | ReciprocalRanks


def check_fusion(dense_weight: float | None, rrf_k: int | None) -> Fusion:
    """The fusion that is meant: by ranks where their constant is given, else by the sum. Raises ConfigError."""
    if dense_weight is not None:
        check("dense_weight", dense_weight, Share)
    if rrf_k is None:
        return WeightedSum(DENSE_WEIGHT if dense_weight is None else float(dense_weight))
    check("rrf_k", rrf_k, RankConstant)
    if dense_weight is not None:
        raise ConfigError(
            f"dense_weight={dense_weight!r} weighs scores, and rrf_k={rrf_k!r} fuses ranks, which have none: give one of them."
        )
    return ReciprocalRanks(rrf_k)


def _scaled(scores: Sequence[float], least: float) -> list[float]:
    """1 for the first, 0 for `least`; where both are the same, 1 for all."""
    span = scores[0] - least if scores else 0.0
    return [(score - least) / span if span else 1.0 for score in scores]
