"""Converted data: made once, made again when it no longer fits, never half there."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from splade_ptbr_connectors.errors import InputFileError, TrainingError
from tests.training.data.support import travelled
from training.data.cache import META, ArrayWriter, CachedArrays, open_cached


class Builder:
    """Counts how often it builds."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, writer: ArrayWriter) -> None:
        self.calls += 1
        for block in writer.blocks("file"):
            writer.append("lengths", np.diff(np.concatenate([[-1], block.ends()])))
        writer.append("nothing", np.zeros((0, 3), dtype=np.int32))
        writer.facts["lines"] = len(writer["lengths"])


def opened(folder: Path, build: Builder, **inputs: object) -> CachedArrays:
    return open_cached(folder / "cache", "test", files={"file": folder / "file"}, inputs=inputs, build=build)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("a\nbb\nccc\n", encoding="utf-8")
    return tmp_path


def test_arrays_are_made_once_and_are_memory_mapped(folder: Path) -> None:
    build = Builder()
    first, second = opened(folder, build), opened(folder, build)
    assert build.calls == 1
    assert second["lengths"].tolist() == [2, 3, 4] and second.facts == {"lines": 3}
    assert isinstance(second["lengths"].base, np.memmap) and second["nothing"].shape == (0, 3)
    assert first.sha256 == second.sha256


def test_a_new_date_alone_makes_nothing_again_but_new_content_or_inputs_do(folder: Path) -> None:
    build = Builder()
    first = opened(folder, build)
    os.utime(folder / "file", ns=(5, 5))
    assert opened(folder, build).sha256 == first.sha256 and build.calls == 1
    (folder / "file").write_text("a\nbb\nddd\n", encoding="utf-8")
    os.utime(folder / "file", ns=(6, 6))
    changed = opened(folder, build)
    assert build.calls == 2 and changed.sha256 != first.sha256
    assert opened(folder, build, other="input").sha256 != changed.sha256 and build.calls == 3


def test_the_identity_does_not_depend_on_where_files_lie(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "file").write_bytes((folder / "file").read_bytes())
    assert opened(folder, Builder()).sha256 == opened(elsewhere, Builder()).sha256


@pytest.mark.parametrize("damage", ["truncated", "missing array", "no description", "broken description", "other version"])
def test_a_damaged_cache_is_made_again_and_the_log_says_so(folder: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    build = Builder()
    place = opened(folder, build).folder
    if damage == "truncated":
        os.truncate(place / "lengths", 8)
    elif damage == "missing array":
        (place / "lengths").unlink()
    elif damage == "no description":
        (place / META).unlink()
    elif damage == "broken description":
        (place / META).write_text("{", encoding="utf-8")
    else:
        meta = json.loads((place / META).read_text(encoding="utf-8"))
        (place / META).write_text(json.dumps({**meta, "inputs": {**meta["inputs"], "format": 0}}), encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert opened(folder, build)["lengths"].tolist() == [2, 3, 4]
    assert build.calls == 2 and "made again" in caplog.text


def test_what_fails_half_way_leaves_nothing_and_the_next_start_makes_it(folder: Path) -> None:
    def fail(writer: ArrayWriter) -> None:
        writer.append("lengths", np.zeros(10))
        raise InputFileError("line 3: broken")

    with pytest.raises(InputFileError, match="line 3"):
        open_cached(folder / "cache", "test", files={"file": folder / "file"}, inputs={}, build=fail)
    assert [path.suffix for path in (folder / "cache").iterdir()] == [".lock"]
    assert opened(folder, Builder()).facts == {"lines": 3}


def test_a_full_disk_is_an_error_with_the_folder(folder: Path) -> None:
    def fail(writer: ArrayWriter) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(TrainingError, match="cache cannot be used: No space left on device"):
        open_cached(folder / "cache", "test", files={"file": folder / "file"}, inputs={}, build=fail)


def test_a_cache_folder_that_is_a_file_is_an_error(folder: Path) -> None:
    (folder / "cache").write_text("", encoding="utf-8")
    with pytest.raises(TrainingError, match="cannot be used"):
        opened(folder, Builder())


def _open(folder: str) -> str:
    build = Builder()
    return f"{opened(Path(folder), build)['lengths'].tolist()} {build.calls}"


def test_processes_that_start_together_make_it_once(folder: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.map(_open, [str(folder)] * 6)
    assert sorted(found) == ["[2, 3, 4] 0"] * 5 + ["[2, 3, 4] 1"]


def test_pickling_carries_the_place_and_not_the_content(folder: Path) -> None:
    (folder / "file").write_text("x\n" * 100_000, encoding="utf-8")
    arrays = opened(folder, Builder())
    assert len(arrays["lengths"]) == 100_000
    carried = pickle.dumps(arrays)
    assert len(carried) < 1000
    assert np.array_equal(travelled(arrays)["lengths"], arrays["lengths"])


def test_parts_of_another_type_are_refused(folder: Path) -> None:
    def mixed(writer: ArrayWriter) -> None:
        writer.append("lengths", np.zeros(1, dtype=np.int32))
        writer.append("lengths", np.zeros(1, dtype=np.int64))

    with pytest.raises(TypeError, match="does not fit"):
        open_cached(folder / "cache", "test", files={"file": folder / "file"}, inputs={}, build=mixed)
