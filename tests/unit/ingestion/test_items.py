"""SeenIds and the stream through the encoder."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.ingestion import item_encoder
from splade_ptbr_connectors.ingestion.item_encoder import encode_items
from splade_ptbr_connectors.ingestion.items import Item, read_items
from splade_ptbr_connectors.ingestion.report import MAX_KINDS, IngestCounts, kind_of
from splade_ptbr_connectors.ingestion.seen_ids import SeenIds
from tests.support.encoders import HashingEncoder


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=60))
def test_seen_ids_is_a_dict_of_first_lines(ids: list[str]) -> None:
    seen, expected = SeenIds(), {}
    for line, doc_id in enumerate(ids, 1):
        assert seen.first_line(doc_id, line) == expected.setdefault(doc_id, line)


def test_seen_ids_grows_and_stays_small() -> None:
    seen = SeenIds()
    for n in range(20_000):
        assert seen.first_line(f"document/{n}", n + 1) == n + 1
    assert all(seen.first_line(f"document/{n}", 99_999) == n + 1 for n in range(0, 20_000, 37))
    assert sys.getsizeof(seen._keys) + sys.getsizeof(seen._lines) <= 20_000 * 16 * 3.3


@given(
    st.lists(st.sampled_from(["ok", "bad", "unchanged", "long"]), max_size=80),
    st.integers(1, 9),
    st.integers(1, 20),
)
def test_items_come_out_in_order_whatever_the_window(kinds: list[str], window: int, max_waiting: int) -> None:
    texts = {"ok": "um dois", "unchanged": "três", "long": "quatro " * 9, "bad": ""}
    encoder = HashingEncoder(window=window, max_words=5)

    def items() -> Iterator[Item]:
        for kind, item in zip(kinds, read_items({"_id": str(n), "text": texts[kind]} for n, kind in enumerate(kinds)), strict=True):
            if kind == "unchanged":
                item.record = None
            yield item

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(item_encoder, "MAX_WAITING", max_waiting)
        passed = list(encode_items(items(), encoder.encode_documents))
    assert [item.line for item in passed] == list(range(1, len(kinds) + 1))
    assert [item.vector is not None for item in passed] == [kind == "ok" for kind in kinds]
    assert [bool(item.reason) for item in passed] == [kind in ("bad", "long") for kind in kinds]


def test_waiting_items_are_bounded_when_nothing_needs_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_encoder, "MAX_WAITING", 50)
    taken = 0

    def rejected() -> Iterator[object]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield None

    for passed, _ in enumerate(encode_items(read_items(rejected()), HashingEncoder().encode_documents)):
        assert taken - passed <= 51
    assert taken == 1000


def test_large_texts_end_the_stream_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_encoder, "MAX_WAITING_BYTES", 20_000)
    encoder = HashingEncoder(window=1000)
    records = ({"_id": str(n), "text": "palavra " * 500} for n in range(50))
    assert sum(item.vector is not None for item in encode_items(read_items(records), encoder.encode_documents)) == 50
    assert encoder.most_in_flight <= 6


def test_kinds_of_reasons_are_few() -> None:
    assert kind_of("duplicate _id 'a\\'b', first on line 1,234.") == "duplicate _id …, first on line …."
    counts = IngestCounts()
    for n in range(1000):
        counts.reject("odd reason " + "x" * n)
    assert len(counts.reasons) <= MAX_KINDS + 1
    assert sum(counts.reasons.values()) == counts.rejected == 1000


def test_a_kind_of_reason_keeps_what_is_the_same_in_all_of_them() -> None:
    reason = "line 3 is not UTF-8 (byte 0xE3 at 1,234): iconv -f LATIN1 -t UTF-8; the field 'a b' of type int64 holds -5.5 or 2"
    assert kind_of(reason) == "line … is not UTF-8 (byte … at …): iconv -f LATIN1 -t UTF-8; the field … of type int64 holds -… or …"
