"""What a store is handed: copied and checked, unless it comes as a checked copy."""

from __future__ import annotations

import pytest

from splade_ptbr_connectors.errors import RecordError, VectorError
from splade_ptbr_connectors.stores.base import CheckedEntry, Entry
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore

VECTOR = SparseVector([1], [1.0])


def test_a_payload_is_copied_once_and_a_checked_copy_never() -> None:
    store, payload = MemoryStore(HashingEncoder()), {"deep": {"n": 1}}
    store.load([Entry("mine", VECTOR, payload), CheckedEntry("checked", VECTOR, payload)])
    assert store.entries["checked"].payload is payload
    assert store.entries["mine"].payload == payload
    assert store.entries["mine"].payload["deep"] is not payload["deep"]


def test_all_but_the_payload_of_a_checked_entry_is_checked() -> None:
    store = MemoryStore(HashingEncoder(vocab_size=5))
    for bad, error in ((CheckedEntry("", VECTOR), RecordError), (CheckedEntry("a", SparseVector([5], [1.0])), VectorError)):
        with pytest.raises(error):
            store.load([bad])
    assert not store.entries
