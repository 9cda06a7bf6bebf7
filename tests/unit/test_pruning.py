"""Static pruning, against naive rules over single documents and single posting lists."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors import pruning
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.pruning import Combined, Pruning, Threshold, TopK, parse_pruning
from splade_ptbr_connectors.vectors import MAX_TERM_ID, SparseBatch, SparseVector

Rows = list[dict[int, float]]
# few terms and few weights: ties within documents and within posting lists are the rule
weights = st.sampled_from([0.1, 0.25, 0.3, 0.5, 1.0, 2.0]) | st.floats(0.0078125, 4, width=32)
terms = st.integers(0, 12) | st.sampled_from([2**24, 2**24 + 1, MAX_TERM_ID])
rows = st.lists(st.dictionaries(terms, weights, max_size=12), max_size=12)
steps = st.one_of(
    st.integers(1, 8).map(lambda k: f"top_k={k}"),
    weights.map(lambda w: f"threshold={w!r}"),
    st.floats(0, 0.99).map(lambda q: f"quantile={q!r}"),
)


def batch_of(documents: Rows) -> SparseBatch:
    return SparseBatch.from_vectors(map(SparseVector.from_dict, documents))


def naive(documents: Rows, step: str) -> Rows:
    name, value = step.split("=")
    if name == "top_k":
        return [dict(sorted(one.items(), key=lambda pair: (-np.float32(pair[1]), pair[0]))[: int(value)]) for one in documents]
    if name == "threshold":
        return [{term: weight for term, weight in one.items() if np.float32(weight) >= np.float32(value)} for one in documents]
    postings = defaultdict(list)
    for one in documents:
        for term, weight in one.items():
            postings[term].append(weight)
    bound = {term: sorted(found)[math.floor(float(value) * len(found))] for term, found in postings.items()}
    return [{term: weight for term, weight in one.items() if weight >= bound[term]} for one in documents]


def assert_equal(found: SparseBatch, expected: Rows) -> None:
    assert list(found) == [SparseVector.from_dict(one) for one in expected]
    assert [str(part.dtype) for part in (found.indptr, found.term_ids, found.weights)] == ["int64", "uint32", "float32"]
    assert found.indptr[0] == 0 and found.indptr[-1] == len(found.term_ids) == len(found.weights)


@given(documents=rows, rules=st.lists(steps, min_size=1, max_size=3))
def test_each_rule_and_their_combinations_are_the_naive_ones(documents: Rows, rules: list[str]) -> None:
    expected = documents
    for rule in rules:
        expected = naive(expected, rule)
    parsed = parse_pruning(",".join(rules))
    batch = batch_of(documents)
    assert_equal(parsed.apply(batch), expected)
    assert list(parsed.kept(batch)) == [term in kept for one, kept in zip(documents, expected, strict=True) for term in sorted(one)]


@given(documents=rows, terms=st.integers(1, 8), weight=weights)
def test_per_document_rules_are_those_of_a_single_vector(documents: Rows, terms: int, weight: float) -> None:
    found = parse_pruning(f"threshold={weight!r},top_k={terms}").apply(batch_of(documents))
    assert list(found) == [SparseVector.from_dict(one).prune(max_terms=terms, min_weight=weight) for one in documents]


@given(documents=rows, cells=st.integers(1, 40), terms=st.integers(1, 8))
def test_the_size_of_the_blocks_changes_nothing(documents: Rows, cells: int, terms: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pruning, "CELLS", cells)
        assert_equal(TopK(terms).apply(batch_of(documents)), naive(documents, f"top_k={terms}"))


@given(documents=rows, cut=st.integers(0, 12), rule=steps)
def test_what_needs_no_collection_may_be_applied_in_parts(documents: Rows, cut: int, rule: str) -> None:
    parsed = parse_pruning(rule)
    if not parsed.needs_collection:
        whole = list(parsed.apply(batch_of(documents)))
        assert whole == [*parsed.apply(batch_of(documents[:cut])), *parsed.apply(batch_of(documents[cut:]))]
    assert parsed.needs_collection == rule.startswith("quantile")
    assert Combined((TopK(3), parsed)).needs_collection == parsed.needs_collection


@given(rules=st.lists(steps, max_size=3))
def test_a_rule_reads_what_it_writes(rules: list[str]) -> None:
    parsed: Pruning = parse_pruning(",".join(rules) or "none")
    assert parse_pruning(str(parsed)) == parsed


def test_ties_go_to_the_lower_term_id_and_equal_postings_stay_together() -> None:
    documents = [{5: 1.0, 2: 1.0, 9: 1.0, 7: 3.0}, {2: 1.0}, {2: 2.0}]
    assert_equal(TopK(2).apply(batch_of(documents)), [{7: 3.0, 2: 1.0}, {2: 1.0}, {2: 2.0}])
    assert_equal(parse_pruning("quantile=0.4").apply(batch_of(documents)), documents)  # the one to go equals the one that stays
    assert_equal(parse_pruning("quantile=0.7").apply(batch_of(documents)), [{5: 1.0, 9: 1.0, 7: 3.0}, {}, {2: 2.0}])


def test_a_rule_that_takes_nothing_gives_the_batch_itself_and_none_leaves_the_batch_alone() -> None:
    batch = batch_of([{1: 0.5, 2: 1.5}, {}])
    before = [batch.indptr.tolist(), batch.term_ids.tolist(), batch.weights.tolist()]
    assert all(parse_pruning(text).apply(batch) is batch for text in ("none", "top_k=2", "threshold=0.5", "quantile=0"))
    assert_equal(parse_pruning("threshold=9").apply(batch), [{}, {}])
    assert before == [batch.indptr.tolist(), batch.term_ids.tolist(), batch.weights.tolist()]


def test_the_texts_of_rules() -> None:
    assert str(parse_pruning(" top_k = 64 , threshold=.10,quantile=3e-1")) == "top_k=64,threshold=0.1,quantile=0.3"
    assert parse_pruning("threshold=1") == Threshold(1) and str(Threshold(1)) == "threshold=1.0"
    assert str(Combined()) == "none" == str(parse_pruning(" none "))


NO_RULES = "|top_k|top_k=|top_k=0|top_k=-1|top_k=1.5|topk=3|top_k=3,|top_k=3;threshold=1|none,top_k=3|top_k=3 4|threshold=-1|threshold=nan"
NO_NUMBERS = "top_k=1_0|top_k=١|threshold=0_1.5|threshold=inf|threshold=1e39|quantile=1|quantile=-0.1|quantile=nan|quantile=x"


@pytest.mark.parametrize("text", [*NO_RULES.split("|"), *NO_NUMBERS.split("|")])
def test_what_is_no_rule_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"such as|for example") as error:
        parse_pruning(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("terms", [True, 2.0, "3", None])
def test_a_number_of_terms_is_an_integer(terms: object) -> None:
    with pytest.raises(ConfigError, match="top_k"):
        TopK(terms)  # type: ignore[arg-type]
