"""NumbaStore: it agrees with the oracle, keeps what it acknowledged, and refuses what it cannot trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.operations import ASYNC, BLOCKING, VOCABULARY, Way, agree, operations, queries
from tests.support.oracle import Oracle

from .conftest import Opening

HYPOTHESIS: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}
VECTOR = SparseVector([1, 7], [0.1, 1 / 3])


@pytest.fixture(params=[1, 5, 65_536], ids=lambda size: f"merged at {size}")
def window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """After how many documents the buffer becomes a segment, and how many a segment holds."""
    for module in ("store", "merge"):
        monkeypatch.setattr(f"splade_ptbr_connectors.stores.numba.{module}.WINDOW", request.param)


@pytest.mark.parametrize("way", [BLOCKING, ASYNC], ids=lambda way: way.name)
@given(before=operations, after=operations, queries=st.lists(queries, min_size=1, max_size=6))
@settings(max_examples=40, **HYPOTHESIS)
def test_store_agrees_with_the_oracle_and_reopens_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, window: None, way: Way, before: Any, after: Any, queries: list[Any]
) -> None:
    arguments: dict[str, Any] = {"encoder": HashingEncoder(vocab_size=VOCABULARY), "max_batch_documents": 4}
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
    arguments: dict[str, Any] = {"encoder": HashingEncoder(vocab_size=VOCABULARY), "max_batch_documents": 4}
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


@pytest.mark.parametrize("filter", ["n = 3", 7, {"": 1}, {"a..b": 1}, {"n": float("nan")}, {"n": 2**70}, {"n": "\ud800"}])
def test_bad_filters(store: Store, filter: Any) -> None:
    store.upsert_vectors([("a", VECTOR, {"n": 1})])
    with pytest.raises(errors.ConfigError):
        store.search(VECTOR, filter=filter)
    assert store.search(VECTOR)


def test_every_handle_finds_what_any_handle_wrote(opening: Opening, store: Store) -> None:
    store.upsert_vectors([("a", VECTOR)])
    with opening(settings={"read_only": True}) as reader, opening() as other:
        for names, write in (
            ("a b", lambda: store.upsert_vectors([("b", VECTOR)])),
            ("a b c", lambda: other.upsert_vectors([("c", VECTOR, {"n": 1})])),
            ("a b c", store.finish_loading),
            ("b c", lambda: other.delete(["a"])),
            ("b", lambda: store.delete_where({"n": 1})),
            ("b d", lambda: other.upsert_vectors([("d", VECTOR, {"n": 2})])),
            ("b d", other.finish_loading),
            ("b d", store.finish_loading),
        ):
            write()
            for handle in (store, reader, other):
                assert [hit.doc_id for hit in handle.search(VECTOR)] == names.split()
                assert [entry.doc_id for entry in handle.scan()] == names.split()
                assert handle.count() == len(names.split())
                assert handle.count(filter={"n": 2}) == ("d" in names)
        with pytest.raises(errors.StoreWriteError, match="reading only"):
            reader.upsert_vectors([("e", VECTOR)])


def test_a_store_that_is_not_there_is_not_made_by_a_reader(opening: Opening, folder: Path) -> None:
    with pytest.raises(errors.StoreNotFoundError):
        opening(settings={"read_only": True})
    assert not folder.exists()


def test_dense_vectors_have_no_place(store: Store) -> None:
    with pytest.raises(errors.VectorError, match="nowhere to go"):
        store.upsert_vectors([Entry("a", VECTOR, {}, None, (1.0, 2.0))])
    assert store.count() == 0


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
