"""Fields of a payload that are called as parts of a record: kept beside the parts wherever a record is written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.ingestion.items import Item, ReadyVectors, read_items
from splade_ptbr_connectors.records import Record
from splade_ptbr_connectors.sources import open_source
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, EntryPassage
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

VECTORS = [SparseVector([1, 7], [0.5, 2.0]), SparseVector([2], [1.0])]
SPANS = tuple([EntryPassage(n, 2 * n, 2 * n + 2, vector) for n, vector in enumerate(VECTORS)])
FINGERPRINT = HashingEncoder().fingerprint
values = st.sampled_from(
    [
        "meu",
        ["meu"],
        {"1": 0.25},
        {"indices": [3], "values": [1.0]},
        [0.5],
        None,
        [{"start": 0, "end": 1, "vector": {"9": 1.0}}],
        FINGERPRINT,
    ]
)
payloads = st.dictionaries(st.sampled_from(["vector", "dense", "passages", "fingerprint", "id", "doc_id", "subject"]), values).map(
    lambda fields: {"text": "abcdef", **fields}
)
entries = st.builds(
    Entry, st.just("a"), st.just(VECTORS[0]), payloads, st.none(), st.sampled_from([None, (0.5, 1.0)]), st.sampled_from([(), SPANS])
)


def read(raw: Any, vocab_size: int = 100) -> Item:
    [item] = read_items([raw], ReadyVectors(vocab_size, FINGERPRINT))
    return item


def kept(item: Item) -> Any:
    """The record as the dead-letter file has it."""
    return json.loads(item.dead_letter_line)["record"]


@given(entries)
def test_a_rejected_entry_is_read_again_as_it_was(entry: Entry) -> None:
    refused, valid = read(entry, vocab_size=1), read(entry)
    assert "outside the vocabulary" in refused.reason
    before = valid.to_entry()
    assert (before.payload, before.dense, before.passages) == (entry.payload, entry.dense, entry.passages)
    valid.reject("refused by the store")
    for record in (kept(refused), kept(valid)):
        assert read(record).to_entry() == before


def test_a_payload_with_the_stores_own_name_is_kept_beside_the_id() -> None:
    refused = read(("a", VECTORS[0], {"_id": "mine", "text": "x"}))
    assert "has the field '_id'" in refused.reason and kept(refused)[0] == "a" and kept(refused)[2]["_id"] == "mine"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (["a", {"1": 1.0}, {"text": "abc"}, None, None, [[0, 0, 1]]], "passages of 'a' are"),
        (["a", {"1": 1.0}, {"text": "abc"}, None, None, [[0, 0, 1, "x"], [1, 1, 2, {"1": 1.0}]]], "passage 0 of 'a' is str"),
        (["a", {"um": 1.0}, {"text": "abc"}], "term id"),
        (["a", "texto"], "it must be a SparseVector"),
        (["a", {"1": 1.0}, {"text": "abc"}, None, "x"], '"dense"'),
        (("a", VECTORS[0], {"text": "abc"}, None, 3.5), '"dense"'),
    ],
)
def test_what_is_wrong_with_a_list_stays_so(raw: Any, message: str) -> None:
    item = read(raw)
    assert message in item.reason
    assert kept(item) == raw or isinstance(raw, tuple)


def test_the_dead_letters_of_a_run_are_an_input(tmp_path: Path) -> None:
    """Long documents with a field of the user's called "passages", from one store into another that refuses some."""
    text = " ".join(f"palavra{n}" for n in range(100))
    passages: dict[str, Any] = {"passage_tokens": 20, "overlap": 0}
    with open_store(f"edge:{tmp_path}/first", encoder=HashingEncoder(), passages=passages) as first:
        ingest([{"_id": f"lei{n}", "text": text, "passages": ["meu", n], "vector": None} for n in range(3)], first)
        scanned = sorted(first.scan())
    assert all(len(entry.passages) > 1 for entry in scanned)
    with open_store(f"edge:{tmp_path}/whole", encoder=HashingEncoder(), passages=False) as whole:
        assert ingest(scanned, whole, dead_letter=tmp_path / "dead.jsonl").rejected == 3
    again = tmp_path / "again.jsonl"
    again.write_text("".join(json.dumps(json.loads(line)["record"]) + "\n" for line in (tmp_path / "dead.jsonl").read_text().splitlines()))
    with open_store(f"edge:{tmp_path}/second", encoder=HashingEncoder(), passages=passages) as second:
        assert ingest(open_source(str(again)), second).rejected == 0
        found = sorted(second.scan())
    assert [(each.doc_id, each.payload, each.passages) for each in found] == [
        (each.doc_id, each.payload, each.passages) for each in scanned
    ]


def test_a_text_record_keeps_its_fields() -> None:
    [item] = read_items([Record("a", "", "texto", {"passages": ["meu"], "vector": "meu"})])
    item.reject("x")
    assert kept(item) == {"_id": "a", "title": "", "text": "texto", "passages": ["meu"], "vector": "meu"}
