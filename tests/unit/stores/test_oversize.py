"""Batches that are more than a server takes: nothing is lost, nothing doubled, and the later of two documents wins."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import StoreError, StoreRequestTooLargeError, StoreUnavailableError
from splade_ptbr_connectors.stores.base import Entry, Refusal
from splade_ptbr_connectors.stores.calls import drive
from splade_ptbr_connectors.stores.oversize import batched_by_bytes, load_in_halves
from splade_ptbr_connectors.vectors import SparseVector

Loading = Generator[Sequence[Entry], list[Refusal], list[Refusal]]


class RejectedError(StoreError):
    reason = "the server's own word"


def loading(entries: Sequence[Entry]) -> Loading:
    return (yield entries)


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40), st.integers(1, 40), st.sets(st.sampled_from("abcdef")))
def test_a_batch_is_halved_down_to_the_documents_at_fault(doc_ids: list[str], limit: int, bad: set[str]) -> None:
    entries = [Entry(doc_id, SparseVector([1], [1.0]), {"n": n}) for n, doc_id in enumerate(doc_ids)]
    stored: dict[str, Any] = {}

    def load(part: Sequence[Entry]) -> list[Refusal]:
        if len(part) > limit:
            raise StoreRequestTooLargeError("too large")
        if bad & {entry.doc_id for entry in part}:
            raise RejectedError("rejected")
        stored.update({entry.doc_id: entry.payload["n"] for entry in part})
        return []

    refusals = drive(load_in_halves(entries, loading, (StoreRequestTooLargeError, RejectedError)), load)
    assert refusals == [Refusal(doc_id, "the server's own word") for doc_id in doc_ids if doc_id in bad]
    assert stored == {doc_id: n for n, doc_id in enumerate(doc_ids) if doc_id not in bad}


def test_another_error_ends_it() -> None:
    def load(part: Sequence[Entry]) -> list[Refusal]:
        raise StoreUnavailableError("gone")

    with pytest.raises(StoreUnavailableError):
        drive(load_in_halves([Entry("a", SparseVector([], []))] * 2, loading), load)


@given(st.lists(st.integers(1, 50)), st.integers(1, 60))
def test_batches_by_bytes_keep_everything_in_order_and_are_as_large_as_they_may_be(sizes: list[int], limit: int) -> None:
    batches = list(batched_by_bytes(sizes, lambda size: size, limit))
    assert [size for batch in batches for size in batch] == sizes
    assert all(batch and (len(batch) == 1 or sum(batch) <= limit) for batch in batches)
    assert all(sum(one) + following[0] > limit for one, following in itertools.pairwise(batches))
