"""The database of a numba store: what was acknowledged is there, or its absence is told; processes do not get into each other's way."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.numba import database as module
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

from .conftest import Opening

VECTOR = SparseVector([1, 7], [0.1, 1 / 3])
READ_ONLY = {"read_only": True}

WRITER = """
import sys
import threading
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.numba import merge, store as module
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
module.WINDOW = merge.WINDOW = 50
store = open_store(sys.argv[1], encoder=HashingEncoder(vocab_size=4096))
for n in range(10_000):
    store.upsert_vectors([(f"d{n % 400}-{i}", SparseVector([n % 400, 400 + i], [1.0 + n, 1.0]), {"n": n}) for i in range(7)])
    sys.stdout.write(f"{n}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("acknowledged", [1, 9, 60, 130])
def test_what_was_acknowledged_survives_a_kill(folder: Path, opening: Opening, acknowledged: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, f"numba:{folder}"], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    assert process.stdout is not None
    last = next(n for n in map(int, process.stdout) if n >= acknowledged)
    process.send_signal(signal.SIGKILL)
    last = max([last, *map(int, filter(str.strip, process.stdout.read().splitlines()[:-1]))])
    process.stdout.close()
    process.wait()
    with opening(settings={"verify": True}) as store:
        held = {entry.doc_id: entry for entry in store.scan()}
        assert {f"d{n}-{i}" for n in range(last + 1) for i in range(7)} <= held.keys()
        assert len(held) % 7 == 0  # of a batch all or nothing
        assert all(entry.vector.weights[0] == 1.0 + entry.payload["n"] for entry in held.values())
        assert len(store.search(SparseVector(np.arange(400, 407), np.ones(7)), 10_000)) == len(held)


def _killed(opening: Opening, folder: Path, copy: Path) -> None:
    """The files as they are when a process dies: the last writes in the write-ahead log only."""
    with opening() as store:
        store.upsert_vectors((f"d{n}", VECTOR, {"n": n}) for n in range(20))
        store.finish_loading()
        store.upsert_vectors([("late", VECTOR)])
        shutil.copytree(folder, copy)


@pytest.mark.parametrize("damage", ["removed", "emptied", "cut", "changed"])
def test_a_log_that_lost_acknowledged_writes_is_no_store(folder: Path, opening: Opening, tmp_path: Path, damage: str) -> None:
    _killed(opening, folder, tmp_path / "copy")
    log = tmp_path / "copy/documents.db-wal"
    content = bytearray(log.read_bytes())
    inside = 32 + 24 + module.PAGE_BYTES // 2  # of the first record behind the head; those behind the last one are of an earlier time
    content[inside] ^= 0x10
    if damage == "removed":
        log.unlink()
    else:
        log.write_bytes({"emptied": b"", "cut": bytes(content[:inside]), "changed": bytes(content)}[damage])
    with pytest.raises(errors.StoreCorruptError, match="acknowledged"):
        open_store(f"numba:{tmp_path / 'copy'}", encoder=HashingEncoder(vocab_size=4096))
    (tmp_path / "copy/acknowledged").unlink()  # as the message says
    with open_store(f"numba:{tmp_path / 'copy'}", encoder=HashingEncoder(vocab_size=4096)) as store:
        assert store.count() in (0, 20)


def test_a_note_that_is_lost_or_damaged_loses_nothing(folder: Path, opening: Opening, caplog: pytest.LogCaptureFixture) -> None:
    with opening() as store:
        store.upsert_vectors([("a", VECTOR)])
    for content in (None, b"", b"x" * 28):
        if content is None:
            (folder / "acknowledged").unlink()
        else:
            (folder / "acknowledged").write_bytes(content)
        caplog.clear()
        with opening() as store:
            assert store.count() == 1
        assert "acknowledged" in caplog.text
    with opening() as store:
        store.upsert_vectors([("b", VECTOR)])
    caplog.clear()
    opening().close()
    assert not caplog.text


@pytest.mark.parametrize("name", ["documents.db", "documents.db-wal", "acknowledged"])
def test_files_of_two_stores_are_not_mixed(folder: Path, opening: Opening, tmp_path: Path, name: str) -> None:
    _killed(opening, folder, tmp_path / "copy")
    other = tmp_path / "other"
    with open_store(f"numba:{other}", encoder=HashingEncoder(vocab_size=4096)) as store:
        store.upsert_vectors((f"x{n}", VECTOR, {"n": n}) for n in range(20))
        shutil.copy(other / name, tmp_path / "copy" / name)
    with pytest.raises(errors.StoreError):
        open_store(f"numba:{tmp_path / 'copy'}", encoder=HashingEncoder(vocab_size=4096))


def test_every_changed_byte_of_the_database_is_found_when_it_is_read(folder: Path, opening: Opening) -> None:
    with opening() as store:
        store.upsert_vectors((f"d{n}", SparseVector([n], [1.0]), {"text": "x" * 900, "n": n}) for n in range(60))
    path = folder / "documents.db"
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for at in {0, 20, 60, 90, *random.integers(100, len(content), 60).tolist()}:
        changed = bytearray(content)
        changed[at] ^= 1 << int(random.integers(0, 8))
        path.write_bytes(changed)
        with pytest.raises(errors.StoreError), opening(settings={"verify": True}):
            pass
    path.write_bytes(content)
    with opening() as store:
        assert store.count() == 60


@pytest.mark.parametrize("settings", [{}, READ_ONLY])
@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_lost_documents_are_no_empty_store(folder: Path, opening: Opening, settings: Any, left: str) -> None:
    with opening() as store:
        store.upsert_vectors([("a", VECTOR)])
        store.finish_loading()
    before = sorted(path.name for path in folder.iterdir())
    if left == "nothing":
        (folder / "documents.db").unlink()
    else:
        (folder / "documents.db").write_bytes(b"")
    with pytest.raises(errors.StoreCorruptError, match=r"documents\.db"):
        opening(settings=settings)
    assert set(before) - {path.name for path in folder.iterdir()} <= {"documents.db"}


def test_a_creation_that_was_interrupted_is_made_good(folder: Path, opening: Opening) -> None:
    folder.mkdir()
    (folder / "documents.db").touch()
    with pytest.raises(errors.StoreNotFoundError):
        opening(create=False)
    with opening() as store:
        store.upsert_vectors([("a", VECTOR)])
    with opening(create=False) as store:
        assert store.count() == 1


def test_a_creation_that_was_killed_before_there_was_a_log_is_made_good(folder: Path, opening: Opening) -> None:
    """SQLite makes the first page of a file under a rollback journal, and refuses to read one that has such a journal left."""
    opening().close()
    (folder / "acknowledged").unlink()
    first_page = (folder / "documents.db").read_bytes()[: module.PAGE_BYTES]
    numbers = (0, 1, 0, 512, module.PAGE_BYTES)  # no record, a nonce, no page before, sizes
    head = bytes.fromhex("d9d505f920a163d7") + struct.pack(">5I", *numbers)
    for page in (first_page, bytes(module.PAGE_BYTES)):
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "documents.db").write_bytes(page)
        (folder / "documents.db-journal").write_bytes(head.ljust(512, b"\0"))
        with pytest.raises(errors.StoreNotFoundError):
            opening(create=False)
        with opening() as store:
            store.upsert_vectors([("a", VECTOR)])
        assert not (folder / "documents.db-journal").exists()
        with opening(create=False, settings={"verify": True}) as store:
            assert store.count() == 1


def test_a_log_that_could_not_be_opened_for_a_moment_is_opened_again(folder: Path, opening: Opening) -> None:
    """As without a free file handle: SQLite takes what it can only read for good then."""
    with opening() as store:
        store.upsert_vectors([("a", VECTOR)])
        store.finish_loading()
    with opening() as store:
        other = store._database  # type: ignore[attr-defined]
        other._writer = module._connected(folder / "documents.db", read_only=True)
        with pytest.raises(errors.StoreWriteError, match="READONLY"):
            store.upsert_vectors([("b", VECTOR)])
        store.upsert_vectors([("c", VECTOR)])
        assert [hit.doc_id for hit in store.search(VECTOR)] == ["a", "c"]


def test_other_databases_and_formats_are_named(folder: Path, opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    with sqlite3.connect(folder / "documents.db") as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(errors.StoreFormatError, match="application id"):
        opening()
    shutil.rmtree(folder)
    for version, todo in ((99, "upgrade"), (0, "ingest")):
        with monkeypatch.context() as patch:
            patch.setattr(module, "FORMAT_VERSION", version)
            opening().close()
        with pytest.raises(errors.StoreFormatError, match=f"format version {version}.*{todo}"):
            opening()
        shutil.rmtree(folder)
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(errors.StoreFormatError, match="earlier version"):
        opening()


def test_a_journal_of_another_database_is_named_and_not_played_back(folder: Path, opening: Opening, store: Store, tmp_path: Path) -> None:
    store.upsert_vectors([("a", VECTOR)])
    store.close()
    with sqlite3.connect(tmp_path / "other.db", isolation_level=None) as other:
        other.executescript("PRAGMA journal_mode = DELETE; PRAGMA cache_size = 2; CREATE TABLE rows (content)")
        other.execute(
            "INSERT INTO rows WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) SELECT randomblob(900) FROM n"
        )
        other.execute("BEGIN")
        other.execute("UPDATE rows SET content = randomblob(900)")  # more than the cache holds: its journal is written
        shutil.copy(tmp_path / "other.db-journal", folder / "documents.db-journal")
    other.close()
    with pytest.raises(errors.StoreWriteError, match=r"documents\.db-journal beside it"):
        opening(create=False)
    (folder / "documents.db-journal").unlink()
    with opening(create=False, settings={"verify": True}) as again:
        assert [hit.doc_id for hit in again.search(VECTOR)] == ["a"]


def test_a_relative_path_is_that_of_the_time_of_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "a")
    with open_store("numba:index", encoder=HashingEncoder(vocab_size=4096)) as store:
        monkeypatch.chdir(tmp_path / "b")
        store.upsert_vectors([("a", VECTOR)])
        store.finish_loading()
        assert store.count() == 1
    assert not (tmp_path / "b/index").exists()


def test_a_database_that_was_replaced_under_an_open_store_is_told(folder: Path, opening: Opening, store: Store) -> None:
    store.upsert_vectors([("a", VECTOR)])
    shutil.rmtree(folder)
    for act in (lambda: store.upsert_vectors([("b", VECTOR)]), lambda: store.search(VECTOR), store.finish_loading, store.count):
        with pytest.raises(errors.StoreCorruptError, match="missing"):
            act()
    with opening() as other:
        other.upsert_vectors([("c", VECTOR)])
        with pytest.raises(errors.StoreCorruptError, match="replaced"):
            store.count()


def test_a_copy_of_hard_links_is_not_written_through(folder: Path, opening: Opening, tmp_path: Path) -> None:
    with opening() as store:
        store.upsert_vectors([("a", VECTOR)])
        shutil.copytree(folder, tmp_path / "copy", copy_function=os.link)
        before = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir() if not path.name.endswith("-shm")}
        with pytest.raises(errors.StoreWriteError, match="hard links"):
            store.upsert_vectors([("b", VECTOR)])
        assert store.count() == 1
        assert all((tmp_path / "copy" / name).read_bytes() == content for name, content in before.items())
        shutil.rmtree(tmp_path / "copy")
        store.upsert_vectors([("b", VECTOR)])
        assert store.count() == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("settings", [{}, READ_ONLY])
def test_a_forked_child_does_not_use_its_parents_handles(folder: Path, opening: Opening, settings: Any) -> None:
    with opening() as writer:
        writer.upsert_vectors([("a", VECTOR)])
    with opening(settings=settings) as store:
        queue = multiprocessing.get_context("fork").SimpleQueue()

        def child() -> None:
            told = list[str]()
            for act in (lambda: store.search(VECTOR), opening, lambda: store.upsert_vectors([("b", VECTOR)]), store.close, store.count):
                try:
                    act()
                    told.append("")
                except errors.SpladeConnectorsError as error:
                    told.append(f"{type(error).__name__}: {error}")
            queue.put(told)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        searched, opened, written, closed, counted = queue.get()
        process.join()
        assert all("forked" in told for told in (searched, opened))
        assert ("forked" in written) or ("reading only" in written)
        assert closed == ""
        assert "StoreClosedError" in counted
        assert store.count() == 1
    process = multiprocessing.get_context("fork").Process(target=_write_one, args=(opening,))  # closed before: any child may open it
    process.start()
    process.join()
    with opening() as store:
        assert store.count() == 2


def test_a_write_while_the_store_is_opened_is_no_lost_write(opening: Opening, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process acknowledges behind the snapshot of the one that opens is not missing there."""
    real, writes = module.read_state, iter([lambda: store.upsert_vectors([("a", VECTOR)])])

    def read_state(connection: Any) -> Any:
        found = real(connection)
        next(writes, lambda: None)()  # once: writing reads the state too
        return found

    monkeypatch.setattr(module, "read_state", read_state)
    with opening() as other:
        assert next(writes, None) is None
        assert other.count() == 1


def _write_one(opening: Opening) -> None:
    with opening() as store:
        store.upsert_vectors([("child", VECTOR)])


def _load_many(url: str, name: str, ready: Any) -> None:
    ready.wait()
    with open_store(url, encoder=HashingEncoder(vocab_size=4096), max_batch_documents=7) as store, store.loading():
        for n in range(30):
            store.upsert_vectors((f"{name}{n}-{i}", VECTOR, {"n": n}) for i in range(7))
            if n % 10 == 9:
                store.finish_loading()


def test_processes_that_create_and_write_one_store_at_once_lose_nothing(folder: Path, opening: Opening) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writers = [context.Process(target=_load_many, args=(f"numba:{folder}", name, ready)) for name in "ab"]
    for writer in writers:
        writer.start()
    ready.set()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    with opening(settings={"verify": True}) as store:
        assert {entry.doc_id for entry in store.scan()} == {f"{name}{n}-{i}" for name in "ab" for n in range(30) for i in range(7)}
        assert len(store.search(VECTOR, 1000)) == store.count() == 420


def test_another_writer_is_waited_for_no_longer_than_patience_lasts(
    opening: Opening, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    with opening() as other, other._database.writing(), pytest.raises(errors.StoreLockedError, match="another process has been writing"):  # type: ignore[attr-defined]
        opening().upsert_vectors([("a", VECTOR)])
    store.upsert_vectors([("a", VECTOR)])


def test_a_folder_that_cannot_be_written_is_read(folder: Path, opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    with opening() as store:
        store.upsert_vectors((f"d{n}", VECTOR) for n in range(3))
        store.finish_loading()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # what it says of an image or a disk that is read-only
    with opening(settings=READ_ONLY) as reader:
        assert reader.count() == len(reader.search(VECTOR)) == 3
        assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    with pytest.raises(errors.StoreNotFoundError):
        open_store(f"numba:{folder}-other", encoder=HashingEncoder(), settings=READ_ONLY)


def test_a_full_disk_refuses_a_batch_and_keeps_the_store(opening: Opening, store: Store) -> None:
    store.upsert_vectors([("a", VECTOR)])
    store._database._writer.execute("PRAGMA max_page_count = 1")  # type: ignore[attr-defined]  # as large as it is, and no page more
    with pytest.raises(errors.StoreWriteError, match=r"full.*free space"):
        store.upsert_vectors((f"d{n}", VECTOR, {"text": "x" * 1000}) for n in range(100))
    assert [hit.doc_id for hit in store.search(VECTOR)] == ["a"]
    store._database._writer.execute("PRAGMA max_page_count = 4294967294")  # type: ignore[attr-defined]
    store.upsert_vectors((f"d{n}", VECTOR, {"text": "x" * 1000}) for n in range(100))
    assert store.count() == 101


def test_a_load_is_flushed_to_disk_at_its_checkpoints_and_at_its_end(folder: Path, store: Store) -> None:
    note, notes = folder / "acknowledged", list[bytes]()
    store.upsert_vectors([("a", VECTOR)])
    with store.loading():
        notes.append(note.read_bytes())
        store.upsert_vectors([("b", VECTOR)])
        notes.append(note.read_bytes())
        store.flush()
        notes.append(note.read_bytes())
        store.upsert_vectors([("c", VECTOR)])
    notes.append(note.read_bytes())
    assert [notes[n] == notes[n + 1] for n in range(3)] == [True, False, False]


def test_a_store_is_closed_while_threads_read_and_write_it(opening: Opening) -> None:
    failures = list[BaseException]()

    def work(store: Store, act: Any) -> None:
        try:
            while True:
                act(store)
        except errors.StoreClosedError:
            return
        except BaseException as error:
            failures.append(error)

    for _ in range(8):
        store = opening()
        acts = (lambda s: s.upsert_vectors([("a", VECTOR)]), lambda s: s.search(VECTOR), lambda s: s.delete(["a"]))
        threads = [threading.Thread(target=work, args=(store, act)) for act in acts]
        for thread in threads:
            thread.start()
        while store.count() == 0:
            continue
        store.close()
        for thread in threads:
            thread.join()
    assert not failures


def test_a_load_that_ends_while_another_process_writes_is_a_typed_error(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    with opening() as store, opening() as other, ExitStack() as stack:
        with pytest.raises(errors.StoreLockedError), store.loading():
            store.upsert_vectors([("a", VECTOR)])
            stack.enter_context(other._database.writing())  # type: ignore[attr-defined]
        assert store.count() == 1


def test_an_interrupted_load_leaves_a_handle_that_flushes(folder: Path, store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.loading():
        store.upsert_vectors([("a", VECTOR)])
        raise KeyboardInterrupt
    before = (folder / "acknowledged").read_bytes()
    store.upsert_vectors([("b", VECTOR)])
    assert (folder / "acknowledged").read_bytes() != before


@pytest.mark.parametrize("value", ["\ud800", 1e22, True, "x" * 2000])
def test_a_content_hash_is_a_text(store: Store, value: Any) -> None:
    with pytest.raises(errors.TextError, match="content hash"):
        store.upsert_vectors([("a", VECTOR, {}, value)])
    with pytest.raises((errors.TextError, errors.RecordError)):
        store.content_hashes(["\ud800"])
    with pytest.raises(errors.ConfigError, match="page_size"):
        list(store.scan(page_size=0))
