"""Settings of an edge store: what it is created with it keeps, and what it is not it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.stores import entries, open_store
from splade_ptbr_connectors.stores.base import Entry
from splade_ptbr_connectors.stores.edge import EdgeStore
from splade_ptbr_connectors.stores.entries import MAX_DENSE_LENGTH
from splade_ptbr_connectors.stores.model_stamp import FILE_NAME
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

VECTOR = SparseVector([1], [1.0])
HYBRID = {"datatype": "float16", "dense_size": 2, "dense_distance": "euclid"}


def opened(url: str, **settings: Any) -> EdgeStore:
    store = open_store(url, encoder=HashingEncoder(), settings=settings)
    assert isinstance(store, EdgeStore)
    return store


def test_a_store_keeps_the_settings_it_was_created_with(url: str) -> None:
    opened(url, **HYBRID).close()
    for again in ({}, HYBRID, {"dense_size": 2}):
        with opened(url, **again) as store:
            assert json.loads(json.dumps(store.info()))["settings"] == {"vector": "splade", **HYBRID}


@pytest.mark.parametrize(
    ("created", "asked"),
    [
        ({}, {"datatype": "uint8"}),
        ({"datatype": "uint8"}, {"datatype": "float32"}),
        ({}, {"dense_size": 2}),
        (HYBRID, {"dense_size": 3}),
        (HYBRID, {"dense_distance": "dot"}),
    ],
)
def test_other_settings_than_the_store_has(url: str, created: dict[str, Any], asked: dict[str, Any]) -> None:
    opened(url, **created).close()
    with pytest.raises(errors.StoreFormatError, match="leave the setting out, or ingest into a new store"):
        opened(url, **asked)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"datatyp": "float16"}, "unknown store setting 'datatyp' .did you mean 'datatype'"),
        ({"vector": "mine"}, "unknown store setting 'vector'"),
        ({"datatype": "float64"}, "datatype is 'float64': it must be one of float32, float16, uint8"),
        ({"datatype": None}, "datatype is None: it must be one of float32, float16, uint8"),
        ({"dense_size": 0}, "dense_size is 0"),
        ({"dense_size": 10**6}, "dense_size is 1000000"),
        ({"dense_size": 2.0}, "dense_size is 2.0"),
        ({"dense_size": 2, "dense_distance": "far"}, "dense_distance is 'far'"),
    ],
)
def test_what_is_no_setting_creates_nothing(url: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ConfigError, match=message):
        opened(url, **settings)
    assert not Path(url.removeprefix("edge:")).exists()


def test_a_store_made_before_there_were_dense_vectors_opens(url: str) -> None:
    with opened(url) as store:
        store.upsert_vectors([("a", VECTOR)])
    content = json.loads((Path(url.removeprefix("edge:")) / FILE_NAME).read_text())
    assert content["settings"] == {"vector": "splade", "datatype": "float32"}
    with opened(url) as store:
        assert store.get(["a"])["a"] == Entry("a", VECTOR)
        assert store.settings.dense_size is None


def test_distances_order_as_they_are_named(url: str) -> None:
    dense = {"near": (1.0, 1.0), "long": (9.0, 5.0), "along": (2.0, 2.0)}
    best = {"dot": "long", "euclid": "near", "cosine": "along"}
    for distance, expected in best.items():
        with opened(f"{url}-{distance}", dense_size=2, dense_distance=distance) as store:
            vectors = dense if distance != "cosine" else {"along": (5.0, 5.1), "long": (9.0, 5.0), "far": (1.0, -1.0)}
            store.upsert_vectors(Entry(doc_id, VECTOR, {}, None, vector) for doc_id, vector in vectors.items())
            hits = store.search_hybrid(SparseVector([], []), (1.0, 1.1), 3)
            assert hits[0].doc_id == expected


@pytest.mark.parametrize("distance", ["dot", "euclid", "cosine"])
def test_ties_of_a_dense_search_are_cut_by_document_id(url: str, distance: str) -> None:
    """More ties than are asked for at first, and whatever order they were written in."""
    with opened(url, dense_size=2, dense_distance=distance) as store:
        ids = [f"d{number * 37 % 50:02}" for number in range(50)]
        store.upsert_vectors(Entry(doc_id, VECTOR, {}, None, (-1.0, -1.0)) for doc_id in ids)
        store.upsert_vectors([Entry("z", VECTOR, {}, None, (1.0, 1.0))])
        for fusion in ({"dense_weight": 1}, {"rrf_k": 1}):
            hits = store.search_hybrid(SparseVector([], []), (2.0, 2.0), 10, prefetch=4, **fusion)
            assert [hit.doc_id for hit in hits] == ["z", "d00", "d01", "d02"]


@pytest.mark.parametrize("distance", ["dot", "euclid", "cosine"])
def test_dense_vectors_of_any_length_that_is_accepted_have_finite_scores(url: str, distance: str) -> None:
    longest = 0.999 * MAX_DENSE_LENGTH
    with opened(url, dense_size=2, dense_distance=distance) as store:
        pairs = {"along": (longest, 0.0), "across": (0.0, longest), "against": (-longest, 0.0), "short": (1e-30, 0.0)}
        store.upsert_vectors(Entry(doc_id, VECTOR, {}, None, vector) for doc_id, vector in pairs.items())
        hits = store.search_hybrid(SparseVector([], []), (longest, 0.0), 4, dense_weight=1)
        assert len(hits) == 4 and hits[0].score == 1 and all(0 <= hit.score <= 1 for hit in hits)


def test_a_longer_dense_vector_that_is_stored_already_is_an_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(url, dense_size=2) as store:
        with monkeypatch.context() as earlier:
            earlier.setattr(entries, "MAX_DENSE_LENGTH", float("inf"))
            store.upsert_vectors([Entry("long", VECTOR, {}, None, (3e38, 3e38)), Entry("b", VECTOR, {}, None, (1.0, 1.0))])
        with pytest.raises(errors.StoreFormatError, match=r"dense score of document 'long' is inf: .* too long for float32"):
            store.search_hybrid(VECTOR, (2.0, 2.0))


def test_info_says_how_much_there_is(url: str) -> None:
    with opened(url) as store:
        store.upsert_vectors([(f"d{n}", VECTOR) for n in range(7)])
        info = store.info()
    assert (info["engine"], info["documents"]) == ("edge", 7)
    assert info["bytes"] > 0
    with pytest.raises(errors.StoreClosedError):
        store.info()
