"""Comparing batches, and sending them to other processes."""

from __future__ import annotations

import pickle
from typing import TypeVar, cast

import numpy as np

from training.data.batches import Batch

T = TypeVar("T")


def same_batch(one: Batch, other: Batch) -> bool:
    """Whether two batches are the same to the last bit."""
    texts = (one.source, one.queries, one.documents) == (other.source, other.queries, other.documents)
    matrices = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("positive", "relevant", "own"))
    if one.teacher is None or other.teacher is None:
        return texts and matrices and one.teacher is other.teacher
    return texts and matrices and one.teacher.tobytes() == other.teacher.tobytes()


def travelled(source: T) -> T:
    """A source as another process gets it."""
    return cast(T, pickle.loads(pickle.dumps(source)))  # noqa: S301 - our own bytes
