"""Whatever a caller hands in wrongly is a typed error, raised before anything reaches the engine or the wire."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.qdrant_server import stand_in

VECTOR = SparseVector([1], [1.0])
Watched = tuple[Store, Callable[[], int]]


@pytest.fixture(params=["edge", "qdrant"])
def watched(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Watched]:
    """A store with one document, and how many requests its engine has seen (of the embedded one: its documents)."""
    arguments: dict[str, Any] = {"encoder": HashingEncoder(), "settings": {"dense_size": 2}}
    if request.param == "edge":
        with open_store(f"edge:{tmp_path / 'index'}", **arguments) as store:
            store.upsert_vectors([("there", VECTOR)])
            yield store, store.count
        return
    with stand_in() as server, open_store(f"qdrant+{server.url}/laws", **arguments) as store:
        store.upsert_vectors([("there", VECTOR)])
        yield store, lambda: len(server.seen)


def nested(depth: int) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for _ in range(depth):
        payload = {"deeper": payload}
    return payload


BAD_ENTRIES: list[Any] = [
    ("", VECTOR),
    ("  ", VECTOR),
    (None, VECTOR),
    (-1, VECTOR),
    (2**64, VECTOR),
    (b"bytes", VECTOR),
    ("i" * 600, VECTOR),
    ("\ud800", VECTOR),
    ("a\0b", VECTOR),
    ("a", None),
    ("a", [1.0]),
    ("a", {1: 1.0}),
    ("a", SparseVector([4096], [1.0])),  # outside the vocabulary
    ("a", SparseVector([2**32 - 1], [1.0])),
    ("a", VECTOR, None),
    ("a", VECTOR, [1]),
    ("a", VECTOR, {"x": float("nan")}),
    ("a", VECTOR, {"x": float("inf")}),
    ("a", VECTOR, {"x": datetime.datetime(2020, 1, 1)}),
    ("a", VECTOR, {"x": {1, 2}}),
    ("a", VECTOR, {"x": b"bytes"}),
    ("a", VECTOR, {"x": 2**63}),
    ("a", VECTOR, {"x": np.float32(1)}),
    ("a", VECTOR, {1: "x"}),
    ("a", VECTOR, {"x": "\ud800"}),
    ("a", VECTOR, {"_id": "b"}),
    ("a", VECTOR, {"_tenant": "b"}),
    ("a", VECTOR, nested(30)),
    ("a", VECTOR, {}, "h", (1.0,)),
    ("a", VECTOR, {}, "h", (1.0, 2.0, 3.0)),
    ("a", VECTOR, {}, "h", (1.0, float("nan"))),
    ("a", VECTOR, {}, "h", ()),
    ("a", VECTOR, {}, "h", (0.0, -0.0)),
    ("a", VECTOR, {}, "h", "xy"),
    ("a",),
    "ab",
    None,
    3,
]


@pytest.mark.parametrize("bad", BAD_ENTRIES, ids=lambda bad: f"{bad!r:.40}")
def test_a_bad_entry_keeps_its_batch_from_the_engine(watched: Watched, bad: Any) -> None:
    store, seen = watched
    before = seen()
    with pytest.raises(errors.InputError):
        store.upsert_vectors([("good", VECTOR), bad])
    with pytest.raises(errors.InputError):
        store.load([bad])
    assert seen() == before


@pytest.mark.parametrize("group", ["false", 0, None])
def test_a_group_that_is_no_boolean(watched: Watched, group: Any) -> None:
    store, seen = watched
    before = seen()
    with pytest.raises(errors.ConfigError, match=r"group is .*: it must be true or false"):
        store.search(VECTOR, group=group)
    assert seen() == before


@pytest.mark.parametrize("top_k", [0, -1, 10_001, 10**9, 2.0, "3", None, True, float("nan")])
def test_a_bad_top_k(watched: Watched, top_k: Any) -> None:
    store, seen = watched
    before = seen()
    with pytest.raises(errors.ConfigError, match="top_k"):
        store.search(VECTOR, top_k)
    with pytest.raises(errors.ConfigError, match="top_k"):
        store.search_hybrid(VECTOR, (1.0, 2.0), top_k)
    assert seen() == before


@pytest.mark.parametrize(
    "filter",
    [
        {"a": b"x"},
        {"a": float("inf")},
        {"$or": {"a": 1}},
        {"a": {"gte": "x"}},
        {"a": {"gte": float("nan")}},
        {"a": {"about": 3}},
        {"a": {}},
        {"": 1},
        {1: 1},
        {"a..b": 1},
        {'a"b': 1},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": 2**63},
        {"a": [1, 2**70]},
        {"a": {"not": [[1]]}},
        "a = 1",
        3,
        ["a"],
    ],
    ids=lambda filter: f"{filter!r:.40}",
)
def test_a_bad_filter(watched: Watched, filter: Any) -> None:
    store, seen = watched
    before = seen()
    uses: list[Callable[[], Any]] = [
        lambda: store.search(VECTOR, filter=filter),
        lambda: store.search_hybrid(VECTOR, (1.0, 2.0), filter=filter),
        lambda: store.count(filter=filter),
        lambda: store.delete_where(filter),
    ]
    for use in uses:
        with pytest.raises(errors.ConfigError):
            use()
    assert seen() == before


@pytest.mark.parametrize("filter", [{}, None, (), {"$or": [{}]}, {"$not": {"$or": []}}, {"$and": []}])
def test_delete_where_does_not_take_everything_for_an_answer(watched: Watched, filter: Any) -> None:
    store, _ = watched
    with pytest.raises(errors.ConfigError, match="which is every document"):
        store.delete_where(filter)
    assert store.count() == 1


@pytest.mark.parametrize("text", ["x'); DROP TABLE", '{"$gt": 1}', "*", "a OR 1=1", "../..", "%00", "💥", "e\u0301", "\u202eabc"])
def test_text_in_filters_is_compared_and_never_interpreted(watched: Watched, text: str) -> None:
    store, _ = watched
    store.upsert_vectors([(text, VECTOR, {"a": text, text.replace('"', "").strip("."): 1})])
    assert [hit.doc_id for hit in store.search(VECTOR, filter={"a": text})] == [text]
    assert store.count(filter={"a": {"not": text}}) == 1
    assert store.get([text])[text].payload["a"] == text


@pytest.mark.parametrize(
    ("dense", "error"),
    [
        ((1.0,), errors.VectorError),
        ((), errors.VectorError),
        ((1.0, float("inf")), errors.VectorError),
        ((1.0, -1e39), errors.VectorError),  # infinite in float32
        ((1e19, 0.0), errors.VectorError),  # its product with itself is infinite in float32
        ((1.0, 10**400), errors.VectorError),
        ("ab", errors.VectorError),
        (None, errors.VectorError),
    ],
)
def test_a_bad_dense_query(watched: Watched, dense: Any, error: type[Exception]) -> None:
    store, seen = watched
    before = seen()
    with pytest.raises(error):
        store.search_hybrid(VECTOR, dense)
    assert seen() == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"rrf_k": 0},
        {"rrf_k": 1.5},
        {"rrf_k": True},
        {"rrf_k": 10**30},
        {"prefetch": 0},
        {"prefetch": "many"},
        {"dense_weight": -0.1},
        {"dense_weight": 1.1},
        {"dense_weight": float("nan")},
        {"dense_weight": True},
        {"dense_weight": "0.5"},
        {"dense_weight": 0.5, "rrf_k": 60},
    ],
    ids=str,
)
def test_bad_arguments_of_hybrid(watched: Watched, arguments: dict[str, Any]) -> None:
    store, _ = watched
    with pytest.raises(errors.ConfigError, match=next(iter(arguments))):
        store.search_hybrid(VECTOR, (1.0, 2.0), **arguments)


@pytest.mark.parametrize("query", ["\ud800", None, 3, b"x", ["a"]])
def test_a_query_that_is_no_text(watched: Watched, query: Any) -> None:
    store, seen = watched
    before = seen()
    with pytest.raises(errors.InputError):
        store.search(query)
    assert seen() == before


@pytest.mark.parametrize("doc_id", ["", None, 3, "i" * 600, "\ud800"])
def test_bad_ids_of_reads_and_deletes(watched: Watched, doc_id: Any) -> None:
    store, seen = watched
    before = seen()
    for use in (lambda: store.get([doc_id]), lambda: store.exists(doc_id), lambda: store.delete([doc_id])):
        with pytest.raises(errors.InputError):
            use()
    assert seen() == before


@pytest.mark.parametrize("doc_ids", ["there", "ab", "", b"ab", None, 3])
def test_ids_that_are_no_list_are_refused_whole(watched: Watched, doc_ids: Any) -> None:
    """A text is an iterable of its letters: delete("ab") must not delete the documents a and b."""
    store, seen = watched
    store.upsert_vectors([("a", VECTOR), ("b", VECTOR)])
    before = seen()
    for use in (store.get, store.content_hashes, store.delete):
        with pytest.raises(errors.ConfigError, match=r"doc_ids is .*a list of document ids"):
            use(doc_ids)
    for later in (store.aget, store.adelete):
        with pytest.raises(errors.ConfigError, match=r"doc_ids is .*a list of document ids"):
            asyncio.run(later(doc_ids))
    assert seen() == before


def test_nothing_to_do_asks_the_engine_nothing(watched: Watched) -> None:
    store, seen = watched
    before = seen()
    assert store.upsert_vectors([]) == 0
    assert store.upsert_vectors(iter(())) == 0
    assert store.delete([]) == 0
    assert store.get([]) == {}
    assert store.content_hashes([]) == {}
    assert store.search(SparseVector([], [])) == []
    assert seen() == before


def test_a_payload_changed_later_does_not_change_the_store(watched: Watched) -> None:
    store, _ = watched
    payload: dict[str, Any] = {"tags": ["a"]}
    store.upsert_vectors([("mine", VECTOR, payload)])
    payload["tags"].append("b")
    hit = next(hit for hit in store.search(VECTOR) if hit.doc_id == "mine")
    assert hit.payload == {"tags": ["a"]}


def test_dense_vectors_have_nowhere_to_go_without_the_setting(tmp_path: Any) -> None:
    def check(store: Store) -> None:
        with pytest.raises(errors.VectorError, match=r"nowhere to go.*setting dense_size"):
            store.upsert_vectors([Entry("a", VECTOR, {}, None, (1.0, 2.0))])
        with pytest.raises(errors.ConfigError, match="has no dense vectors"):
            store.search_hybrid(VECTOR, (1.0, 2.0))
        with pytest.raises(errors.VectorError, match="all zeros"):
            store.search_hybrid(VECTOR, (0, 0.0))
        assert store.count() == 0

    with open_store(f"edge:{tmp_path / 'index'}", encoder=HashingEncoder()) as store:
        check(store)
    with stand_in() as server, open_store(f"qdrant+{server.url}/laws", encoder=HashingEncoder()) as store:
        check(store)
