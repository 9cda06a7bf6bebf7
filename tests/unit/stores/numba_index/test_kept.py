"""Compiled kernels on the disk: used by the next process, never if a bit of them is wrong, never a reason to fail."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splade_ptbr_connectors.stores.numba import kept
from splade_ptbr_connectors.stores.numba.addresses import memory, to_read
from splade_ptbr_connectors.stores.numba.compiled import compiled, numba


def total(numbers: Any) -> Any:
    values, whole = memory(numbers), 0.0
    for place in range(len(numbers)):
        whole += values[place]
    return whole


NUMBERS = to_read(np.arange(100.0))
RIGHT = 4950.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kernels"))
    kept._warn.cache_clear()
    yield tmp_path / "kernels"
    kept._warn.cache_clear()


def used() -> bool:
    """Whether a kernel as a new process makes it was found compiled; it gives the right result in any case."""
    kernel: Any = compiled(total)
    assert kernel(NUMBERS) == RIGHT
    return bool(kernel.stats.cache_hits)


def file_of(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_a_kernel_is_compiled_once(folder: Path) -> None:
    assert [used() for _ in range(3)] == [False, True, True]
    assert file_of(folder).suffix == ".kernel"


@pytest.mark.parametrize("where", [0, 0.0005, 0.3, 0.6, 0.999, "half of it", "nothing"])
def test_a_damaged_file_is_told_compiled_anew_and_mended(folder: Path, where: Any, caplog: pytest.LogCaptureFixture) -> None:
    used()
    path = file_of(folder)
    whole = path.read_bytes()
    if isinstance(where, str):
        path.write_bytes(whole[: len(whole) // 2] if where == "half of it" else b"")
    else:
        changed = bytearray(whole)
        changed[int(where * len(whole))] ^= 4
        path.write_bytes(changed)
    assert not used()
    assert [record.getMessage() for record in caplog.records] == [f"{path} is damaged: it is compiled anew"]
    assert used()


def test_another_version_of_a_kernel_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used()
    monkeypatch.setattr(kept, "_sources", lambda: "others")
    assert not used()
    assert len(list(folder.iterdir())) == 2


def test_a_processor_with_other_instructions_gets_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    used()
    codegen = type(compiled(total).targetctx.codegen())  # type: ignore[attr-defined]
    monkeypatch.setattr(codegen, "magic_tuple", lambda self: ("another",))
    assert not used()


def test_where_nothing_can_be_written_kernels_work_and_it_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file" / "kernels"))
    assert not used() and not used()
    (message,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "set NUMBA_CACHE_DIR" in message


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder beside the package, of one that lies elsewhere, and a user's cache folder; NUMBA_CACHE_DIR is not set."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(kept, "__file__", str(tmp_path / "package" / "kept.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return tmp_path / "package" / "__pycache__"


def test_kernels_are_kept_beside_the_package(package: Path) -> None:
    assert not used() and used()
    assert file_of(package)


@pytest.mark.skipif(kept.appdirs.system != "linux", reason="the user's cache folder is named by a variable there")
def test_else_in_the_users_folder(package: Path, tmp_path: Path) -> None:
    package.parent.touch()  # no folder, so that nothing can be written there, not even by root
    assert not used() and used()
    assert file_of(tmp_path / "user" / "splade_ptbr_connectors")


def test_what_an_administrator_compiled_is_used_by_those_who_cannot_write(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used()

    def refuse(path: Path, content: bytes) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(kept, "_write", refuse)
    assert used()


def test_without_a_home_nothing_is_written_into_the_working_folder(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package.parent.touch()
    monkeypatch.setattr(kept.appdirs.AppDirs, "user_cache_dir", "~/.cache/splade_ptbr_connectors")
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    assert not used()
    assert not list((tmp_path / "working").iterdir())
    assert "set NUMBA_CACHE_DIR" in caplog.text


def _use(folder: str) -> None:
    numba.config.CACHE_DIR = folder
    used()


def test_processes_that_compile_at_the_same_time_leave_one_whole_file(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_use, args=(str(folder),)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert file_of(folder) and used()
