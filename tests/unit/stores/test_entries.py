"""What a store is handed: copied and checked, unless it comes as a checked copy."""

from __future__ import annotations

import re
from typing import Any

import pytest

from splade_ptbr_connectors.errors import ConfigError, InputError, RecordError, VectorError
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores.base import CheckedEntry, Entry, EntryPassage, Hit, Place
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


OTHER = SparseVector([2], [1.0])
FIRST, SECOND = EntryPassage(0, 0, 1, VECTOR), EntryPassage(1, 1, 2, OTHER)


@pytest.mark.parametrize(
    ("passages", "message"),
    [
        (5, "passages of 'a' are 5"),
        (True, "passages of 'a' are True"),
        ("ab", "passages of 'a' are 'ab'"),
        ([(0, 0), (1, 1)], "must be a list of"),
        ([{"start": 0, "end": 1}] * 2, "must be a list of"),
        ((passage for passage in (FIRST, SECOND)), "must be a list of"),
        ([FIRST, (1, 1, 2, {"2": 1.0})], "vector of passage 1 of 'a' is dict"),
        ([FIRST, SECOND._replace(end=10**12)], "0 <= start < end <= "),
        ([FIRST, SECOND._replace(end=2**70)], "0 <= start < end <= "),
        ([FIRST, SECOND._replace(start=-1)], "0 <= start < end <= "),
        ([FIRST, SECOND._replace(start=1.0)], "0 <= start < end <= "),
        ([FIRST, SECOND._replace(number=7)], "numbered from 0"),
        ([SECOND._replace(number=0), FIRST._replace(number=1)], "not that of its first passage"),
        ([FIRST] * 65_537, "has 65,537 passages"),
    ],
)
def test_passages_that_are_none_are_refused_one_by_one(passages: Any, message: str) -> None:
    store, bad = MemoryStore(HashingEncoder(vocab_size=5)), Entry("a", VECTOR, {}, None, None, passages)
    with pytest.raises(InputError, match=message):
        store.load([Entry("b", VECTOR), bad])
    assert not store.entries
    report = ingest([Entry("b", VECTOR), bad], store)
    assert report.rejected == 1 and re.search(message, str(report.rejections[0]["reason"]))
    assert list(store.entries) == ["b"]


def test_no_passages_are_none_however_they_are_written() -> None:
    store = MemoryStore(HashingEncoder(vocab_size=5))
    for passages in (None, (), [], [FIRST], (FIRST,)):
        store.load([Entry("a", VECTOR, {}, None, None, passages)])  # type: ignore[arg-type]
        assert store.entries["a"].passages == ()


def test_an_integer_is_told_under_which_id_it_is_stored() -> None:
    store = MemoryStore(HashingEncoder())
    with pytest.raises(RecordError, match="ids are strings; ingest stores this one as '1'"):
        store.get([1])  # type: ignore[list-item]


def test_numbers_too_long_to_be_written_out_are_refused_as_others_are() -> None:
    store = MemoryStore(HashingEncoder())
    for arguments in (
        {"top_k": 10**5000},
        {"best": 10**5000},
        {"min_score": 10**5000},
        {"min_score": 10**400},
        {"min_score": float("nan")},
    ):
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            store.search("prazo", **arguments)  # type: ignore[arg-type]


def test_a_hit_is_printed_in_one_short_line() -> None:
    hit = Hit("a" * 512, 1.5, {"title": "Lei\n", "text": "palavra " * 10_000}, Place(3, [(0, 1)] * 1000))
    assert f"doc_id='{'a' * 512}', score=1.5" in repr(hit) and len(repr(hit)) < 800 and "\n" not in str(hit)
