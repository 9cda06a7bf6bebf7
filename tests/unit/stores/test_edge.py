"""EdgeStore: what it returns, what it refuses before the engine sees it, and what it does when the engine fails."""

from __future__ import annotations

import math
import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.stores.edge import EdgeStore
from splade_ptbr_connectors.stores.payloads import NAMESPACE, point_id
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

VECTOR = SparseVector([1, 7], [0.1, 1 / 3])
GOOD = ("good", VECTOR, {"n": 1})


@given(st.text(min_size=1).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_point_id_is_the_uuid5_of_the_document_id(doc_id: str) -> None:
    assert uuid.UUID(point_id(doc_id)) == uuid.uuid5(NAMESPACE, doc_id)


def test_point_ids_never_change() -> None:
    assert point_id("doc-1") == "594bc251e8f35d1d8bbc7d71b6013abc"


def test_what_goes_in_comes_out(store: Store) -> None:
    payload = {"title": "Ação", "none": None, "deep": {"list": [1, 2.5, "x", {"y": True}]}, "big": 2**63 - 1, "small": -(2**63)}
    entry = Entry("ação/1", VECTOR, payload, "ab" * 16)
    assert store.upsert_vectors([entry]) == 1
    assert store.get(["ação/1", "other", "ação/1"]) == {"ação/1": entry}
    assert store.content_hashes(["ação/1", "other"]) == {"ação/1": "ab" * 16}
    [hit] = store.search(SparseVector([7], [3.0]))
    assert (hit.doc_id, hit.payload) == ("ação/1", payload)
    assert hit.score == pytest.approx(1.0, rel=1e-6)


def test_every_float32_comes_back_bit_by_bit(store: Store) -> None:
    bits = np.random.default_rng(0).integers(0x00800000, 0x7F7FFFFF, 500, dtype=np.int64).astype(np.int32)
    vector = SparseVector(np.arange(500), bits.view(np.float32))
    store.upsert_vectors([("a", vector)])
    assert store.get(["a"])["a"].vector == vector
    store.finish_loading()
    assert store.get(["a"])["a"].vector == vector


def test_upsert_replaces_the_whole_document(store: Store) -> None:
    store.upsert_vectors([Entry("a", VECTOR, {"old": 1}, "h1")])
    store.upsert_vectors([("a", SparseVector([2], [1.0]), {"new": 2})])
    assert store.get(["a"]) == {"a": Entry("a", SparseVector([2], [1.0]), {"new": 2}, None)}
    assert store.search(SparseVector([1, 7], [1.0, 1.0])) == []
    assert store.count() == 1


def test_an_empty_vector_is_kept_and_never_a_hit(store: Store) -> None:
    store.upsert_vectors([("a", SparseVector([], []))])
    assert store.count() == 1
    assert store.search(VECTOR) == []
    assert store.search(SparseVector([], [])) == []


def test_products_too_small_for_float32_are_no_hits(store: Store) -> None:
    store.upsert_vectors([("a", SparseVector([1], [1e-30]))])
    assert store.search(SparseVector([1], [1e-30])) == []


def test_text_queries_go_through_the_encoder(store: Store) -> None:
    store.upsert_vectors((doc_id, store.encoder.encode_query(doc_id)) for doc_id in ("imposto de renda", "bolo de fubá"))
    assert [hit.doc_id for hit in store.search("renda")] == ["imposto de renda"]
    assert store.search("   ") == []
    with pytest.raises(errors.TextError):
        store.search("\ud800")


def test_contents_survive_closing(url: str) -> None:
    with open_store(url, encoder=HashingEncoder()) as store:
        store.upsert_vectors([GOOD])
    with open_store(url, encoder=HashingEncoder()) as store:
        assert store.get(["good"])["good"].vector == VECTOR


def test_delete_counts_what_was_there(store: Store) -> None:
    store.upsert_vectors((str(n), VECTOR) for n in range(10))
    assert store.delete(["1", "1", "2", "no"]) == 2
    assert store.delete([]) == 0
    assert store.count() == 8


def test_a_native_filter_passes_through(store: Store) -> None:
    store.upsert_vectors((str(n), VECTOR, {"n": n}) for n in range(5))
    native = qdrant_edge.Filter(must=[qdrant_edge.FieldCondition("n", match=qdrant_edge.MatchValue(3))])
    assert [hit.doc_id for hit in store.search(VECTOR, filter=native)] == ["3"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "filter",
    [
        *("n = 3", 7, {"": 1}, {"a..b": 1}, {'a"b': 1}, {"n": math.inf}, {"n": 2**70}, {"n": "\ud800"}),
        *({"n": {"gte": float("nan")}}, {"n": {"gt": 1, "gtt": 2}}, {"n": {}}),
    ],
)
def test_bad_filters(store: Store, filter: Any) -> None:
    store.upsert_vectors([GOOD])
    with pytest.raises(errors.ConfigError):
        store.search(VECTOR, filter=filter)
    assert store.search(VECTOR)


@pytest.mark.parametrize("top_k", [0, -1, 1_000_000, 2.0, True, None, "3"])
def test_bad_top_k(store: Store, top_k: Any) -> None:
    with pytest.raises(errors.ConfigError, match="from 1 to 10,000"):
        store.search(VECTOR, top_k)


NESTED: Any = 1
for _ in range(30):
    NESTED = [NESTED]

BAD_ENTRIES: list[Any] = [
    ("x", {1: 0.5}),
    ("x", None),
    ("x", SparseVector([99_999], [1.0])),
    ("", VECTOR),
    ("  ", VECTOR),
    (None, VECTOR),
    (7, VECTOR),
    ("\ud800", VECTOR),
    ("a\0b", VECTOR),
    ("i" * 600, VECTOR),
    "xy",
    ("x",),
    ("x", VECTOR, {}, "hash", "more"),
    ("x", VECTOR, None),
    ("x", VECTOR, [1]),
    ("x", VECTOR, {"_id": "other"}),
    ("x", VECTOR, {"_hash": 1}),
    ("x", VECTOR, {1: 2}),
    ("x", VECTOR, {"a": float("nan")}),
    ("x", VECTOR, {"a": [float("inf")]}),
    ("x", VECTOR, {"a": {1, 2}}),
    ("x", VECTOR, {"a": b"bytes"}),
    ("x", VECTOR, {"a": np.float32(1)}),
    ("x", VECTOR, {"a": 2**63}),
    ("x", VECTOR, {"a": -(2**63) - 1}),
    ("x", VECTOR, {"a": "\ud800"}),
    ("x", VECTOR, {"\udcff": 1}),
    ("x", VECTOR, {"a": "nul\0"}),
    ("x", VECTOR, {"a": NESTED}),
]


@pytest.mark.parametrize("bad", BAD_ENTRIES, ids=lambda bad: repr(bad)[:40].encode("ascii", "backslashreplace").decode())
def test_a_bad_entry_stops_its_whole_batch(store: Store, bad: Any) -> None:
    with pytest.raises(errors.InputError) as caught:
        store.upsert_vectors([GOOD, ("second", VECTOR), bad, ("last", VECTOR)])
    assert "\n" not in str(caught.value)
    assert store.count() == 0
    assert store.upsert_vectors([GOOD]) == 1  # the store goes on to work


def test_batches_before_a_bad_one_are_stored_whole(url: str) -> None:
    with open_store(url, encoder=HashingEncoder(), max_batch_documents=2) as store:
        with pytest.raises(errors.VectorError):
            store.upsert_vectors([(str(n), VECTOR) for n in range(3)] + [("bad", None)])
        assert sorted(store.get(["0", "1", "2", "bad"])) == ["0", "1"]


def test_an_iterable_that_fails_stops_its_own_batch_only(store: Store) -> None:
    def entries() -> Any:
        yield GOOD
        raise LookupError("source gone")

    with pytest.raises(LookupError):
        store.upsert_vectors(entries())
    assert store.count() == 0


def test_use_after_close(url: str) -> None:
    store = open_store(url, encoder=HashingEncoder())
    store.close()
    store.close()
    for use in (store.count, store.flush, store.finish_loading, lambda: store.search("a"), lambda: store.get(["a"])):
        with pytest.raises(errors.StoreClosedError, match="open it again"):
            use()
    with pytest.raises(errors.StoreClosedError):
        store.upsert_vectors([GOOD])
    assert "closed" in repr(store)


def test_threads_may_share_a_store(store: Store) -> None:
    failures: list[BaseException] = []

    def load(part: int) -> None:
        try:
            for n in range(20):
                store.upsert_vectors([(f"{part}-{n}-{i}", VECTOR, {"part": part}) for i in range(5)])
                assert len(store.search(VECTOR, 5)) == 5
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=load, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.count() == 400


class FailingShard:
    """Stands for the engine's shard and raises the same error from every call."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object) -> None:
            raise self.error

        return fail


class Panic(BaseException):
    """Like PyO3's PanicException: not an Exception."""


def _failing(url: str, error: BaseException) -> EdgeStore:
    store = open_store(url, encoder=HashingEncoder())
    assert isinstance(store, EdgeStore)
    store._edge.close()
    store._edge._shard = FailingShard(error)
    return store


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Exception("Service runtime error: No space left on device (os error 28)"), errors.StoreWriteError),
        (Exception("IO Error: Permission denied (os error 13)"), errors.StoreWriteError),
        (OSError(30, "Read-only file system"), errors.StoreWriteError),
        (Exception("something else (os error 130)\nwith a second line"), errors.StoreError),
        (Panic("index out of bounds"), errors.StoreCorruptError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(3), SystemExit),
        (MemoryError(), MemoryError),
    ],
)
def test_what_the_engine_raises_is_typed(url: str, error: BaseException, expected: type[BaseException]) -> None:
    store = _failing(url, error)
    with pytest.raises(expected) as caught:
        store.count()
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)


def test_after_a_panic_the_handle_is_closed_for_good(url: str) -> None:
    store = _failing(url, Panic("poisoned"))
    with pytest.raises(errors.StoreCorruptError, match=r"gave up while it was asked to write \(poisoned\).*repair\(path\)"):
        store.upsert_vectors([GOOD])
    with pytest.raises(errors.StoreClosedError):
        store.count()
    store.close()


def test_no_write_is_tried_without_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    store.upsert_vectors([GOOD])
    usage = shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=33 * 2**20))
    store.upsert_vectors([("small", VECTOR)])
    with pytest.raises(errors.StoreWriteError, match="only 33 MiB are free"):
        store.upsert_vectors([("large", VECTOR, {"text": "x" * 900_000})])
    assert store.count() == 2
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    with pytest.raises(errors.StoreWriteError, match="are needed"):
        store.delete(["small"])
    store.finish_loading()  # an index that is not merged is slower, not wrong
    assert len(store.search(VECTOR)) == 2
