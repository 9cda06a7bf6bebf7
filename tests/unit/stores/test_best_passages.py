"""How deep a search looks for the best passage of each document: exact however deep it begins, and seldom twice."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.stores.passages import Found, Spread, are_of_one_document, best_passages, deeper, passage_number, tail_point
from splade_ptbr_connectors.stores.payloads import point_id
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.passages import document


def point(doc_id: str, number: int) -> int:
    return int(tail_point(doc_id, "0123456789abcdef", number, None) if number else point_id(doc_id), 16)


@given(passages=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 5)), max_size=60), top_k=st.integers(1, 9))
def test_the_best_of_each_with_all_ties(passages: list[tuple[str, int]], top_k: int) -> None:
    numbers = {doc_id: itertools.count() for doc_id in "abcdefgh"}
    found = [(doc_id, score, next(numbers[doc_id])) for doc_id, score in passages]
    ordered: list[Found] = sorted(
        [(point(doc_id, number), float(score), None) for doc_id, score, number in found], key=lambda each: -each[1]
    )

    def search(limit: int) -> list[Found]:
        return [each for each in ordered if each[1] >= ordered[min(limit, len(ordered)) - 1][1]]

    best: dict[str, tuple[int, int]] = {}
    for doc_id, score, number in found:
        best[doc_id] = max(best.get(doc_id, (0, 0)), (score, -number))
    ranked = sorted(best.values(), reverse=True)
    least = ranked[min(top_k, len(ranked)) - 1][0] if ranked else 0
    expected = sorted((point(doc_id, -number), float(score)) for doc_id, (score, number) in best.items() if score >= least)
    spread = Spread()
    for _ in range(3):
        chosen = best_passages(search, top_k, spread)
        assert sorted((each, score) for each, score, _ in chosen) == expected
        assert [score for _, score, _ in chosen] == sorted([score for _, score, _ in chosen], reverse=True)


@given(st.sampled_from(["a", "lei 8.112"]), st.sampled_from(["a", "lei 8.112"]), st.integers(0, 65_535), st.integers(0, 65_535))
def test_ids_say_whose_passages_points_are(one: str, other: str, number: int, other_number: int) -> None:
    assert passage_number(point(one, number)) == number
    assert are_of_one_document(point(one, number), point(other, other_number)) == (one == other)


def test_a_search_looks_as_deep_as_those_before_needed() -> None:
    spread, searches = Spread(), 0
    for needed in [3.0] * 20:
        searches += spread.first(10) < 10 * needed
        spread.learn(10, int(10 * needed))
    assert searches <= 3 and spread.first(10) < 40
    spread.learn(1, 65_536)
    assert spread.first(10) < 60, "one strange document does not make all searches deep"
    for _ in range(200):
        spread.learn(10, 10)
    assert spread.first(10) < 20


@given(wanted=st.integers(1, 20_000), documents=st.integers(0, 10_000), missing=st.integers(1, 10_000))
def test_a_search_that_found_too_few_looks_deeper_but_not_much(wanted: int, documents: int, missing: int) -> None:
    assert wanted < deeper(wanted, documents, documents + missing) <= 4 * wanted


@pytest.mark.parametrize("engine", ["numba", "edge"])
def test_documents_in_segments_and_beside_them(engine: str, tmp_path: Path) -> None:
    """Some merged, some replaced or deleted since, some written since: what is found is what a plain look at all of them finds."""
    random = np.random.default_rng(0)

    def made(n: int) -> list[tuple[tuple[int, int], SparseVector]]:
        vectors = [SparseVector(sorted(random.choice(40, 3, replace=False)), random.integers(1, 4, 3)) for _ in range(1 + n % 7)]
        return [((place, place + 1), vector) for place, vector in enumerate(vectors)]

    held = {f"d{n:03}": made(n) for n in range(150)}
    with open_store(f"{engine}:{tmp_path}/store", encoder=HashingEncoder(vocab_size=64)) as store:
        store.upsert_vectors([document(doc_id, pieces, {}) for doc_id, pieces in held.items()])
        store.finish_loading()
        agrees(store, held)
        changed = {f"d{n:03}": made(n + 3) for n in range(0, 200, 9)}
        store.upsert_vectors([document(doc_id, pieces, {}) for doc_id, pieces in changed.items()])
        store.delete(["d001", "d010", "d199"])
        held = {doc_id: pieces for doc_id, pieces in (held | changed).items() if doc_id not in ("d001", "d010", "d199")}
        agrees(store, held)


def agrees(store: Store, held: dict[str, list[tuple[tuple[int, int], SparseVector]]]) -> None:
    for term in range(0, 40, 5):
        query = SparseVector([term, term + 1, term + 2], [1.0, 2.0, 1.0])
        best = []
        for doc_id, pieces in held.items():
            scores = [query.dot(vector) for _, vector in pieces]
            best.append((-max(scores), doc_id, scores.index(max(scores))))
        expected = sorted(each for each in best if each[0] < 0)
        for top_k in (1, 7, 50, 1000):
            hits = store.search(query, top_k, with_payload=False)
            assert [(-hit.score, hit.doc_id, hit.passage.number) for hit in hits] == expected[:top_k]
