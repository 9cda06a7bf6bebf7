"""The index finds what a sparse product of scipy finds: the same rows and the same scores, bit by bit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.stores.numba import kernels, postings
from splade_ptbr_connectors.stores.numba.index import ImpactIndex, joined
from splade_ptbr_connectors.stores.numba.searcher import Searcher
from splade_ptbr_connectors.stores.numba.window import Window
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector
from tests.unit.stores.numba_index.oracle import ranked

HYPOTHESIS: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}
TERMS = [0, 1, 2, 3, 7, 64, 65_535, 65_536, 29_793, 2**22, 2**32 - 1]

ties = st.just(1.0)
eighths = st.integers(1, 40).map(lambda n: n / 8)
any_size = st.integers(-37, 30).map(lambda power: 2.0 * 10.0**power)
ordinary = st.floats(0.0078125, 3.5, width=32)
vectors = st.sampled_from([ties, eighths, any_size, ordinary]).flatmap(
    lambda weights: st.dictionaries(st.sampled_from(TERMS), weights, max_size=8).map(SparseVector.from_dict)
)
collections = st.lists(vectors, max_size=40).map(SparseBatch.from_vectors)


def random_batch(seed: int, count: int, vocabulary: int, terms: int, *, weights: str = "gamma") -> SparseBatch:
    """Documents with few frequent and many rare terms."""
    random = np.random.default_rng(seed)
    chance = 1 / np.arange(1, vocabulary + 1)
    rows = []
    for _ in range(count):
        size = int(random.integers(0, terms + 1))
        ids = random.choice(vocabulary, size, replace=False, p=chance / chance.sum())
        values = np.ones(size) if weights == "ones" else random.gamma(1.2, 0.5, size) + 0.01
        if weights == "wild":
            values = 10.0 ** random.uniform(-37, 30, size)
        rows.append(SparseVector(ids, values))
    return SparseBatch.from_vectors(rows)


def assert_same(searcher: Searcher, documents: SparseBatch, query: SparseVector, top_k: int, passing: Any = None) -> None:
    rows, scores = searcher.search(query, top_k)
    expected_rows, expected_scores = ranked(documents, query, top_k, passing)
    assert rows[:top_k].tolist() == expected_rows
    assert scores[:top_k].tolist() == expected_scores
    assert len(rows) <= top_k or (scores[top_k - 1 :] == scores[top_k - 1]).all()


@given(parts=st.lists(collections, max_size=3), query=vectors, top_k=st.sampled_from([1, 2, 3, 10, 10_000]), seed=st.integers(0, 3))
@settings(max_examples=150, **HYPOTHESIS)
def test_small_collections(parts: list[SparseBatch], query: SparseVector, top_k: int, seed: int) -> None:
    documents = joined(parts)
    passing = np.random.default_rng(seed).random(len(documents)) < 0.6 if seed else None
    bases = np.cumsum([0, *map(len, parts)])
    masks = None if passing is None else [passing[a:b] for a, b in itertools.pairwise(bases)]
    assert_same(Searcher([Window.build(part) for part in parts], masks), documents, query, top_k, passing)


@pytest.fixture(scope="module", params=["gamma", "ones", "wild"])
def large(request: pytest.FixtureRequest) -> tuple[list[SparseBatch], list[SparseVector]]:
    """Three windows of several blocks with frequent terms, and queries of up to 40 terms."""
    parts = [random_batch(seed, count, 300, 40, weights=request.param) for seed, count in ((1, 1500), (2, 7), (3, 900))]
    queries = list(random_batch(4, 40, 330, 40, weights=request.param))
    return parts, queries


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "impacts only"])
@pytest.mark.parametrize("top_k", [1, 10, 100, 10_000])
def test_windows_with_columns_and_blocks(large: Any, top_k: int, exact: bool) -> None:
    parts, queries = large
    windows = [Window.build(part, exact=exact) for part in parts]
    assert any(len(window.arrays["columns"]) for window in windows)
    documents = joined([window.batch() for window in windows])
    if exact:
        assert (documents.weights == joined(parts).weights).all()
    passing = np.random.default_rng(5).random(len(documents)) < 0.3
    masks = np.split(passing, np.cumsum([len(part) for part in parts])[:-1])
    for query in queries:
        assert_same(Searcher(windows), documents, query, top_k)
        assert_same(Searcher(windows, masks), documents, query, top_k, passing)


def test_windows_of_every_kind_beside_each_other() -> None:
    """Few terms (numbered by 16 bits), more than 65,536 of them (32 bits), and impacts only."""
    random = np.random.default_rng(20)
    many = [SparseVector(random.choice(3_000_000, 70, replace=False), random.random(70) + 0.1) for _ in range(1100)]
    wide = joined([SparseBatch.from_vectors(many), random_batch(21, 400, 300, 40)])
    windows = [Window.build(random_batch(22, 700, 300, 40)), Window.build(wide), Window.build(random_batch(23, 500, 300, 40), exact=False)]
    assert [window.arrays["forward_slot"].itemsize if window.exact else 0 for window in windows] == [2, 4, 0]
    for some in (windows, windows[1:2], windows[::2]):
        documents, searcher = joined([window.batch() for window in some]), Searcher(some)
        for query in [*random_batch(24, 5, 330, 40), *many[:5]]:
            for top_k in (1, 10, 100):
                assert_same(searcher, documents, query, top_k)
                assert_same(searcher.exhaustive(), documents, query, top_k)


@pytest.mark.parametrize("order", ["as it comes", "best last", "best first"])
def test_order_of_documents_does_not_matter(order: str) -> None:
    """The best at the end defeat what is learnt from the first window; the best at the start make it learn too much."""
    documents = random_batch(7, 3000, 200, 30)
    query = next(iter(random_batch(8, 1, 200, 40)))
    matrix = np.array([query.dot(vector) for vector in documents])
    places = {"as it comes": np.arange(3000), "best last": np.argsort(matrix), "best first": np.argsort(-matrix)}[order]
    rows = [documents[int(place)] for place in places]
    parts = [SparseBatch.from_vectors(rows[begin : begin + 1000]) for begin in range(0, 3000, 1000)]
    for top_k in (1, 10, 300, 2999, 3000, 10_000):
        assert_same(Searcher([Window.build(part) for part in parts]), joined(parts), query, top_k)


@pytest.mark.parametrize("top_k", [1, 10, 500])
def test_documents_that_are_not_alike_are_found_at_the_second_try(top_k: int) -> None:
    """All good ones come first: what they promise of the others is wrong, and is noticed."""
    documents = joined([random_batch(12, kernels.FIRST_GUESS + 100, 60, 30), random_batch(13, 2 * kernels.FIRST_GUESS, 60, 3)])
    query = next(iter(random_batch(14, 1, 60, 60)))
    assert_same(Searcher([Window.build(documents)]), documents, query, top_k)


def test_a_searcher_for_some_rows_shares_what_was_opened_and_leaves_the_other_alone() -> None:
    documents, query = random_batch(15, 500, 100, 20), next(iter(random_batch(16, 1, 100, 30)))
    whole, even = Searcher([Window.build(documents)]), np.arange(500) % 2 == 0
    some = whole.narrowed([even])
    for _ in range(2):
        assert_same(some, documents, query, 10, even)
        assert_same(whole, documents, query, 10)


@pytest.mark.parametrize("top_k", [0, -1])
def test_a_page_has_room_for_a_hit(top_k: int) -> None:
    searcher = Searcher([Window.build(random_batch(17, 5, 10, 5))])
    query = SparseVector([0], [1.0])
    with pytest.raises(ConfigError, match="top_k"):
        searcher.search(query, top_k)
    with pytest.raises(ConfigError, match="top_k"):
        searcher.search_batch(SparseBatch.from_vectors([query]), top_k)


def test_queries_with_more_terms_than_16_bits_can_count() -> None:
    size = kernels.MAX_TERMS + 1
    query = SparseVector(np.arange(size), np.linspace(0.1, 2, size))
    documents = random_batch(9, 300, 5000, 60)
    assert_same(Searcher([Window.build(documents)]), documents, query, 10)


@pytest.mark.parametrize("top_k", [1, 5, 50])
def test_what_rounding_takes_from_many_small_products_loses_no_document(top_k: int) -> None:
    """Few large products against thousands of small ones, whose counts are rounded most: their scores are close, their counts are not."""
    random, terms = np.random.default_rng(11), 3000
    query = SparseVector(np.arange(terms), random.choice([0.001, 0.01, 1.0], terms, p=[0.8, 0.1, 0.1]))
    rows = []
    for _ in range(400):
        ids = np.sort(random.choice(terms, int(random.choice([5, 300, 2900])), replace=False))
        weights = random.random(len(ids)) * 3 + 0.01
        share = 40 * random.uniform(0.999, 1.001) / float(query.weights[ids] @ weights)
        rows.append(SparseVector(ids, weights * share))
    documents = SparseBatch.from_vectors(rows)
    assert_same(Searcher([Window.build(documents)]), documents, query, top_k)


def test_one_frequent_term_in_every_document() -> None:
    vectors = [SparseVector([5], [1.0 + n % 3]) for n in range(1000)]
    documents = SparseBatch.from_vectors(vectors)
    for top_k in (1, 333, 334, 999, 1000, 5000):
        assert_same(Searcher([Window.build(documents)]), documents, SparseVector([5], [0.3]), top_k)


@given(batch=collections)
@settings(max_examples=100, **HYPOTHESIS)
def test_documents_come_back_as_they_went_in(batch: SparseBatch) -> None:
    held = Window.build(batch).batch()
    assert [held[row] for row in range(len(held))] == list(batch)
    some = np.arange(0, len(batch), 2)
    assert list(Window.build(batch).batch(some)) == [batch[int(row)] for row in some]


@given(batch=collections)
@settings(max_examples=100, **HYPOTHESIS)
def test_rounded_weights_are_within_half_a_step_of_the_largest_one(batch: SparseBatch) -> None:
    held = Window.build(batch, exact=False).batch()
    assert [row.term_ids.tolist() for row in held] == [row.term_ids.tolist() for row in batch]
    largest: dict[int, float] = {}
    for term, weight in zip(batch.term_ids.tolist(), batch.weights.tolist(), strict=True):
        largest[term] = max(largest.get(term, 0.0), weight)
    for term, weight, rounded in zip(batch.term_ids.tolist(), batch.weights.tolist(), held.weights.tolist(), strict=True):
        step = largest[term] / postings.STEPS
        assert abs(rounded - weight) <= max(0.5, 1 - weight / step) * step * (1 + 1e-5) + 1e-6 * weight + 1e-45


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("top_k", [1, 10, 4000])
def test_a_batch_finds_what_single_queries_find(large: Any, threads: int, top_k: int) -> None:
    parts, queries = large
    searcher = Searcher([Window.build(part) for part in parts])
    rows, scores, sizes = searcher.search_batch(SparseBatch.from_vectors(queries), top_k, threads=threads)
    for n, query in enumerate(queries):
        expected = ranked(joined(parts), query, top_k)
        assert (rows[n, : sizes[n]].tolist(), scores[n, : sizes[n]].tolist()) == expected


@given(parts=st.lists(collections, max_size=4), query=vectors)
@settings(max_examples=60, **HYPOTHESIS)
def test_an_index_opens_as_it_was_made(tmp_path_factory: pytest.TempPathFactory, parts: list[SparseBatch], query: SparseVector) -> None:
    folder = tmp_path_factory.mktemp("index")
    made = ImpactIndex.create(folder, parts)
    for index in (made, ImpactIndex.open(folder, verify=True)):
        check(index, joined(parts), query)


def check(index: ImpactIndex, documents: SparseBatch, query: SparseVector) -> None:
    half = np.arange(len(documents)) % 2 == 0
    for passing in (None, half):
        rows, scores = index.search(query, 5, rows=passing)
        assert (rows.tolist(), scores.tolist()) == ranked(documents, query, 5, passing)


def test_windows_hold_no_more_than_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splade_ptbr_connectors.stores.numba.index.WINDOW", 100)
    batches = [random_batch(seed, 70, 50, 9) for seed in range(5)]
    windows = ImpactIndex.create(tmp_path, batches).searcher().windows
    assert [len(window) for window in windows] == [100, 100, 100, 50]
    assert list(joined([window.batch() for window in windows])) == list(joined(batches))
