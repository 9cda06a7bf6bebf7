"""Passages in the edge store: sealed and opened again, repaired, and altered on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from splade_ptbr_connectors.errors import StoreCorruptError
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.edge import repair
from splade_ptbr_connectors.stores.edge import store as edge_store
from splade_ptbr_connectors.stores.passages import tails
from tests.support.encoders import HashingEncoder
from tests.support.interrupted import of_length, state

ENCODER = HashingEncoder(vocab_size=24)


def test_closed_and_opened_again(tmp_path: Path) -> None:
    url = f"edge:{tmp_path}/store"
    for count in (3, 1, 9):
        with open_store(url, encoder=ENCODER) as store:
            store.upsert_vectors([of_length(count, 1.0)])
            store.finish_loading()
        with open_store(url, encoder=ENCODER) as store:
            assert state(store) == of_length(count, 1.0) and store.info()["points"] == count


def test_a_store_without_long_documents_says_nothing_of_them(tmp_path: Path) -> None:
    with open_store(f"edge:{tmp_path}/store", encoder=ENCODER) as store:
        store.upsert_vectors([of_length(1, 1.0)])
    sidecar = (tmp_path / "store" / "splade-store.json").read_text()
    assert '"passages": true' not in sidecar
    with open_store(f"edge:{tmp_path}/store", encoder=ENCODER) as store:
        store.upsert_vectors([of_length(2, 1.0)])
    assert '"passages": true' in (tmp_path / "store" / "splade-store.json").read_text()


def test_a_repair_leaves_out_documents_of_which_a_passage_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next ingest would take what is left of them for unchanged."""
    url, place = f"edge:{tmp_path}/store", tmp_path / "store"
    with open_store(url, encoder=ENCODER) as store:
        store.upsert_vectors([of_length(4, 1.0)._replace(doc_id="whole"), of_length(1, 1.0)._replace(doc_id="short")])
        with monkeypatch.context() as patch:
            patch.setattr(edge_store, "tails", lambda *arguments: tails(*arguments)[:-1])
            store.upsert_vectors([of_length(5, 2.0)])
        with pytest.raises(StoreCorruptError, match="'a'"):
            store.get(["a"])
    config = place / "shard" / "edge_config.json"
    config.write_text(config.read_text() + " ")
    done = repair(place)
    assert done.documents == 2
    with open_store(url, encoder=ENCODER) as store:
        assert store.count() == 2 and sorted(entry.doc_id for entry in store.scan()) == ["short", "whole"]
        assert len(store.get(["whole"])["whole"].passages) == 4
        store.upsert_vectors([of_length(5, 2.0)])
        assert store.get(["a"])["a"] == of_length(5, 2.0)
