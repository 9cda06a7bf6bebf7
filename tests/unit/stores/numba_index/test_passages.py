"""Passages in the numba store: documents over the border of a segment, segments built again, a damaged row."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.batches import batched
from splade_ptbr_connectors.errors import StoreCorruptError
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, EntryPassage, Store
from splade_ptbr_connectors.stores.numba import merge
from splade_ptbr_connectors.stores.numba import store as module
from splade_ptbr_connectors.stores.numba.database import DATABASE, _connected
from splade_ptbr_connectors.stores.numba.postings import WINDOW
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.passages import PassageOracle

ENCODER = HashingEncoder(vocab_size=64)
QUERY = SparseVector(range(64), [1.0] * 64)


def long_document(doc_id: str, count: int, seed: int = 0) -> Entry:
    random = np.random.default_rng(seed)
    vectors = [SparseVector([int(random.integers(64))], [float(random.integers(1, 9))]) for _ in range(count)]
    passages = tuple(EntryPassage(n, n, n + 1, vector) for n, vector in enumerate(vectors))
    return Entry(doc_id, vectors[0], {"text": "x" * count}, "h", None, passages)


def scores(store: Store) -> list[tuple[str, float, int]]:
    return [(hit.doc_id, hit.score, hit.passage.number) for hit in store.search(QUERY, 10_000, with_payload=False, group=False)]


def test_a_document_over_the_border_of_two_segments(tmp_path: Path) -> None:
    """Passages fill a segment to its last row, so that the last document has a passage in each of two."""
    with open_store(f"numba:{tmp_path}/store", encoder=ENCODER, max_batch_documents=10_000) as store:
        store.upsert_vectors((f"d{n:05}", SparseVector([n % 64], [0.5])) for n in range(WINDOW - 4))
        border = long_document("border", 9)
        store.upsert_vectors([border])
        store.finish_loading()
        assert store.info()["segments"] == 2 and store.count() == WINDOW - 3
        assert store.get(["border"]) == {"border": border}
        best = max(vector.weights[0] for vector in border.vectors)
        first = next(n for n, vector in enumerate(border.vectors) if vector.weights[0] == best)
        assert [(hit.doc_id, hit.score, hit.passage.number) for hit in store.search(QUERY, 1)] == [("border", best, first)]
        assert sorted(number for doc_id, _, number in scores(store) if doc_id == "border") == list(range(9))
        assert [hit.doc_id for hit in store.search(QUERY, 3)] == ["border", "d00000", "d00001"]
        assert store.delete(["border"]) == 1 and store.count() == WINDOW - 4
        assert all(doc_id != "border" for doc_id, _, _ in scores(store))


@given(
    documents=st.lists(st.integers(1, 9), min_size=1, max_size=60),
    batch=st.integers(1, 20),
    window=st.sampled_from([7, 16]),
    best=st.sampled_from([1, 2]),
)
@settings(max_examples=40, deadline=None)
def test_a_document_is_found_once_wherever_a_load_has_got_to(
    tmp_path_factory: pytest.TempPathFactory, documents: list[int], batch: int, window: int, best: int
) -> None:
    """What fills no segment stays beside them, with all passages of its documents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW", window)
        patch.setattr(merge, "WINDOW", window)
        oracle = PassageOracle()
        with open_store(f"numba:{tmp_path_factory.mktemp('loads')}", encoder=ENCODER) as store:
            for some in batched([long_document(f"d{n}", size, n) for n, size in enumerate(documents)], batch):
                store.upsert_vectors(some)
                oracle.upsert(some)
                found = store.search(QUERY, 100, best=best)
                assert [(hit.doc_id, hit.score) for hit in found] == [hit[:2] for hit in oracle.mean_of_best(QUERY, 100, best)]
            numbers = [number for segment in store._contents.segments for number in segment.numbers.tolist()]  # type: ignore[attr-defined]
            assert numbers == sorted(numbers) and len(store._contents.buffer) < window + 9  # type: ignore[attr-defined]


def test_segments_are_built_again_with_their_passages(tmp_path: Path) -> None:
    url = f"numba:{tmp_path}/store"
    with open_store(url, encoder=ENCODER) as store:
        store.upsert_vectors([long_document(f"d{n}", 1 + n % 5, n) for n in range(40)])
        store.finish_loading()
        expected, entries = scores(store), {entry.doc_id: entry for entry in store.scan()}
    for segment in (tmp_path / "store").glob("*.segment"):
        segment.write_bytes(b"damaged")
    with open_store(url, encoder=ENCODER, settings={"verify": True}) as store:
        assert scores(store) == expected and {entry.doc_id: entry for entry in store.scan()} == entries


def test_a_store_without_long_documents_is_of_the_first_format(tmp_path: Path) -> None:
    url = f"numba:{tmp_path}/store"

    def version() -> int:
        with contextlib.closing(_connected(tmp_path / "store" / DATABASE)) as connection:
            found: int = connection.execute("PRAGMA user_version").get
            return found

    with open_store(url, encoder=ENCODER) as store:
        store.upsert_vectors([("a", QUERY), long_document("b", 1)._replace(passages=())])
        store.finish_loading()
    assert version() == 1
    with open_store(url, encoder=ENCODER) as store:
        store.upsert_vectors([long_document("b", 2)])
    assert version() == 2


def test_a_damaged_passage_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from splade_ptbr_connectors.stores.numba import rows

    url = f"numba:{tmp_path}/store"
    with open_store(url, encoder=ENCODER) as store:
        with monkeypatch.context() as patch:
            patch.setattr(rows, "_passage_checksum", lambda row: 1)
            store.upsert_vectors([long_document("b", 3)])
        with pytest.raises(StoreCorruptError, match="a passage of document 'b' is damaged"):
            store.get(["b"])
    with pytest.raises(StoreCorruptError, match="a passage of document 'b' is damaged"):
        open_store(url, encoder=ENCODER, settings={"verify": True})
