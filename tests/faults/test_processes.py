"""Two processes, one store; folders without permission."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.vectors import SparseVector
from tests.faults.child import INDEX
from tests.faults.conftest import Case, Child
from tests.support.encoders import HashingEncoder

VECTOR = SparseVector([1], [1.0])


def test_a_store_belongs_to_one_process_at_a_time(case: Case, child: Callable[..., Child]) -> None:
    holder = child("hold", case.folder)
    assert holder.stdout and holder.stdout.readline() == "ready\n"
    with pytest.raises(errors.StoreLockedError, match="in use by another process"):
        open_store(case.url, encoder=HashingEncoder())
    second = child("ingest", case.folder)
    assert second.wait(120) == 75
    assert second.stdout and second.stdout.readline().startswith("StoreLockedError")
    holder.kill()  # the lock dies with its holder
    holder.wait()
    case.finish()


@pytest.mark.parametrize("existing", [True, False])
def test_a_folder_that_may_not_be_written(tmp_path: Path, child: Callable[..., Child], existing: bool) -> None:
    if existing:
        with open_store(f"edge:{tmp_path / INDEX}", encoder=HashingEncoder()) as store:
            store.upsert_vectors([("old", VECTOR)])
    folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in (*files, *folders):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        process = child("open", tmp_path)
        said, shown = process.communicate(timeout=120)
    finally:
        for path in folders:
            path.chmod(0o755)
        for path in files:
            path.chmod(0o644)
    assert process.returncode == 74, shown
    assert said.startswith("StoreWriteError: cannot ") and said.count("\n") == 1
    assert "ermission" in said
    if existing:
        with open_store(f"edge:{tmp_path / INDEX}", encoder=HashingEncoder()) as store:
            assert list(store.get(["old", "new"])) == ["old"]
    else:
        assert not os.listdir(tmp_path)
