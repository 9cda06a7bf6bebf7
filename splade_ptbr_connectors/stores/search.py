"""The arguments of a search, checked, and what is left of its hits by `min_score`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ..errors import ConfigError
from ..strict import of_numpy, shown
from ..validation import check
from ..vectors import SparseVector
from .entries import Filter, Hit, HybridSearch, ParsedFilter, Search, check_dense, check_prefetch, check_top_k, parsed
from .fusion import check_fusion
from .passages import TEXT_FIELD, asks_for_text

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder

LARGEST = sys.float_info.max
Best = Annotated[int, Field(ge=1, le=100, strict=True)]


def checked_search(
    encoder: Encoder,
    query: str | SparseVector,
    top_k: int,
    filter: Filter | None,
    min_score: float | None,
    with_payload: bool = True,
    group: bool = True,
    best: int = 1,
) -> Search:
    """The search that is meant. Raises ConfigError, TextError, VectorError."""
    check_top_k("top_k", top_k)
    check_min_score(min_score)
    check("group", group, bool)
    conditions = parsed(filter)
    check_best(best)
    if best > 1:
        _check_ranks_documents(best, group, conditions)
    vector = query if isinstance(query, SparseVector) else encoder.encode_query(query)
    vector.check_vocabulary(encoder.vocab_size)
    return Search(vector, top_k, conditions, with_payload, group, min_score, best)


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
    sparse = checked_search(encoder, query, top_k, filter, min_score)
    depth, fusion = check_prefetch(top_k, prefetch), check_fusion(dense_weight, rrf_k)
    if min_score is not None and min_score > fusion.largest:
        raise ConfigError(
            f"min_score is {min_score!r}: no score of this hybrid search is above {fusion.largest:.3g}; give less. "
            "Those of a sparse search are dot products, and go further."
        )
    return HybridSearch(sparse.query, check_dense(dense), top_k, depth, fusion, sparse.filter)


def check_best(best: object) -> None:
    """Raise ConfigError for what is no number of passages that a document is ranked by."""
    check("best", best, Best)


def _check_ranks_documents(best: int, group: bool, filter: ParsedFilter) -> None:
    if not group:
        raise ConfigError(f"best is {best!r}, which ranks documents, and passages are to be hits of their own: ask for one of them.")
    if asks_for_text(filter):
        raise ConfigError(
            f"best is {best!r}, and a filter on {TEXT_FIELD!r} finds documents by their first passage alone: leave best at 1, or filter by "
            "other fields."
        )


def check_min_score(min_score: object) -> None:
    """Raise ConfigError for what no score can be compared with."""
    if min_score is None:
        return
    if isinstance(min_score, bool) or not isinstance(min_score, int | float) or not -LARGEST <= min_score <= LARGEST:
        raise ConfigError(f"min_score is {shown(min_score)}: it must be a finite number, or None for no limit{of_numpy(min_score)}.")


def at_least(hits: list[Hit], min_score: float | None) -> list[Hit]:
    """Without the hits below this score. The best top_k above it are the ones above it of the best top_k: nothing is lost by the order."""
    return hits if min_score is None else [hit for hit in hits if hit.score >= min_score]
