"""Which retrieved documents may be negatives: no known positive, no copy of one, nothing that scores nearly as high.

Sampling from ranges of ranks: SPLADE-v3 (arXiv 2403.06789). Leaving out what scores nearly as high as the positive: NV-Retriever
(arXiv 2407.15831). Everything that is removed is counted by reason.
"""

from __future__ import annotations

import math
import unicodedata
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from splade_ptbr_connectors.errors import ConfigError, InputError


class Candidate(NamedTuple):
    """A retrieved document."""

    doc_id: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Draw:
    """`count` negatives drawn at random from the first `depth` ranks."""

    count: int
    depth: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= self.depth:
            raise ConfigError(f"{self.count} negatives from the first {self.depth} ranks: expected 1 <= negatives <= ranks.")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which candidates may become negatives.

    Attributes:
        draws: one after the other, nothing twice; SPLADE-v3 is (Draw(50, 50), Draw(50, 1000)).
        skip_top: the first ranks, which are never taken.
        max_share_of_positive: candidates that score at least this share of the positive's score are taken for false
            negatives; infinity keeps them.
        teacher_margin: with teacher scores, a candidate must score lower than the positive by more than this.
        seed: of the drawing; each query has its own stream, whatever the order.
    """

    draws: tuple[Draw, ...] = (Draw(50, 200),)
    skip_top: int = 0
    max_share_of_positive: float = 0.95
    teacher_margin: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.draws:
            raise ConfigError("no draw is given: say how many negatives from how many ranks, e.g. 50 of 200.")
        if not 0 <= self.skip_top < self.depth:
            raise ConfigError(f"skip_top is {self.skip_top}: it must be at least 0 and less than the depth, {self.depth}.")
        if not self.max_share_of_positive > 0 or math.isnan(self.teacher_margin):
            raise ConfigError(f"max_share_of_positive is {self.max_share_of_positive}: it must be above 0 (0.95 is usual, inf keeps all).")

    @property
    def count(self) -> int:
        """Negatives of one line."""
        return sum(draw.count for draw in self.draws)

    @property
    def depth(self) -> int:
        """Candidates that have to be retrieved."""
        return max(draw.depth for draw in self.draws)


@dataclass(frozen=True, slots=True)
class Positive:
    """What is known about the right answers of one line.

    Attributes:
        doc_id: the positive of this line.
        score: its score by the retrieving model.
        known: ids of every known positive of the query.
        copies: normalised texts of every known positive.
    """

    doc_id: str
    score: float
    known: frozenset[str]
    copies: frozenset[str]


def normalized(text: str) -> str:
    """A text as it is compared for copies: compatibility forms and case folded, letters and digits only, one space between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split())


def choose(
    query_id: str,
    candidates: Sequence[Candidate],
    positive: Positive,
    selection: Selection,
    teacher: Mapping[str, float] | None = None,
) -> tuple[list[Candidate], Counter[str]]:
    """The negatives of one line, in order of rank, and how many candidates were removed for which reason.

    Args:
        query_id: seeds the drawing, together with the positive.
        candidates: best first; ranks count from the first.
        positive: what must not become a negative.
        selection: the rules.
        teacher: teacher scores of this query's documents; candidates that it has not scored are removed and counted.

    Raises:
        InputError: the teacher has not scored the positive.
    """
    allowed, removed = _allowed(query_id, candidates, positive, selection, teacher)
    rng = np.random.default_rng([selection.seed, zlib.crc32(f"{query_id}\t{positive.doc_id}".encode())])
    taken: set[int] = set()
    for draw in selection.draws:
        pool = [rank for rank in allowed if rank < draw.depth and rank not in taken]
        taken.update(pool[i] for i in rng.permutation(len(pool))[: draw.count])
    return [candidates[rank] for rank in sorted(taken)], removed


def _allowed(
    query_id: str, candidates: Sequence[Candidate], positive: Positive, selection: Selection, teacher: Mapping[str, float] | None
) -> tuple[list[int], Counter[str]]:
    """Ranks that may be drawn, and counts of the others."""
    if teacher is not None and positive.doc_id not in teacher:
        raise InputError(
            f"the teacher has not scored the positive {positive.doc_id!r} of query {query_id!r}: every positive needs a score."
        )
    removed: Counter[str] = Counter()
    seen: set[str] = set()
    allowed = []
    for rank, candidate in enumerate(candidates[: selection.depth]):
        text = normalized(candidate.text)
        reason = _why_not(rank, candidate, text, positive, selection, teacher) or ("copy_of_negative" if text in seen else None)
        if reason:
            removed[reason] += 1
        else:
            seen.add(text)
            allowed.append(rank)
    return allowed, removed


def _why_not(
    rank: int, candidate: Candidate, text: str, positive: Positive, selection: Selection, teacher: Mapping[str, float] | None
) -> str | None:
    """The reason why a candidate may not be a negative; None: it may."""
    if candidate.doc_id in positive.known:
        return "known_positive"
    if text in positive.copies:
        return "copy_of_positive"
    if rank < selection.skip_top:
        return "skipped_top"
    if candidate.score >= selection.max_share_of_positive * positive.score:
        return "near_positive_score"
    if teacher is not None:
        if candidate.doc_id not in teacher:
            return "not_scored_by_teacher"
        if teacher[candidate.doc_id] >= teacher[positive.doc_id] - selection.teacher_margin:
            return "near_positive_teacher_score"
    return None
