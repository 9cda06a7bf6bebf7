"""Batches of a stream: everything once, in order, and nothing read ahead."""

from __future__ import annotations

from itertools import chain, count

from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.batches import batched


@given(st.lists(st.integers()), st.integers(1, 10))
def test_batches_hold_every_item_once_in_order(items: list[int], size: int) -> None:
    batches = list(batched(items, size))
    assert list(chain.from_iterable(batches)) == items
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert not batches or 0 < len(batches[-1]) <= size


def test_no_more_is_read_than_was_asked_for() -> None:
    numbers = count()
    assert next(batched(numbers, 3)) == [0, 1, 2]
    assert next(numbers) == 3
