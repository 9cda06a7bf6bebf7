"""A full disk: Edge writes through memory maps, where it would be the death of the process (SIGBUS), not an error."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores import open_store
from tests.faults.conftest import Case, Child
from tests.support.collections import assert_holds, documents
from tests.support.encoders import HashingEncoder


def _mount(*arguments: str) -> bool:
    return os.geteuid() == 0 and subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or not _mount("-t", "tmpfs", "-o", "size=36m", "tmpfs", str(folder)):
        pytest.skip("mounting a small tmpfs needs root and the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_real_full_disk_is_an_error_and_the_run_goes_on_later(small_disk: Path, child: Callable[..., Child]) -> None:
    case = Case(small_disk, 8000)
    process = child("ingest", case.folder)
    said, shown = process.communicate(timeout=120)
    assert process.returncode == 74, (process.returncode, said, shown)
    assert "free some space and run it again" in said
    assert 0 < case.position() < case.lines
    assert _mount("-o", "remount,size=300m", str(small_disk))
    case.finish()


def test_a_full_disk_in_mid_ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    free = iter([*[10**10] * 8, *[10**6] * 1000])
    with open_store(f"edge:{tmp_path / 'index'}", encoder=HashingEncoder()) as store:
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=next(free)))
            with pytest.raises(errors.StoreWriteError, match="MiB are free"):
                ingest(documents(1000), store, max_batch_documents=50, checkpoint=tmp_path / "checkpoint")
        assert store.count() == 400
        assert ingest(documents(1000), store, checkpoint=tmp_path / "checkpoint").resumed_at == 400
        assert_holds(store, documents(1000))


def test_no_room_to_create_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(errors.StoreWriteError, match="only 1 MiB are free"):
        open_store(f"edge:{tmp_path / 'index'}", encoder=HashingEncoder())
    assert not list((tmp_path / "index").iterdir())


def test_a_refused_checkpoint_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from splade_ptbr_connectors import atomic as files

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with open_store(f"edge:{tmp_path / 'index'}", encoder=HashingEncoder()) as store:
        monkeypatch.setattr(files.os, "fsync", full)
        with pytest.raises(errors.IngestError, match=r"cannot write the checkpoint .*No space left on device"):
            ingest(documents(10), store, checkpoint=tmp_path / "checkpoint")
        assert store.count() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]
