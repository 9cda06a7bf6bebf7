"""NumbaStore: it agrees with the oracle, keeps what it acknowledged, and refuses what it cannot trust."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.stores.numba.index import ImpactIndex
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.operations import ASYNC, BLOCKING, VOCABULARY, Way, agree, operations, queries
from tests.support.oracle import Oracle

HYPOTHESIS: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}
VECTOR = SparseVector([1, 7], [0.1, 1 / 3])
Opening = Callable[..., Store]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def opening(folder: Path) -> Opening:
    def opened(**arguments: Any) -> Store:
        return open_store(f"numba:{folder}", encoder=HashingEncoder(vocab_size=4096), **arguments)

    return opened


@pytest.fixture
def store(opening: Opening) -> Iterator[Store]:
    with opening() as opened:
        yield opened


@pytest.fixture(params=[1, 5, 65_536], ids=lambda size: f"merging at {size}")
def window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """After how many documents the tail becomes a part."""
    monkeypatch.setattr("splade_ptbr_connectors.stores.numba.store.WINDOW", request.param)


@pytest.mark.parametrize("way", [BLOCKING, ASYNC], ids=lambda way: way.name)
@given(before=operations, after=operations, queries=st.lists(queries, min_size=1, max_size=6))
@settings(max_examples=40, **HYPOTHESIS)
def test_store_agrees_with_the_oracle_and_reopens_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, window: None, way: Way, before: Any, after: Any, queries: list[Any]
) -> None:
    arguments: dict[str, Any] = {"encoder": HashingEncoder(vocab_size=VOCABULARY), "batch_size": 4}
    url, oracle = f"numba:{tmp_path_factory.mktemp('congruence')}", Oracle()
    with open_store(url, **arguments) as store:
        agree(store, oracle, before, queries, way)
    with open_store(url, settings={"verify": True}, **arguments) as store:
        agree(store, oracle, [], queries, way)
        agree(store, oracle, after, queries, way)
        with open_store(url, settings={"read_only": True}, **arguments) as reader:
            agree(reader, oracle, [], queries, way)


@given(turns=st.lists(st.tuples(st.sampled_from(["A", "B"]), operations), max_size=4), queries=st.lists(queries, min_size=1, max_size=4))
@settings(max_examples=40, **HYPOTHESIS)
def test_tenants_see_and_touch_their_own_documents_only(
    tmp_path_factory: pytest.TempPathFactory, window: None, turns: list[Any], queries: list[Any]
) -> None:
    arguments: dict[str, Any] = {"encoder": HashingEncoder(vocab_size=VOCABULARY), "batch_size": 4}
    url, oracle = f"numba:{tmp_path_factory.mktemp('tenants')}", Oracle()
    for tenant, turn in turns:
        with open_store(url, tenant=tenant, **arguments) as store:
            agree(store, oracle, turn, [], BLOCKING, tenant)
    for tenant in ("A", "B", "C"):
        with open_store(url, tenant=tenant, **arguments) as store:
            agree(store, oracle, [], queries, BLOCKING, tenant)
    with open_store(url, **arguments) as everything:
        assert everything.count() == len(oracle.contents)


def test_ties_across_the_end_of_the_page_are_cut_by_document_id(store: Store) -> None:
    names = [f"n{i:03}" for i in range(120)]
    for part in (names[60:], names[:60]):
        store.upsert_vectors((name, VECTOR) for name in reversed(part))
        store.finish_loading()
    store.upsert_vectors([("m", VECTOR), ("best", SparseVector([7], [2.0]))])
    for top_k in (1, 2, 61, 121, 122, 1000):
        assert [hit.doc_id for hit in store.search(VECTOR, top_k)] == ["best", "m", *names][:top_k]


def test_what_goes_in_comes_out(store: Store) -> None:
    payload = {"title": "Ação", "none": None, "deep": {"list": [1, 2.5, "x", {"y": True}]}, "big": 2**63 - 1, "small": -(2**63)}
    entry = Entry("ação/1", VECTOR, payload, "ab" * 16)
    for _ in range(2):
        store.upsert_vectors([entry, ("plain", SparseVector([], []))])
        assert store.get(["ação/1", "other"]) == {"ação/1": entry}
        assert store.content_hashes(["ação/1", "plain", "other"]) == {"ação/1": "ab" * 16}
        store.finish_loading()
    assert store.get(["ação/1", "other"]) == {"ação/1": entry}
    [hit] = store.search(SparseVector([7], [3.0]))
    assert (hit.doc_id, hit.payload, hit.score) == ("ação/1", payload, 3.0 * float(np.float32(1 / 3)))


def test_elements_of_lists_are_reached_by_brackets(store: Store) -> None:
    store.upsert_vectors([("a", VECTOR, {"parts": [{"n": 1}, {"n": 2}]}), ("b", VECTOR, {"parts": {"n": 2}})])
    found = {path: {hit.doc_id for hit in store.search(VECTOR, filter={path: 2})} for path in ("parts[].n", "parts[1].n", "parts.n")}
    assert found == {"parts[].n": {"a"}, "parts[1].n": {"a"}, "parts.n": {"b"}}


@pytest.mark.parametrize("filter", ["n = 3", 7, {"": 1}, {"a..b": 1}, {"n": 1.5}, {"n": 2**70}, {"n": "\ud800"}])
def test_bad_filters(store: Store, filter: Any) -> None:
    store.upsert_vectors([("a", VECTOR, {"n": 1})])
    with pytest.raises(errors.ConfigError):
        store.search(VECTOR, filter=filter)
    assert store.search(VECTOR)


def test_one_writer_and_any_number_of_readers(opening: Opening, store: Store) -> None:
    store.upsert_vectors([("a", VECTOR)])
    with pytest.raises(errors.StoreLockedError, match="in use by another process"):
        opening()
    with opening(settings={"read_only": True}) as reader:
        store.upsert_vectors([("b", VECTOR)])
        store.finish_loading()
        assert [hit.doc_id for hit in reader.search(VECTOR)] == ["a"]
        with pytest.raises(errors.StoreWriteError, match="reading only"):
            reader.upsert_vectors([("c", VECTOR)])
    with opening(settings={"read_only": True}) as reader:
        assert reader.count() == 2


def test_a_store_that_is_not_there_is_not_made_by_a_reader(opening: Opening, folder: Path) -> None:
    with pytest.raises(errors.StoreNotFoundError):
        opening(settings={"read_only": True})
    assert not folder.exists()


def test_dense_vectors_have_no_place(store: Store) -> None:
    with pytest.raises(errors.VectorError, match="nowhere to go"):
        store.upsert_vectors([Entry("a", VECTOR, {}, None, (1.0, 2.0))])
    assert store.count() == 0


# -- files ---------------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.numba import store as module
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
module.WINDOW = 50
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


def _filled(opening: Opening) -> None:
    with opening() as store:
        store.upsert_vectors((f"d{n}", SparseVector([n % 50, 100], [1.0 + n, 0.5]), {"n": n}) for n in range(300))
        store.finish_loading()
        store.delete(["d3"])
        store._merge(everything=False)  # type: ignore[attr-defined]  # a part of which little is deleted stays, with a mark
        store.upsert_vectors([("late", VECTOR)])


KINDS = [".window", ".documents", ".dead", "manifest.json", "splade-store.json"]


def _file(folder: Path, kind: str) -> Path:
    [path] = [path for path in folder.iterdir() if path.name.endswith(kind)]
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
def test_a_file_that_was_cut_short_is_named(folder: Path, opening: Opening, kind: str, kept: float) -> None:
    _filled(opening)
    path = _file(folder, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if kept < 0.9 else len(content) - 3])
    with pytest.raises((errors.StoreCorruptError, errors.StoreFormatError), match=path.name):
        opening()
    path.write_bytes(content)
    opening().close()  # and the lock was released


@pytest.mark.parametrize("kind", [".window", ".documents", ".dead"])
def test_a_file_that_is_gone_is_named(folder: Path, opening: Opening, kind: str) -> None:
    _filled(opening)
    path = _file(folder, kind)
    path.unlink()
    with pytest.raises(errors.StoreCorruptError, match=path.name):
        opening()


@pytest.mark.parametrize("kind", [".window", ".dead", "manifest.json"])
def test_a_changed_byte_is_found_when_everything_is_verified(folder: Path, opening: Opening, kind: str) -> None:
    _filled(opening)
    path = _file(folder, kind)
    content = path.read_bytes()
    for at in {10, 40, len(content) // 2, len(content) - 70}:
        changed = bytearray(content)
        changed[at] ^= 0x41
        if changed[at : at + 1].isspace() or not (any(content[at : at + 8])):
            continue  # padding between the arrays holds nothing
        path.write_bytes(changed)
        with pytest.raises((errors.StoreCorruptError, errors.StoreFormatError), match=path.name):
            opening(settings={"verify": True})


def test_a_search_in_altered_files_finds_wrong_things_at_worst(folder: Path, opening: Opening) -> None:
    """Kernels check nothing: whatever the arrays hold, they must not make a search reach beyond them."""
    _filled(opening)
    path, random = _file(folder, ".window"), np.random.default_rng(0)
    content = path.read_bytes()
    for _ in range(60):
        changed = bytearray(content)
        for at in random.integers(1600, len(content), 200):
            changed[at] = int(random.integers(0, 256))
        path.write_bytes(changed)
        try:
            with opening(settings={"read_only": True}) as store:
                store.search(SparseVector(np.arange(101), np.ones(101)), 50)
        except errors.StoreCorruptError:
            continue


@pytest.mark.parametrize(("version", "todo"), [(1, "ingest"), (99, "upgrade")])
def test_another_format_is_named(folder: Path, opening: Opening, monkeypatch: pytest.MonkeyPatch, version: int, todo: str) -> None:
    monkeypatch.setattr("splade_ptbr_connectors.stores.numba.arrays.FORMAT_VERSION", version)
    _filled(opening)
    monkeypatch.undo()
    with pytest.raises(errors.StoreFormatError, match=f"format version {version}.*{todo}"):
        opening()


def test_the_last_record_of_the_log_may_be_cut_off_but_none_may_be_altered(folder: Path, opening: Opening) -> None:
    with opening(batch_size=2) as store:
        store.upsert_vectors((f"d{n}", VECTOR) for n in range(6))
    log = _file(folder, "log-000000")
    content = log.read_bytes()
    log.write_bytes(content[:-5])
    with opening() as store:
        assert store.count() == 4
        store.upsert_vectors([("d9", VECTOR)])
    with opening() as store:
        assert sorted(entry.doc_id for entry in store.scan()) == ["d0", "d1", "d2", "d3", "d9"]
    changed = bytearray(content)
    changed[30] ^= 1
    log.write_bytes(changed)
    with pytest.raises(errors.StoreCorruptError, match=log.name):
        opening()


def test_a_full_disk_is_told_before_anything_is_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    with pytest.raises(errors.StoreWriteError, match="MiB are free"):
        store.upsert_vectors([("a", VECTOR)])
    assert store.count() == 0


def test_an_index_is_made_once_and_opened_by_name(tmp_path: Path) -> None:
    ImpactIndex.create(tmp_path / "index", [SparseBatch.from_vectors([VECTOR])]).close()
    with pytest.raises(errors.ConfigError, match="already"):
        ImpactIndex.create(tmp_path / "index")
    with pytest.raises(errors.StoreNotFoundError):
        ImpactIndex.open(tmp_path / "other")
    with ImpactIndex.open(tmp_path / "index") as index:
        with pytest.raises(errors.StoreLockedError):
            ImpactIndex.open(tmp_path / "index")
        with ImpactIndex.open(tmp_path / "index", read_only=True) as reader, pytest.raises(errors.StoreWriteError):
            reader.delete([0])
        assert index.delete([0]) == 1


def test_many_threads_may_search_while_one_writes(store: Store) -> None:
    import threading

    failures: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                for hit in store.search(VECTOR, 5):
                    assert hit.payload["n"] >= 0
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for n in range(60):
            store.upsert_vectors([(f"{n % 20}-{i}", VECTOR, {"n": n}) for i in range(5)])
            if n % 10 == 9:
                store.finish_loading()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert store.count() == 100
