"""The SparseEmbed index finds what comparing the query with every document finds, in whatever batches they were added."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import ConfigError, InputError, VectorError
from training.models.sparse_embed import common_term_scores
from training.models.sparse_embed_index import EmbedHit, SparseEmbedIndex

SIZE, VOCABULARY = 3, 12


def random_texts(seed: int, rows: int, count: int) -> tuple[Any, Any]:
    """Whole numbers, so that sums are exact in any order and equal scores are frequent."""
    random = np.random.default_rng(seed)
    terms = np.stack([random.permutation(VOCABULARY)[:count] for _ in range(rows)]).astype(np.int64)
    terms[random.random(terms.shape) < 0.4] = -1
    return terms, random.integers(0, 3, (*terms.shape, SIZE)).astype(np.float32)


def by_comparing_all(terms: Any, embeddings: Any, query_terms: Any, query_embeddings: Any, top_k: int) -> list[EmbedHit]:
    hits = []
    for number, (row, vectors) in enumerate(zip(terms, embeddings, strict=True)):
        common = [(i, j) for i, t in enumerate(query_terms) for j, u in enumerate(row) if t == u >= 0]
        if common:
            hits.append(EmbedHit(f"d{number}", float(sum(query_embeddings[i] @ vectors[j] for i, j in common))))
    return sorted(hits, key=lambda hit: -hit.score)[:top_k]


@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 6), st.integers(1, 25), st.integers(0, 20))
def test_search_equals_comparing_with_every_document(seed: int, rows: int, count: int, top_k: int, cut: int) -> None:
    """Ties in the order of insertion; added in two batches, with a search between them."""
    terms, embeddings = random_texts(seed, rows, count)
    (query_terms,), (query,) = random_texts(seed + 1, 1, 5)
    cut, names, index = min(cut, rows), [f"d{number}" for number in range(rows)], SparseEmbedIndex(SIZE)
    index.add(names[:cut], terms[:cut], embeddings[:cut])
    first = index.search(query_terms, query, top_k)
    assert first == by_comparing_all(terms[:cut], embeddings[:cut], query_terms, query, top_k)
    index.add(names[cut:], terms[cut:], embeddings[cut:])
    assert index.search(query_terms, query, top_k) == by_comparing_all(terms, embeddings, query_terms, query, top_k)
    assert len(index) == rows and index.postings == int((terms >= 0).sum())


@given(st.integers(0, 10_000))
def test_scores_are_those_that_are_trained(seed: int) -> None:
    random = np.random.default_rng(seed)
    (terms, _), (query_terms, _) = random_texts(seed, 8, 5), random_texts(seed + 1, 1, 5)
    embeddings, query = (random.random((*t.shape, SIZE)).astype(np.float32) for t in (terms, query_terms))
    index = SparseEmbedIndex(SIZE)
    index.add([str(number) for number in range(8)], torch.from_numpy(terms), torch.from_numpy(embeddings))
    hits = index.search(torch.from_numpy(query_terms[0]), torch.from_numpy(query[0]), 8)
    tensors = [torch.from_numpy(array) for array in (query_terms, query, terms, embeddings)]
    trained = common_term_scores(*tensors)[0].tolist()
    assert [hit.score for hit in hits] == pytest.approx([trained[int(hit.doc_id)] for hit in hits], rel=1e-5)
    assert {int(hit.doc_id) for hit in hits} >= {number for number, score in enumerate(trained) if score > 0}


def test_a_common_term_makes_a_hit_even_of_score_zero_and_nothing_else_does() -> None:
    index = SparseEmbedIndex(2)
    index.add(["zero", "other", "empty"], [[4, 5], [6, -1], [-1, -1]], np.array([[[0, 1], [1, 1]], [[1, 1], [9, 9]], [[9, 9], [9, 9]]]))
    assert index.search([4, -1], [[1.0, 0.0], [5.0, 5.0]], 10) == [EmbedHit("zero", 0.0)]
    assert index.search([-1], [[1.0, 1.0]], 10) == [] and index.search([99], [[1.0, 1.0]], 10) == []


def test_bytes_are_those_of_the_postings() -> None:
    index = SparseEmbedIndex(SIZE)
    assert index.nbytes == 8 and index.search([1], np.ones((1, SIZE)), 1) == []
    index.add(["a", "b"], [[1, 2], [2, -1]], np.ones((2, 2, SIZE)))
    postings, terms = 3, 2
    assert index.postings == postings
    assert index.nbytes == postings * (4 + 4 * SIZE) + terms * 8 + (terms + 1) * 8


def test_nothing_is_added_when_a_batch_is_wrong() -> None:
    index = SparseEmbedIndex(2)
    index.add(["a"], [[1]], [[[1.0, 1.0]]])
    for names, terms, embeddings, error in (
        (["b", "a"], [[1], [1]], np.ones((2, 1, 2)), InputError),
        (["b", "b"], [[1], [1]], np.ones((2, 1, 2)), InputError),
        (["b"], [[1, 1]], np.ones((1, 2, 2)), VectorError),
        (["b"], [[1]], np.ones((1, 1, 3)), VectorError),
        (["b"], [[1, 2]], np.ones((1, 1, 2)), VectorError),
        (["b", "c"], [[1]], np.ones((1, 1, 2)), VectorError),
        (["b"], [[1.0]], np.ones((1, 1, 2)), VectorError),
        (["b"], [[1]], np.full((1, 1, 2), np.nan), VectorError),
        (["b"], [[1]], np.full((1, 1, 2), np.inf), VectorError),
    ):
        with pytest.raises(error):
            index.add(names, terms, embeddings)
    assert index.doc_ids == ["a"] and index.search([1], [[1.0, 1.0]], 5) == [EmbedHit("a", 2.0)]
    index.add(["b"], [[1]], [[[2.0, 1.0]]])
    assert index.search([1], [[1.0, 1.0]], 5) == [EmbedHit("b", 3.0), EmbedHit("a", 2.0)]


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="size of an embedding is 0"):
        SparseEmbedIndex(0)
    with pytest.raises(ConfigError, match="top_k is 0"):
        SparseEmbedIndex(1).search([1], [[1.0]], 0)
