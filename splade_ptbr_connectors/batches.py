"""Streams a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items in their order, the last one of fewer; no more is read than has been asked for."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
