"""The best passage of each document: exact, since a search finds all that tie with its last hit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...vectors import SparseVector
from ..passages import Spread
from .contents import Contents
from .filters import Passing

Best = tuple[float, str, int, int]  # score times -1, document id, number of the passage, number of the document in the database


def best_passages(contents: Contents, query: SparseVector, top_k: int, passing: Passing | None, spread: Spread | None) -> list[Best]:
    """The top_k documents by their best passage, or without a spread the top_k passages; ties by document id, then by number."""
    wanted = top_k if spread is None else spread.first(top_k)
    while True:
        found = contents.hit_rows(query, wanted, passing)
        scores, places = found.all_scores, contents.places_of(found)
        heads = contents.numbers_of(found) - places
        chosen = np.arange(len(scores)) if spread is None else _first_of_each(heads, scores, places)
        if len(chosen) >= top_k or len(scores) < wanted:
            break
        wanted *= 2
    chosen = _top(chosen, scores, top_k)
    if spread is not None and len(chosen):
        spread.learn(len(chosen), int(np.count_nonzero(scores >= scores[chosen].min())))
    _, ids, _ = contents.results(found.only(chosen))
    return sorted(zip((-scores[chosen]).tolist(), ids, places[chosen].tolist(), heads[chosen].tolist(), strict=True))[:top_k]


def _first_of_each(heads: NDArray[np.int64], scores: NDArray[np.float64], places: NDArray[np.int32]) -> NDArray[np.int64]:
    """The hit of each document that has the largest score, the first passage of several."""
    order = np.lexsort((places, -scores))
    return order[np.unique(heads[order], return_index=True)[1]]


def _top(chosen: NDArray[np.int64], scores: NDArray[np.float64], top_k: int) -> NDArray[np.int64]:
    """The best top_k and all that tie with the last of them, in ascending order."""
    if len(chosen) > top_k:
        least = np.partition(scores[chosen], len(chosen) - top_k)[len(chosen) - top_k]
        chosen = chosen[scores[chosen] >= least]
    return np.sort(chosen)
