"""What the index keeps of a weight, on the real engine with its index built: scores are as exact as promised, and no more is forgiven."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors import errors
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores import datatypes, open_store
from splade_ptbr_connectors.stores.base import SCORE_TOLERANCE, Entry, EntryPassage, Hit
from splade_ptbr_connectors.stores.edge import EdgeStore
from splade_ptbr_connectors.stores.edge.settings import DATATYPES as EDGE_DATATYPES
from splade_ptbr_connectors.stores.edge.settings import VECTOR, EdgeSettings
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

DATATYPES = ("float32", "float16", "uint8")
VOCABULARY, TERMS = 300, 20
positive = st.floats(2.0**-20, 100.0, width=32)
vectors = st.dictionaries(st.integers(0, 30), positive, min_size=1, max_size=12).map(SparseVector.from_dict)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index is built from one kilobyte on, not from ten megabytes."""

    def config(self: EdgeSettings) -> Any:
        sparse = {VECTOR: edge.EdgeSparseVectorParams(datatype=EDGE_DATATYPES[self.datatype])}
        return edge.EdgeConfig(sparse_vectors=sparse, optimizers=edge.EdgeOptimizersConfig(indexing_threshold=1))

    monkeypatch.setattr(EdgeSettings, "config", config)


def opened(folder: Path, datatype: str, **arguments: Any) -> EdgeStore:
    store = open_store(f"edge:{folder / datatype}", encoder=HashingEncoder(), settings={"datatype": datatype}, **arguments)
    assert isinstance(store, EdgeStore)
    return store


def collection(count: int = 600, scale: float = 1.0) -> dict[str, SparseVector]:
    random = np.random.default_rng(count)
    return {
        f"d{n}": SparseVector(random.choice(VOCABULARY, TERMS, replace=False), scale * (random.gamma(1.2, 0.45, TERMS) + 0.01))
        for n in range(count)
    }


@pytest.mark.parametrize("datatype", DATATYPES)
def test_an_ingest_into_a_built_index_is_sound_and_its_scores_are_as_exact_as_promised(tmp_path: Path, datatype: str) -> None:
    documents = collection()
    with opened(tmp_path, datatype) as store:
        report = ingest(list(documents.items()), store, vectors=True)
        assert report.reconciled is not None and report.reconciled.ok
        differing = 0
        for query in list(documents.values())[:20]:
            for hit in store.search(query, 200):
                vector = documents[hit.doc_id]
                tolerance = store.score_tolerance(query, vector)
                assert abs(hit.score - query.dot(store.quantized(vector))) <= tolerance <= 0.05 * query.dot(query)
                differing += abs(hit.score - query.dot(vector)) > 1e-6 * hit.score
        assert (differing > 0) == (datatype != "float32")  # else there was no index, and nothing was shown
        assert store.get(list(documents)).keys() == documents.keys()
        assert {doc_id: entry.vector for doc_id, entry in store.get(list(documents)).items()} == documents


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_scores_beyond_what_rounding_explains_are_still_an_error(
    tmp_path: Path, datatype: str, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = EdgeStore._search

    def wrong(self: EdgeStore, *arguments: Any) -> list[Hit]:
        return [hit._replace(score=factor * hit.score) for hit in honest(self, *arguments)]

    monkeypatch.setattr(EdgeStore, "_search", wrong)
    with opened(tmp_path, datatype) as store, pytest.raises(errors.IngestError, match="other vectors"):
        ingest(list(collection().items()), store, vectors=True)


def test_deleted_documents_may_have_widened_the_range(tmp_path: Path) -> None:
    """The index keeps the steps that it was built with: of weights up to twice as large, which is what the tolerance allows for."""
    documents = collection()
    wide = {f"wide {doc_id}": SparseVector(vector.term_ids, 2 * vector.weights) for doc_id, vector in documents.items()}
    with opened(tmp_path, "uint8") as store:
        ingest(list((documents | wide).items()), store, vectors=True)
        store.delete(wide)
        for query in list(documents.values())[:20]:
            for hit in store.search(query, 100):
                assert abs(hit.score - query.dot(documents[hit.doc_id])) <= store.score_tolerance(query, documents[hit.doc_id])


def test_heavier_ones_that_are_gone_leave_an_index_that_is_searched_and_loaded(tmp_path: Path) -> None:
    """Their weights were more than twice the largest that is left: scores are further off than the tolerance, and nothing else is wrong."""
    documents = collection()
    entries = [
        Entry(doc_id, vector, {"text": "ab"}, passages=(EntryPassage(0, 0, 1, vector), EntryPassage(1, 1, 2, documents[f"d{n // 2}"])))
        for n, (doc_id, vector) in enumerate(documents.items())
    ]
    heavy = {"heavy": SparseVector(range(VOCABULARY), [12.0] * VOCABULARY)}
    with opened(tmp_path, "uint8") as store:
        ingest([*entries, *heavy.items()], store, vectors=True)
        store.delete(heavy)
        query = SparseVector(range(VOCABULARY), [1.0] * VOCABULARY)
        off = [abs(hit.score - query.dot(store.get([hit.doc_id])[hit.doc_id].vectors[hit.passage.number])) for hit in store.search(query)]
        assert max(off) > 0  # else the index was not built
        for doc_id in list(documents)[:20]:
            single = SparseVector(documents[doc_id].term_ids[:1], [1.0])
            scores = {entry.doc_id: [score for score in map(single.dot, entry.vectors) if score > 0] for entry in entries}
            hits = store.search(single, 5, best=2)
            assert len(hits) == 5 and all(hit.score == pytest.approx(np.mean(scores[hit.doc_id])) for hit in hits)
        assert ingest([("new", documents["d1"])], store, vectors=True).written == 1


@pytest.mark.parametrize("tenant", [None, "A"])
def test_the_largest_weights_are_those_of_all_tenants(tmp_path: Path, tenant: str | None) -> None:
    documents = collection(300)
    with opened(tmp_path, "uint8") as store:
        store.upsert_vectors(documents.items())
    with opened(tmp_path, "uint8", tenant=tenant) as store:
        weights = [max((vector.to_dict().get(term, 0.0) for vector in documents.values()), default=0.0) for term in range(VOCABULARY + 1)]
        assert store._largest_weights(list(range(VOCABULARY + 1))) == weights


def test_a_weight_that_float16_cannot_keep_refuses_its_document_only(tmp_path: Path) -> None:
    documents = {"largest": SparseVector([1], [65_519.0]), "huge": SparseVector([1, 2], [0.5, 65_520.0]), "ok": SparseVector([1], [2.0])}
    with opened(tmp_path, "float16") as store:
        [refusal] = store.load(list(documents.items()))
        assert refusal.doc_id == "huge" and "more than float16 keeps" in refusal.reason
        assert store.load([("huge", documents["huge"])]) == [refusal]
        assert [hit.doc_id for hit in store.search(SparseVector([1], [1.0]))] == ["largest", "ok"]
        with pytest.raises(errors.StoreRefusedError, match="more than float16 keeps"):
            store.upsert_vectors(documents.items())


def test_a_weight_that_float16_rounds_to_nothing_is_no_loss_to_the_check(tmp_path: Path) -> None:
    documents = collection()
    faint = {f"faint{n}": SparseVector([VOCABULARY + n, 4], [1e-9, 0.5 + n]) for n in range(50)}
    faint |= {f"unseen{n}": SparseVector([VOCABULARY + n], [1e-9]) for n in range(50)}
    with opened(tmp_path, "float16") as store:
        report = ingest(list((documents | faint).items()), store, vectors=True, reconcile=2000)
        assert report.reconciled is not None and report.reconciled.ok
        assert store.quantized(faint["unseen1"]) == SparseVector([], [])


@given(query=vectors, document=vectors, others=st.lists(vectors, max_size=20))
@settings(deadline=None)
def test_the_tolerance_covers_the_documented_rounding(query: SparseVector, document: SparseVector, others: list[SparseVector]) -> None:
    """uint8 by its definition: the nearest of 256 steps between a term's smallest and largest weight."""
    everything = [vector.to_dict() for vector in (document, *others)]
    weights = {term: [vector[term] for vector in everything if term in vector] for term in document.to_dict()}
    steps = {term: (max(values) - min(values)) / 255 for term, values in weights.items()}
    kept = {
        term: min(weights[term]) + round((weight - min(weights[term])) / steps[term]) * steps[term] if steps[term] else weight
        for term, weight in document.to_dict().items()
    }
    score = sum(weight * kept.get(term, 0.0) for term, weight in query.to_dict().items())
    largest = lambda terms: [max(weights[term]) for term in terms]  # noqa: E731
    tolerance = datatypes.score_tolerance(query, document, "uint8", largest)
    assert abs(score - query.dot(document)) <= tolerance
    half = datatypes.quantized(document, "float16")
    tolerance = datatypes.score_tolerance(query, document, "float16", largest)
    assert abs(query.dot(document) - query.dot(half)) <= tolerance
    assert datatypes.score_tolerance(query, document, "float32", largest) == pytest.approx(SCORE_TOLERANCE * query.dot(document))
