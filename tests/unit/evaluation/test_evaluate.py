"""A store measured against judgments: the numbers of its run, and what is wrong with the input."""

from __future__ import annotations

from typing import Any

import pytest

from splade_ptbr_connectors.errors import InputError
from splade_ptbr_connectors.evaluation.evaluate import evaluate
from splade_ptbr_connectors.evaluation.measures import measure
from splade_ptbr_connectors.stores.base import Hit
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore

QUERIES = {"q1": "vacina gripe", "q2": "bolo", "não-julgada": "café"}


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(HashingEncoder())
    texts = {"a": "vacina contra gripe", "b": "vacina da febre", "c": "bolo de fubá", "d": "bolo"}
    store.upsert_vectors((doc_id, store.encoder.encode_query(text)) for doc_id, text in texts.items())
    return store


def test_the_run_is_what_the_store_returns_and_is_what_is_measured(store: MemoryStore) -> None:
    qrels = {"q1": {"a": 2, "b": 1}, "q2": {"d": 1}}
    evaluation = evaluate(store, QUERIES, qrels)
    assert evaluation.run == {query_id: {hit.doc_id: hit.score for hit in store.search(QUERIES[query_id], 1000)} for query_id in qrels}
    assert evaluation.effectiveness == measure(evaluation.run, qrels)
    assert evaluation.effectiveness.means["nDCG@10"] > 0.8
    assert (evaluation.missing, evaluation.terms_per_query) == (0, 1.5)
    assert evaluation.latency_ms > 0


def test_payloads_stay_in_the_store() -> None:
    class Recording(MemoryStore):
        def _search(self, query: SparseVector, top_k: int, filter: Any, with_payload: bool) -> list[Hit]:
            wanted.append(with_payload)
            return super()._search(query, top_k, filter, with_payload)

    wanted: list[bool] = []
    store = Recording(HashingEncoder())
    store.upsert_vectors([("a", store.encoder.encode_query("vacina"), {"text": "vacina"})])
    assert evaluate(store, QUERIES, {"q1": {"a": 1}}).run["q1"].keys() == {"a"}
    assert wanted == [False]


def test_top_k_limits_the_run(store: MemoryStore) -> None:
    assert len(evaluate(store, QUERIES, {"q1": {"a": 1}}, top_k=1).run["q1"]) == 1


def test_relevant_documents_that_are_not_stored_are_counted(store: MemoryStore) -> None:
    assert evaluate(store, QUERIES, {"q1": {"a": 1, "sumiu": 1, "irrelevante": 0}}).missing == 1


def test_a_store_with_none_of_the_relevant_documents_is_the_wrong_one(store: MemoryStore) -> None:
    with pytest.raises(InputError, match="none of the 1 relevant documents"):
        evaluate(store, QUERIES, {"q1": {"sumiu": 1}})


def test_a_judged_query_without_a_text_is_an_error(store: MemoryStore) -> None:
    with pytest.raises(InputError, match=r"1 of 2 judged queries have no text.*'q9'"):
        evaluate(store, QUERIES, {"q1": {"a": 1}, "q9": {"a": 1}})


def test_no_judgments_is_an_error(store: MemoryStore) -> None:
    with pytest.raises(InputError, match="no relevance judgments"):
        evaluate(store, QUERIES, {})
