"""Documents by the mean of their best few passages: exact however few of them are read, and no more of them read than may matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.filters import AnyOf
from splade_ptbr_connectors.retrieval import explain_hits
from splade_ptbr_connectors.stores import mean_of_best, open_store
from splade_ptbr_connectors.stores.base import Entry, Hit, Store
from splade_ptbr_connectors.stores.calls import drive
from splade_ptbr_connectors.stores.engine_methods import Ask
from splade_ptbr_connectors.stores.entries import EngineFilter, ParsedFilter, Search
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.operations import ASYNC
from tests.support.passages import PassageOracle, document
from tests.support.qdrant_server import stand_in

QUERY = SparseVector([1], [1.0])
DEEP = mean_of_best.READ_AT_ONCE


def of_scores(doc_id: str, *scores: float) -> Entry:
    """A document whose passages have these scores for QUERY; 0 shares no term with it."""
    return document(doc_id, [((n, n + 1), SparseVector([1 if score else 2], [score or 1.0])) for n, score in enumerate(scores)], {})


class Engine:
    """Answers what a search asks of an engine, out of an oracle, and remembers which documents were read."""

    by_score = True

    def __init__(self, *entries: Entry) -> None:
        self.oracle, self.read = PassageOracle(), list[str]()
        self.oracle.upsert(entries)

    def __call__(self, asked: Ask) -> Any:
        if asked.method == "search_passages":
            query, depth, *_ = asked.arguments
            return [Hit(doc_id, score, {}) for doc_id, score, _ in self.oracle.best(query, depth)]
        self.read += asked.arguments[0]
        return {doc_id: self.oracle.entries[None, doc_id] for doc_id in asked.arguments[0]}

    def found(self, top_k: int, best: int, filter: ParsedFilter = ()) -> list[tuple[str, float, int]]:
        search = Search(QUERY, top_k, filter, True, True, None, best)
        hits = drive(mean_of_best.by_mean_of_best(search, lambda vector: vector, lambda query, vector: 1e-6, by_score=self.by_score), self)
        return [(hit.doc_id, hit.score, hit.passage.number) for hit in hits]

    def check(self, top_k: int, best: int) -> None:
        assert self.found(top_k, best) == self.oracle.mean_of_best(QUERY, top_k, best)


@given(
    documents=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=7), max_size=40),
    top_k=st.integers(1, 12),
    best=st.integers(2, 6),
    at_once=st.sampled_from([1, 2, 3, DEEP]),
)
def test_as_a_plain_look_at_all_documents(documents: list[list[int]], top_k: int, best: int, at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mean_of_best, "READ_AT_ONCE", at_once)
        Engine(*[of_scores(f"d{n:02}", *scores) for n, scores in enumerate(documents)]).check(top_k, best)


@pytest.mark.parametrize("count", [1, 2, 3, DEEP - 1, DEEP, DEEP + 1, 2 * DEEP, 2 * DEEP + 1, 5 * DEEP])
def test_the_first_may_stand_last_by_their_best_passages(count: int) -> None:
    """Whatever is read at once, and however deep the search begins: the documents before have one good passage, and bad ones."""
    one_good = [of_scores(f"b{n:04}", 8, 1, 1) for n in range(count)]
    engine = Engine(*one_good, of_scores("a", 6, 6, 6), of_scores("c", 6, 6, 6), of_scores("d", 5))
    assert engine.found(2, 3) == [("a", 6.0, 0), ("c", 6.0, 0)]
    for top_k in (1, 3, 4, count, count + 3, count + 9):
        engine.check(top_k, 3)


@given(score=st.floats(1e-3, 100), best=st.integers(2, 100))
def test_no_mean_is_above_the_best_passage(score: float, best: int) -> None:
    vector = QUERY.dot(SparseVector([1], [score]))
    assert Engine(of_scores("a", *[score] * best)).found(1, best) == [("a", vector, 0)]


def test_documents_that_cannot_be_among_the_first_are_not_read() -> None:
    engine = Engine(*[of_scores(f"d{n:04}", 1000.0 - n, 999.0 - n) for n in range(900)])
    engine.check(5, 2)
    assert engine.read == [f"d{n:04}" for n in range(10)]


class Elsewhere(Engine):
    """Another process deletes "b", and replaces "c", after they are found and before they are read."""

    def __call__(self, asked: Ask) -> Any:
        if asked.method == "get":
            self.oracle.delete(["b"])
            self.oracle.upsert([of_scores("c", 0)])
            return {doc_id: entry for doc_id, entry in super().__call__(asked).items() if doc_id != "b"}
        return super().__call__(asked)


def test_documents_that_change_meanwhile_are_left_out() -> None:
    assert Elsewhere(of_scores("a", 3, 1), of_scores("b", 4, 4), of_scores("c", 5, 5)).found(3, 2) == [("a", 2.0, 0)]


class Moved(Engine):
    """Another process gives "b" another subject after it is found and before it is read."""

    def __call__(self, asked: Ask) -> Any:
        if asked.method == "get":
            self.oracle.upsert([of_scores("b", 4, 4)._replace(payload={"subject": "lei"})])
        return super().__call__(asked)


@pytest.mark.parametrize(("filter", "expected"), [((AnyOf("subject", ("saúde",)),), ["a"]), (EngineFilter("its own"), ["b", "a"])])
def test_documents_that_the_filter_passes_no_more_are_left_out(filter: ParsedFilter, expected: list[str]) -> None:
    entries = [of_scores(doc_id, score, score)._replace(payload={"subject": "saúde"}) for doc_id, score in (("a", 3), ("b", 4))]
    assert [doc_id for doc_id, *_ in Moved(*entries).found(3, 2, filter)] == expected


class Rounding(Engine):
    """Its scores are off by up to a half, as those of an index under uint8 that was built with weights which are gone."""

    by_score = False

    def __call__(self, asked: Ask) -> Any:
        answer = super().__call__(asked)
        if asked.method != "search_passages":
            return answer
        payloads = {hit.doc_id: self.oracle.entries[None, hit.doc_id].payload if asked.arguments[3] else {} for hit in answer}
        off = [hit._replace(score=hit.score + (0.5 if int(hit.doc_id[1:]) % 2 else -0.5), payload=payloads[hit.doc_id]) for hit in answer]
        return sorted(off, key=lambda hit: (-hit.score, hit.doc_id))


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), max_size=40), st.integers(1, 12), st.integers(2, 4))
def test_an_engine_that_rounds_by_what_is_gone_is_believed_less(documents: list[list[int]], top_k: int, best: int) -> None:
    Rounding(*[of_scores(f"d{n:02}", *scores) for n, scores in enumerate(documents)]).check(top_k, best)


class Namesakes(Rounding):
    """Found are a tenant's documents, read are others of the same ids."""

    def __call__(self, asked: Ask) -> Any:
        answer = super().__call__(asked)
        if asked.method == "get":
            return {doc_id: entry._replace(payload={"kind": "public"}) for doc_id, entry in answer.items()}
        return [hit._replace(payload={"kind": "secret"}) for hit in answer] if asked.arguments[3] else answer


def test_where_scores_do_not_tell_payloads_do() -> None:
    with pytest.raises(ConfigError, match="read as another than it was found"):
        Namesakes(of_scores("d0", 3, 1), of_scores("d1", 4, 4)).found(2, 2)


# -- in stores -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["edge", "numba", "qdrant"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Store]]:
    encoder = HashingEncoder(vocab_size=24)
    if request.param == "qdrant":
        with stand_in() as server:
            yield partial(open_store, f"qdrant+{server.url}/all", encoder=encoder)
    else:
        yield partial(open_store, f"{request.param}:{tmp_path}", encoder=encoder)


ENTRIES = [of_scores("long", 8, 2, 5), of_scores("even", 6, 6), of_scores("short", 5), of_scores("other", 0, 0)]


def test_min_score_and_asearch(opened: Callable[..., Store]) -> None:
    with opened() as store:
        store.upsert_vectors(ENTRIES)
        found = store.search(QUERY, best=2)
        assert [(hit.doc_id, hit.score, hit.passage.number) for hit in found] == [("long", 6.5, 0), ("even", 6.0, 0), ("short", 5.0, 0)]
        assert store.search(QUERY, best=2, min_score=6) == found[:2]
        assert ASYNC.search(store, QUERY, best=2) == found
        assert [hit.score for hit in store.search(QUERY, best=100)] == [6.0, 5.0, 5.0]
        assert store.search(QUERY, best=1) == store.search(QUERY)


def test_a_store_of_whole_documents_has_nothing_to_take_a_mean_of(opened: Callable[..., Store]) -> None:
    with opened(passages=False) as store:
        store.upsert_vectors([of_scores("a", 3), of_scores("b", 2)])
        assert store.search(QUERY, best=3) == store.search(QUERY)


def test_explained_is_the_best_passage(opened: Callable[..., Store]) -> None:
    with opened() as store:
        store.upsert_vectors(ENTRIES)
        hits = store.search(QUERY, 1, best=3)
        (explanation,) = explain_hits(store, QUERY, hits)
        assert hits[0].score == 6.0 and explanation is not None and sum(word.contribution for word in explanation.words) == 6.0


@pytest.mark.parametrize("best", [0, -1, 101, 2.0, True, "3", None])
def test_numbers_of_passages_that_are_not_taken(opened: Callable[..., Store], best: Any) -> None:
    with opened() as store, pytest.raises(ConfigError, match="best"):
        store.search(QUERY, best=best)


@pytest.mark.parametrize("asked", [{"group": False}, {"filter": {"text": "a"}}, {"filter": {"$or": [{"text": "a"}, {"n": 1}]}}], ids=str)
def test_what_asks_for_single_passages_is_refused(opened: Callable[..., Store], asked: dict[str, Any]) -> None:
    with opened() as store:
        store.search(QUERY, best=1, **asked)
        with pytest.raises(ConfigError, match=r"best is 2, .*(ask for one of them|leave best at 1)"):
            store.search(QUERY, best=2, **asked)


@pytest.mark.parametrize("tenants", [["A"], ["A", "B"]])
def test_documents_of_tenants_are_not_taken_for_deleted(opened: Callable[..., Store], tenants: list[str]) -> None:
    """A store that was opened for nobody finds everybody's documents, and cannot read them by their ids."""
    for tenant in tenants:
        with opened(tenant=tenant) as store:
            store.upsert_vectors(ENTRIES)
            assert len(store.search(QUERY, best=2)) == 3
    with opened() as store:
        assert len(store.search(QUERY)) == 3 * len(tenants)
        with pytest.raises(ConfigError, match=r"'(long|even|short)' is read as another than it was found: it is a tenant's"):
            store.search(QUERY, best=2)


def test_a_document_of_a_tenant_is_not_taken_for_its_namesake(opened: Callable[..., Store]) -> None:
    """One of the same id that is nobody's, shares no term with the query, and can be read."""
    with opened() as store:
        store.upsert_vectors([of_scores("x", 0), of_scores("y", 1)])
    with opened(tenant="A") as store:
        store.upsert_vectors([of_scores("x", 7, 8)])
        assert [(hit.doc_id, hit.score) for hit in store.search(QUERY, best=2)] == [("x", 7.5)]
    with opened() as store, pytest.raises(ConfigError, match="'x' is read as another than it was found"):
        store.search(QUERY, best=2)


def test_ties_are_by_id_though_the_engine_adds_up_in_less_digits(opened: Callable[..., Store]) -> None:
    """Means of 1/3 that stand before and behind best passages which float32 rounds down."""
    third = SparseVector([1, 3], [1 / 3, 1 / 7])
    query = SparseVector([1, 3], [1 / 11, 1 / 13])
    high, low = (SparseVector([1, 3], factor * third.weights) for factor in (1.5, 0.5))
    with opened() as store:
        store.upsert_vectors([document(f"z{n:03}", [((0, 1), high), ((1, 2), low)], {}) for n in range(2 * DEEP + 16)])
        store.upsert_vectors([Entry(f"a{n}", third, {}) for n in range(5)])
        assert [hit.doc_id for hit in store.search(query, 5, best=2)] == [f"a{n}" for n in range(5)]


def test_a_document_that_changes_between_is_looked_for_again() -> None:
    """Deleted when it is read, and there again when it is searched for."""
    engine, missing = Engine(of_scores("a", 3, 1), of_scores("b", 2, 2)), ["a"]

    def answer(asked: Ask) -> Any:
        found = engine(asked)
        return (
            {doc_id: entry for doc_id, entry in found.items() if doc_id not in missing or missing.remove(doc_id)}
            if isinstance(found, dict)
            else found
        )

    search = Search(QUERY, 2, (), True, True, None, 2)
    hits = drive(mean_of_best.by_mean_of_best(search, lambda vector: vector, lambda query, vector: 1e-6, by_score=True), answer)
    assert [hit.doc_id for hit in hits] == ["a", "b"] and not missing
