"""Hits as engines give them, turned into Found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.engines.base import Found


def found(rows: Sequence[int] | Iterable[int], scores: Sequence[float] | Iterable[float]) -> Found:
    """Rows and scores of hits, best first."""
    return Found(np.array(list(rows), np.int64), np.array(list(scores), np.float64))


NOTHING = found((), ())
