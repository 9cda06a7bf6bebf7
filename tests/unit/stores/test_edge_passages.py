"""Passages in the edge store: sealed and opened again, repaired, and altered on the disk."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors.errors import StoreCorruptError
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.edge import repair
from splade_ptbr_connectors.stores.edge import write as edge_write
from splade_ptbr_connectors.stores.edge.checks import with_check
from splade_ptbr_connectors.stores.passages import tails
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.interrupted import EVERY_TERM, of_length, state

ENCODER = HashingEncoder(vocab_size=24)


def test_closed_and_opened_again(tmp_path: Path) -> None:
    url = f"edge:{tmp_path}/store"
    for count in (3, 1, 9):
        with open_store(url, encoder=ENCODER) as store:
            store.upsert_vectors([of_length(count, 1.0)])
            store.finish_loading()
        with open_store(url, encoder=ENCODER) as store:
            assert state(store) == of_length(count, 1.0) and store.info()["points"] == count


def test_a_search_shows_a_document_as_it_was_when_it_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread replaces it between the calls of the engine that a search makes."""
    with open_store(f"edge:{tmp_path}/store", encoder=ENCODER, settings={"dense_size": 1}) as store:
        versions = (of_length(count, float(weight))._replace(dense=(1.0,)) for weight, count in enumerate((9, 1, 3, 2) * 5, 1))
        store.upsert_vectors([next(versions)])
        heads, writers = store._heads, list[threading.Thread]()  # type: ignore[attr-defined]

        def while_written(*arguments: Any) -> Any:
            writers.append(threading.Thread(target=store.upsert_vectors, args=[[next(versions)]]))
            writers[-1].start()
            writers[-1].join(0.05)  # as far as it gets
            return heads(*arguments)

        monkeypatch.setattr(store, "_heads", while_written)
        for search in (
            lambda: store.search(EVERY_TERM, 1),
            lambda: store.search(EVERY_TERM, 9, group=False),
            lambda: store.search_hybrid(EVERY_TERM, [1.0], 1),
        ):
            held = store.get(["a"])["a"]
            hit = search()[0]
            assert hit.payload == held.payload and hit.passage.number < len(hit.passages()) == len(held.vectors)
            for writer in writers:
                writer.join()
            assert store.get(["a"])["a"] != held


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
            patch.setattr(edge_write, "tails", lambda *arguments: tails(*arguments)[:-1])
            store.upsert_vectors([of_length(5, 2.0)])
        with pytest.raises(StoreCorruptError, match="'a'"):
            store.get(["a"])
    spoil(place)
    done = repair(place)
    assert done.documents == 2
    with open_store(url, encoder=ENCODER) as store:
        assert store.count() == 2 and sorted(entry.doc_id for entry in store.scan()) == ["short", "whole"]
        assert len(store.get(["whole"])["whole"].passages) == 4
        store.upsert_vectors([of_length(5, 2.0)])
        assert store.get(["a"])["a"] == of_length(5, 2.0)


def spoil(place: Path) -> None:
    """Let the store open no more, without damage to a document."""
    config = place / "shard" / "edge_config.json"
    config.write_text(config.read_text() + " ")


def test_a_repair_leaves_nothing_of_documents_whose_head_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, place = f"edge:{tmp_path}/store", tmp_path / "store"

    def damaged(point: str, stored: dict[str, Any], vector: SparseVector) -> dict[str, Any]:
        return with_check(point, stored, vector) | ({"_check": 0} if "_passages" in stored else {})

    with open_store(url, encoder=ENCODER) as store:
        monkeypatch.setattr(edge_write, "with_check", damaged)
        store.upsert_vectors([of_length(5, 2.0)])
    spoil(place)
    assert repair(place)[::2] == (0, 1)
    with open_store(url, encoder=ENCODER) as store:
        assert state(store) is None and store.info()["points"] == 0
