"""Segments are derived: whatever happens to their files, a store answers as its database says."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.numba import arrays, contents, merge
from splade_ptbr_connectors.stores.numba import store as module
from splade_ptbr_connectors.stores.numba.postings import WINDOW
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector
from tests.support.encoders import HashingEncoder

from .conftest import Opening

VECTOR = SparseVector([1, 7], [0.1, 1 / 3])
QUERY = SparseVector(np.arange(101), np.ones(101))


def _filled(opening: Opening) -> list[Any]:
    """A store of one segment, of which two documents were deleted since, and a document that none holds; and its answers."""
    with opening() as store:
        store.upsert_vectors((f"d{n}", SparseVector([n % 50, 100], [1.0 + n, 0.5]), {"n": n}) for n in range(300))
        store.finish_loading()
        store.delete(["d3", "d4"])
        store.upsert_vectors([("late", VECTOR)])
        return _answers(store)


def _answers(store: Store) -> list[Any]:
    return [store.count(), store.count(filter={"n": {"gte": 100}}), store.search(QUERY, 400), sorted(store.scan(), key=lambda e: e.doc_id)]


def _segment(folder: Path) -> Path:
    [path] = folder.glob("*.segment")
    return path


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "removed": Path.unlink,
    "emptied": lambda path: path.write_bytes(b"") and None,
    "cut": _cut,
    "changed": _changed,
    "something else": lambda path: path.write_text("[]") and None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_segment_is_made_again(folder: Path, opening: Opening, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    expected = _filled(opening)
    path = _segment(folder)
    DAMAGES[damage](path)
    with opening(settings={"read_only": True}) as reader:
        assert _answers(reader) == expected
        assert "built again" in caplog.text
    assert _segment_or_none(folder) in (None, path)
    with opening() as store:
        assert _answers(store) == expected
    assert _segment(folder) != path
    caplog.clear()
    with opening() as store:
        assert _answers(store) == expected
    assert not caplog.text


def _segment_or_none(folder: Path) -> Path | None:
    return next(folder.glob("*.segment"), None)


def test_every_changed_bit_of_a_segment_is_found(folder: Path, opening: Opening, caplog: pytest.LogCaptureFixture) -> None:
    expected = _filled(opening)
    path, random = _segment(folder), np.random.default_rng(0)
    content = path.read_bytes()
    head = 16 + int.from_bytes(content[8:12], "little")
    for at in [*range(16), *random.integers(16, head, 20).tolist(), *random.integers(head, len(content), 60).tolist()]:
        changed = bytearray(content)
        changed[at] ^= 1 << int(random.integers(0, 8))
        path.write_bytes(changed)
        with opening(settings={"read_only": True}) as store:
            assert _answers(store) == expected


def test_a_segment_of_another_store_or_time_is_not_taken(folder: Path, opening: Opening, tmp_path: Path) -> None:
    expected = _filled(opening)
    path, other = _segment(folder), tmp_path / "other"
    shutil.copy(path, tmp_path / "older")
    with open_store(f"numba:{other}", encoder=HashingEncoder(vocab_size=4096)) as store:
        store.upsert_vectors((f"d{n}", SparseVector([n % 50, 100], [2.0 + n, 0.5]), {"n": n}) for n in range(300))
        store.finish_loading()
    shutil.copy(_segment(other), path)
    with opening() as store:
        assert _answers(store) == expected
        store.upsert_vectors([("d0", VECTOR, {"n": 0})])
        store.finish_loading()
        expected = _answers(store)
    shutil.copy(tmp_path / "older", _segment(folder))
    with opening() as store:
        assert _answers(store) == expected


def test_another_format_is_made_again(folder: Path, opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(arrays, "FORMAT_VERSION", 99)
        expected = _filled(opening)
    with opening() as store:
        assert _answers(store) == expected


def test_a_database_that_lost_documents_which_a_segment_has_is_told(opening: Opening) -> None:
    _filled(opening)
    with opening() as store:
        with store._database.writing() as connection:  # type: ignore[attr-defined]  # by a hand that knows no revisions
            connection.execute("DELETE FROM documents WHERE doc_id = 'd7'")
        with pytest.raises(errors.StoreCorruptError, match="not in the database"):
            store.search(SparseVector([7], [1.0]))
    with pytest.raises(errors.StoreCorruptError, match="298 of 299"):
        opening(settings={"verify": True})


def test_what_processes_that_died_left_behind_goes_away(folder: Path, opening: Opening) -> None:
    _filled(opening)
    kept = _segment(folder)
    for name, age in (("a.segment", 0), ("b.segment.building", 0), ("c.segment.building", 2 * module.LEFTOVER_S)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age,) * 2)
    (folder / "notes.txt").write_text("not ours")
    with opening() as store:
        store.finish_loading()
        names = {path.name for path in folder.iterdir()}
    assert not names & {"a.segment", "c.segment.building", kept.name}
    assert names > {"b.segment.building", "notes.txt"}


@pytest.mark.parametrize("failing", ["write_run", "Segment.read", "schema.replace_segments"])
@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), KeyboardInterrupt()])
def test_a_merge_that_fails_anywhere_changes_nothing(
    opening: Opening, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    with opening() as store:
        store.upsert_vectors((f"d{n}", SparseVector([n % 50], [1.0 + n])) for n in range(100))
        expected = _answers(store)
        with monkeypatch.context() as patch:
            owner, _, name = failing.rpartition(".")
            patch.setattr(getattr(module, owner) if owner else module, name, fail)
            with pytest.raises((errors.StoreWriteError, KeyboardInterrupt)):
                store.finish_loading()
                store.count()
        for _ in range(2):
            assert _answers(store) == expected
            store.finish_loading()
        assert _answers(store) == expected
    with opening() as store:
        assert _answers(store) == expected


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@given(
    sizes=sizes,
    window=st.sampled_from([7, 16]),
    gone=st.sets(st.integers(0, 400), max_size=60),
    merged=st.lists(st.booleans(), max_size=12),
)
@settings(max_examples=30, deadline=None)
def test_merges_keep_segments_small_few_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], window: int, gone: set[int], merged: list[bool]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW", window)
        patch.setattr(merge, "WINDOW", window)
        url, written = f"numba:{tmp_path_factory.mktemp('merges')}", 0
        with open_store(url, encoder=HashingEncoder(vocab_size=4096), max_batch_documents=1000) as store:
            for n, size in enumerate(sizes):
                store.upsert_vectors((f"d{i}", SparseVector([i % 9], [1.0 + i])) for i in range(written, written + size))
                written += size
                if n < len(merged) and merged[n]:
                    store.delete([f"d{i}" for i in gone if i % len(sizes) == n])
                    store.finish_loading()
            left = {f"d{i}" for i in range(written)} & {entry.doc_id for entry in store.scan()}
            store.finish_loading()
            segments = store._contents.segments  # type: ignore[attr-defined]
            assert all(len(segment) <= window for segment in segments)
            numbers = [number for segment in segments for number in segment.numbers.tolist()]
            assert numbers == sorted(numbers)
            assert len(segments) <= 2 * -(-len(left) // window) + 1
            assert len(store.search(SparseVector(np.arange(9), np.ones(9)), 1000)) == store.count() == len(left)


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12), window=st.sampled_from([7, 16]))
@settings(max_examples=30, deadline=None)
def test_segments_of_a_load_are_full_whatever_its_batches(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], window: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW", window)
        patch.setattr(merge, "WINDOW", window)
        with open_store(f"numba:{tmp_path_factory.mktemp('loads')}", encoder=HashingEncoder(vocab_size=4096)) as store:
            numbers = itertools.count()
            for size in sizes:
                store.upsert_vectors([(f"d{next(numbers)}", SparseVector([1], [1.0])) for _ in range(size)])
                contents = store._contents  # type: ignore[attr-defined]
                assert all(len(segment) == window for segment in contents.segments) and len(contents.buffer) < window
            store.finish_loading()
            assert len(store._contents.segments) == -(-sum(sizes) // window)  # type: ignore[attr-defined]
            assert len(store.search(SparseVector([1], [1.0]), 1000)) == sum(sizes)


@pytest.mark.slow
@pytest.mark.parametrize("before", [0, 1, 2])
def test_more_documents_than_a_segment_holds(opening: Opening, before: int) -> None:
    """Batches that do not end where segments do: one earlier document, one replaced one."""
    pool = [SparseVector([i % 40, 100 + i % 7], [1.0, 2.0]) for i in range(280)]
    with opening(max_batch_documents=1000) as store:
        for n in range(before):
            store.upsert_vectors([("f", pool[n])])
        store.upsert_vectors((f"d{i}", pool[i % 280]) for i in range(WINDOW + 500))
        store.upsert_vectors([("z", pool[0])])
        assert store.count() == WINDOW + 501 + bool(before)
        store.finish_loading()
        assert [len(segment) for segment in store._contents.segments][:1] == [WINDOW]  # type: ignore[attr-defined]
    with opening() as store:
        assert store.count() == WINDOW + 501 + bool(before)
        assert store.delete(["z"]) == 1
        assert len(store.search(pool[0], 10_000)) == 10_000


def test_a_wide_batch_is_cut_into_rows(opening: Opening) -> None:
    batch = SparseBatch.from_vectors([SparseVector([n], [1.0 + n]) for n in range(9)])
    assert list(contents.rows_of(batch, np.array([8, 0, 3]))) == [batch[8], batch[0], batch[3]]
    assert len(contents.rows_of(batch, np.array([], np.int64))) == 0


def test_a_reader_takes_up_what_a_merge_of_another_process_has_put_in_place_of_a_file(
    opening: Opening, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _filled(opening)
    with opening() as writer, opening(settings={"read_only": True}) as reader:
        writer.upsert_vectors([("d0", VECTOR, {"n": 0})])
        writer.finish_loading()
        real = module.Segment.read

        def merged_meanwhile(*arguments: Any) -> Any:
            monkeypatch.setattr(module.Segment, "read", real)
            writer.delete([f"d{n}" for n in range(200)])
            writer.finish_loading()  # takes away the file that the reader is about to open
            return real(*arguments)

        monkeypatch.setattr(module.Segment, "read", merged_meanwhile)
        assert reader.count() == writer.count() == 101
        assert all(segment.written for segment in reader._contents.segments)  # type: ignore[attr-defined]
        assert _answers(reader) == _answers(writer)


def test_a_database_that_goes_back_under_an_open_store_is_told(opening: Opening, folder: Path, tmp_path: Path) -> None:
    _filled(opening)
    earlier = (folder / "documents.db").read_bytes()
    with opening() as store:
        store.upsert_vectors([("later", VECTOR)])
        store.finish_loading()
        store.count()
    with opening(settings={"read_only": True}) as reader:
        assert reader.count() == 300
        with open(folder / "documents.db", "r+b") as file:  # in place, as a backup tool may
            file.write(earlier)
            file.truncate()
        for path in folder.glob("documents.db-*"):
            path.unlink()
        with pytest.raises(errors.StoreError):
            for _ in range(2):
                reader.count()
                opening().close()


def test_a_merge_that_leaves_no_segment_is_seen_by_other_handles(opening: Opening, store: Store) -> None:
    with opening() as other:
        store.upsert_vectors([(f"d{i}", VECTOR, {"n": i}) for i in range(5)])
        assert store.count(filter={"n": {"gte": 0}}) == 5
        other.delete([f"d{i}" for i in range(5)])
        other.finish_loading()
        assert (store.count(), store.count(filter={"n": {"gte": 0}}), store.search(VECTOR), store.get(["d1"])) == (0, 0, [], {})
        store.upsert_vectors([("d1", VECTOR)])
        assert store.delete_where({"n": {"not": 7}}) == 1
    opening(settings={"verify": True}).close()


@pytest.mark.parametrize("name", ["forward_weight", "forward_slot", "posting_row", "key_hash", "id"])
def test_sectors_that_were_exchanged_are_found(folder: Path, opening: Opening, name: str) -> None:
    with opening() as store:
        store.upsert_vectors((f"document-{n:06}", SparseVector([n % 50, 100 + n % 7], [1.0 + n, 0.5]), {"n": n}) for n in range(3000))
        store.finish_loading()
        expected = _answers(store)
    path = _segment(folder)
    content = bytearray(path.read_bytes())
    array = arrays.read_arrays(path).arrays[name]
    at = bytes(content).find(array.tobytes())
    content[at : at + 512], content[at + 512 : at + 1024] = content[at + 512 : at + 1024], content[at : at + 512]
    path.write_bytes(content)
    with opening() as store:
        assert _answers(store) == expected
    assert _segment(folder) != path


def test_filters_miss_nothing_while_documents_are_replaced(store: Store) -> None:
    """Threads at several revisions share what is known of a filter."""
    names, failures, done = [f"d{i}" for i in range(20)], list[object](), threading.Event()
    store.upsert_vectors((name, VECTOR, {"s": "x"}) for name in names)

    def read() -> None:
        try:
            while not done.is_set():
                counted = store.count(filter={"s": "x"}), len(store.search(VECTOR, 100, filter={"s": "x"}))
                if counted != (20, 20):
                    failures.append(counted)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for n in range(60):
            store.upsert_vectors((name, VECTOR, {"s": "x", "n": n}) for name in names)
            if n % 10 == 9:
                store.finish_loading()
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
    assert not failures


def test_a_segment_that_cannot_be_written_leaves_no_file(folder: Path, opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    with opening() as store:
        store.upsert_vectors([("a", VECTOR)])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: _raise(OSError(errno.ENOSPC, "No space left on device")))
            with pytest.raises(errors.StoreWriteError, match="No space"):
                store.finish_loading()
        assert not list(folder.glob("*.building"))
        store.finish_loading()
        assert [hit.doc_id for hit in store.search(VECTOR)] == ["a"]


def _raise(error: BaseException) -> None:
    raise error
