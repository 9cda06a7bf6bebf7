"""A vector that the engine cannot digest poisons its log: a typed error, and a repair that brings the documents back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.edge import repair
from splade_ptbr_connectors.stores.edge import write as edge_module
from splade_ptbr_connectors.vectors import SparseVector
from tests.faults.child import INDEX
from tests.faults.conftest import Case, Child
from tests.support.collections import assert_holds, documents
from tests.support.encoders import HashingEncoder


def test_a_poisoned_log_is_typed_and_repaired(case: Case, child: Callable[..., Child]) -> None:
    case.finish()
    said, _ = child("poison", case.folder).communicate(timeout=120)
    assert said == "PanicException\n"
    for _ in range(2):
        with pytest.raises(errors.StoreCorruptError, match=r"is not as it was left: shard/.* has changed; repair it .*repair\(path\)"):
            open_store(case.url, encoder=HashingEncoder())
    done = repair(case.folder / INDEX)
    assert done.documents == len(case.expected)
    assert done.set_aside and done.set_aside.is_dir() and done.set_aside.name == "shard.set-aside-1"
    with open_store(case.url, encoder=HashingEncoder()) as store:
        assert_holds(store, case.expected)
        assert ingest(case.expected, store).unchanged == len(case.expected)
    assert repair(case.folder / INDEX) == (len(case.expected), None, 0)


def test_a_panic_under_an_open_handle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def malformed(vector: SparseVector) -> Any:
        return qdrant_edge.SparseVector([1, 2], [1.0])

    url = f"edge:{tmp_path / INDEX}"
    store = open_store(url, encoder=HashingEncoder())
    ingest(documents(100), store)
    with monkeypatch.context() as patched:
        patched.setattr(edge_module, "to_edge_vector", malformed)
        with pytest.raises(errors.StoreCorruptError, match="asked to write"):
            ingest(documents(10, start=100), store, checkpoint=tmp_path / "checkpoint")
    with pytest.raises(errors.StoreClosedError):
        store.search("imposto")
    store.close()
    with pytest.raises(errors.StoreCorruptError, match="asked to open"):
        open_store(url, encoder=HashingEncoder())
    assert repair(tmp_path / INDEX).documents == 100
    with open_store(url, encoder=HashingEncoder()) as store:
        ingest(documents(110), store)
        assert_holds(store, documents(110))


def test_repair_touches_stores_only(tmp_path: Path) -> None:
    (tmp_path / "shard" / "wal").mkdir(parents=True)
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(errors.StoreNotFoundError, match="nothing to repair"):
            repair(path)
    with open_store(f"edge:{tmp_path / INDEX}", encoder=HashingEncoder()), pytest.raises(errors.StoreLockedError):
        repair(tmp_path / INDEX)
    with open_store(f"edge:{tmp_path / INDEX}", encoder=HashingEncoder()) as store:
        assert store.count() == 0


@pytest.mark.parametrize("damage", ["log", "segment"])
def test_damaged_files(case: Case, damage: str) -> None:
    case.finish()
    shard = case.folder / INDEX / "shard"
    damaged = shard / "wal" / "first-index" if damage == "log" else next(shard.glob("segments/*/segment.json"))
    damaged.write_bytes(damaged.read_bytes()[:3])
    before = sorted(path.name for path in shard.iterdir())
    with pytest.raises(errors.StoreCorruptError, match=f"shard/{damaged.relative_to(shard)} has changed") as caught:
        open_store(case.url, encoder=HashingEncoder())
    assert "\n" not in str(caught.value)
    if damage == "log":
        assert repair(case.folder / INDEX).documents == len(case.expected)
        case.finish()
    else:
        with pytest.raises(errors.StoreCorruptError):
            repair(case.folder / INDEX)
        assert sorted(path.name for path in shard.iterdir()) == before
