"""Search against a dictionary of weights: scores, order, ties, and that no way of cutting into blocks can be seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from splade_ptbr_connectors.errors import ConfigError, InputError, VectorError
from training.measure.exact_search import ExactIndex, Hits, StreamingSearch, TermCounts, checked, evaluation_flops

VOCAB_SIZE = 6
Vector = dict[int, float]
# few values, exact in binary: many ties, and no sum that depends on its order
vectors = st.lists(st.dictionaries(st.integers(0, VOCAB_SIZE - 1), st.sampled_from([0.25, 0.5, 1.0, 2.0]), max_size=4), max_size=14)
any_weight = st.floats(2.0**-20, 2.0**6, width=32)
real_vectors = st.lists(st.dictionaries(st.integers(0, VOCAB_SIZE - 1), any_weight, max_size=5), max_size=8)


def matrix(rows: list[Vector]) -> sparse.csr_matrix:
    dense = np.zeros((len(rows), VOCAB_SIZE), dtype=np.float32)
    for row, vector in enumerate(rows):
        for term, weight in vector.items():
            dense[row, term] = weight
    return sparse.csr_matrix(dense)


def ids(prefix: str, rows: list[Vector]) -> list[str]:
    """Names whose alphabetical order is the reverse of the order they are added in."""
    return [f"{prefix}{99 - number}" for number in range(len(rows))]


def naive(queries: list[Vector], documents: list[Vector], top_k: int) -> dict[str, Hits]:
    run = {}
    for query_id, query in zip(ids("q", queries), queries, strict=True):
        scores = [
            (doc_id, sum(weight * document[term] for term, weight in sorted(query.items()) if term in document))
            for doc_id, document in zip(ids("d", documents), documents, strict=True)
        ]
        run[query_id] = sorted((pair for pair in scores if pair[1] > 0), key=lambda pair: -pair[1])[:top_k]
    return run


def indexed(documents: list[Vector], block: int) -> ExactIndex:
    index = ExactIndex(VOCAB_SIZE)
    names, rows = ids("d", documents), matrix(documents)
    for start in range(0, len(documents), block):
        index.add(names[start : start + block], rows[start : start + block])
    return index


@given(vectors, vectors, st.integers(1, 6), st.integers(1, 5), st.sampled_from([1, 100, 10_000]))
def test_search_equals_a_dictionary_of_weights_whatever_the_blocks(
    queries: list[Vector], documents: list[Vector], top_k: int, block: int, score_bytes: int
) -> None:
    index = indexed(documents, block)
    assert index.search(matrix(queries), ids("q", queries), top_k, score_bytes=score_bytes) == naive(queries, documents, top_k)


@given(real_vectors, real_vectors, st.integers(1, 4))
def test_scores_of_any_weights_equal_the_dictionary_in_double_precision(queries: list[Vector], documents: list[Vector], top_k: int) -> None:
    found = indexed(documents, 3).search(matrix(queries), ids("q", queries), top_k)
    expected = naive(queries, documents, top_k)
    for query_id, hits in expected.items():
        assert [score for _, score in found[query_id]] == pytest.approx([score for _, score in hits], rel=1e-14)


@given(vectors | real_vectors, vectors | real_vectors, st.integers(1, 6), st.integers(1, 5), st.sampled_from([1, 200, 10_000]))
def test_streaming_equals_the_whole_index_bit_for_bit(
    queries: list[Vector], documents: list[Vector], top_k: int, block: int, score_bytes: int
) -> None:
    whole = indexed(documents, len(documents) or 1).search(matrix(queries), ids("q", queries), top_k)
    stream = StreamingSearch(matrix(queries), ids("q", queries), top_k, score_bytes=score_bytes)
    names, rows = ids("d", documents), matrix(documents)
    for start in range(0, len(documents), block):
        stream.add(names[start : start + block], rows[start : start + block])
    assert stream.run() == whole


@given(vectors, st.integers(1, 5))
def test_counts_equal_the_dictionaries(documents: list[Vector], block: int) -> None:
    index = indexed(documents, block)
    assert index.document_frequencies.tolist() == [sum(term in document for document in documents) for term in range(VOCAB_SIZE)]
    assert index.postings == sum(map(len, documents)) == index.counts.frequencies.sum()
    assert index.counts.empty == sum(not document for document in documents)
    assert len(index) == len(documents)
    assert index.nbytes >= 8 * index.postings
    assert index.counts.mean_terms == pytest.approx(sum(map(len, documents)) / max(1, len(documents)))


@given(vectors, vectors)
def test_evaluation_flops_are_the_mean_number_of_common_terms(queries: list[Vector], documents: list[Vector]) -> None:
    sides = TermCounts(VOCAB_SIZE), TermCounts(VOCAB_SIZE)
    sides[0].add(matrix(queries))
    sides[1].add(matrix(documents))
    common = [len(query.keys() & document.keys()) for query in queries for document in documents]
    assert evaluation_flops(*sides) == pytest.approx(sum(common) / len(common) if common else 0.0)


def test_ties_keep_the_order_in_which_documents_came_over_block_borders() -> None:
    index = ExactIndex(VOCAB_SIZE)
    index.add(["z", "b"], matrix([{0: 1.0}, {0: 2.0}]))
    index.add(["a"], matrix([{0: 1.0}]))
    assert index.search(matrix([{0: 1.0}]), ["q"], 2) == {"q": [("b", 2.0), ("z", 1.0)]}


def test_a_query_without_terms_and_an_index_without_documents_have_no_hits() -> None:
    assert indexed([{0: 1.0}], 1).search(matrix([{}, {1: 1.0}]), ["empty", "elsewhere"], 5) == {"empty": [], "elsewhere": []}
    assert ExactIndex(VOCAB_SIZE).search(matrix([{0: 1.0}]), ["q"], 5) == {"q": []}


def test_scores_never_take_more_memory_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    keep = StreamingSearch._keep_best

    def watched(self: StreamingSearch, first: int, scores: sparse.csr_matrix, doc_ids: object) -> None:
        sizes.append(scores.shape[0] * scores.shape[1])
        keep(self, first, scores, doc_ids)  # type: ignore[arg-type]

    monkeypatch.setattr(StreamingSearch, "_keep_best", watched)
    rows = [{0: 1.0, 1: 1.0} for _ in range(90)]
    indexed(rows, 90).search(matrix(rows), ids("q", rows), 3, score_bytes=24 * 200)
    assert len(sizes) > 1
    assert max(sizes) <= 200


def test_vectors_are_made_canonical_without_changing_the_callers() -> None:
    given_rows = sparse.csr_matrix((np.array([1.0, 0.0, 2.0, 0.5]), np.array([3, 1, 0, 3]), np.array([0, 4])), shape=(1, VOCAB_SIZE))
    rows = checked(given_rows, VOCAB_SIZE)
    assert (rows.indices.tolist(), rows.data.tolist()) == ([0, 3], [2.0, 1.5])
    assert given_rows.indices.tolist() == [3, 1, 0, 3]


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_weight_that_is_no_weight_is_refused_with_its_place(weight: float) -> None:
    rows = sparse.csr_matrix((np.array([1.0, weight]), np.array([0, 2]), np.array([0, 1, 2])), shape=(2, VOCAB_SIZE))
    with pytest.raises(VectorError, match=r"vector 1 .* term 2"):
        ExactIndex(VOCAB_SIZE).add(["a", "b"], rows)
    with pytest.raises(VectorError, match="vector 1"):
        StreamingSearch(rows, ["a", "b"], 1)


def test_wrong_sizes_and_repeated_ids_are_refused_and_leave_the_index_as_it_was() -> None:
    index = indexed([{0: 1.0}], 1)
    for names, rows, message in [
        (["x"], sparse.csr_matrix((1, VOCAB_SIZE + 1), dtype=np.float32), "another model"),
        (["x", "y"], matrix([{0: 1.0}]), "2 document ids for 1 vectors"),
        (["x", "x"], matrix([{0: 1.0}] * 2), "duplicate document id 'x'"),
        (["d99"], matrix([{0: 1.0}]), "'d99' is already in the index"),
    ]:
        with pytest.raises((InputError, VectorError), match=message):
            index.add(names, rows)
    assert index.search(matrix([{0: 1.0}]), ["q"], 9) == {"q": [("d99", 1.0)]}
    with pytest.raises(InputError, match="duplicate query id 'q'"):
        index.search(matrix([{}, {}]), ["q", "q"], 1)
    with pytest.raises(ConfigError, match="top_k is 0"):
        index.search(matrix([{}]), ["q"], 0)
