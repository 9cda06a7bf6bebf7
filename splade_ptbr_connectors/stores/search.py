"""The arguments of a search, checked, and what is left of its hits by `min_score`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..validation import check
from ..vectors import SparseVector
from .entries import Filter, Hit, HybridSearch, ParsedFilter, check_dense, check_prefetch, check_top_k, parsed
from .fusion import check_fusion

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder


def checked_search(
    encoder: Encoder, query: str | SparseVector, top_k: int, filter: Filter | None, min_score: float | None, group: bool = True
) -> tuple[SparseVector, ParsedFilter]:
    """Vector and filter of a search. Raises ConfigError, TextError, VectorError."""
    check_top_k("top_k", top_k)
    check_min_score(min_score)
    check("group", group, bool)
    vector = query if isinstance(query, SparseVector) else encoder.encode_query(query)
    vector.check_vocabulary(encoder.vocab_size)
    return vector, parsed(filter)


def checked_hybrid(
    encoder: Encoder,
    query: str | SparseVector,
    dense: Sequence[float],
    top_k: int,
    prefetch: int | None,
    dense_weight: float | None,
    rrf_k: int | None,
    filter: Filter | None,
    min_score: float | None,
) -> HybridSearch:
    """The same of a hybrid search."""
    vector, conditions = checked_search(encoder, query, top_k, filter, min_score)
    depth, fusion = check_prefetch(top_k, prefetch), check_fusion(dense_weight, rrf_k)
    return HybridSearch(vector, check_dense(dense), top_k, depth, fusion, conditions)


def check_min_score(min_score: object) -> None:
    """Raise ConfigError for what no score can be compared with."""
    if min_score is None:
        return
    if isinstance(min_score, bool) or not isinstance(min_score, int | float) or not math.isfinite(min_score):
        raise ConfigError(f"min_score is {min_score!r:.80}: it must be a finite number, or None for no limit.")


def at_least(hits: list[Hit], min_score: float | None) -> list[Hit]:
    """Without the hits below this score. The best top_k above it are the ones above it of the best top_k: nothing is lost by the order."""
    return hits if min_score is None else [hit for hit in hits if hit.score >= min_score]
