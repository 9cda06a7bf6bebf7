"""SparseVector and SparseBatch: the canonical form, every bad vector, and the round trips."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from splade_ptbr_connectors import SparseBatch, SparseVector
from splade_ptbr_connectors.errors import VectorError
from splade_ptbr_connectors.vectors import SMALLEST_WEIGHT

VOCAB = 500
weights = st.floats(SMALLEST_WEIGHT, 1e6, width=32)
dicts = st.dictionaries(st.integers(0, VOCAB - 1), weights, max_size=30)


@given(dicts, st.randoms(use_true_random=False))
def test_any_order_gives_the_same_canonical_vector(entries: dict[int, float], random) -> None:
    shuffled = list(entries.items())
    random.shuffle(shuffled)
    vector = SparseVector([i for i, _ in shuffled], [w for _, w in shuffled])
    assert vector == SparseVector.from_dict(entries)
    assert hash(vector) == hash(SparseVector.from_dict(entries))
    assert vector.to_dict() == {i: entries[i] for i in sorted(entries)}
    assert vector.term_ids.dtype == np.uint32
    assert vector.weights.dtype == np.float32


@given(dicts)
def test_round_trips_lose_nothing(entries: dict[int, float]) -> None:
    vector = SparseVector.from_dict(entries)
    dense = np.zeros(VOCAB, np.float32)
    dense[vector.term_ids] = vector.weights
    assert SparseVector.from_dense(dense) == vector
    assert SparseVector.from_scipy(vector.to_scipy(VOCAB)) == vector
    assert SparseVector.from_torch(vector.to_torch(VOCAB)) == vector
    assert SparseVector.from_torch(torch.from_numpy(dense)) == vector
    assert SparseVector.from_qdrant(vector.to_qdrant()) == vector
    assert SparseVector.from_opensearch(vector.to_opensearch()) == vector
    assert pickle.loads(pickle.dumps(vector)) == vector  # noqa: S301


@given(dicts, dicts)
def test_dot_equals_the_dense_product(a: dict[int, float], b: dict[int, float]) -> None:
    left, right = SparseVector.from_dict(a), SparseVector.from_dict(b)
    expected = float((left.to_scipy(VOCAB).astype(np.float64) @ right.to_scipy(VOCAB).astype(np.float64).T).toarray()[0, 0])
    assert left.dot(right) == pytest.approx(expected, rel=1e-9)
    assert left.dot(right) == right.dot(left)


@given(st.lists(dicts, max_size=8))
def test_a_batch_is_its_rows(rows: list[dict[int, float]]) -> None:
    vectors = [SparseVector.from_dict(row) for row in rows]
    batch = SparseBatch.from_vectors(iter(vectors))
    assert list(batch) == vectors
    assert list(SparseBatch.from_scipy(batch.to_scipy(VOCAB))) == vectors
    assert batch.nbytes == batch.indptr.nbytes + 8 * sum(map(len, vectors))
    if vectors:
        assert batch[-1] == vectors[-1]
    with pytest.raises(IndexError):
        batch[len(vectors)]


@given(dicts, st.integers(0, 10), st.floats(0, 100))
def test_pruning_keeps_the_largest_and_is_idempotent(entries: dict[int, float], limit: int, least: float) -> None:
    vector = SparseVector.from_dict(entries)
    pruned = vector.prune(max_terms=limit, min_weight=least)
    kept = sorted((e for e in vector.to_dict().items() if np.float32(e[1]) >= np.float32(least)), key=lambda e: (-e[1], e[0]))[:limit]
    assert pruned.to_dict() == dict(sorted(kept))
    assert pruned.prune(max_terms=limit, min_weight=least) == pruned


@pytest.mark.parametrize(
    ("term_ids", "values", "message"),
    [
        ([1, 2], [1.0], "2 term ids but 1 weights"),
        ([1, 1], [1.0, 2.0], "term id 1 occurs more than once"),
        ([5, 1, 5], [1.0, 2.0, 3.0], "term id 5 occurs more than once"),
        ([-1], [1.0], "outside 0..4294967295"),
        ([2**32], [1.0], "outside 0..4294967295"),
        ([2**70], [1.0], "must be integers"),
        ([1.0], [1.0], "must be integers"),
        ([True], [1.0], "must be integers"),
        (["1"], [1.0], "must be integers"),
        ([None], [1.0], "must be integers"),
        ([[1]], [1.0], "one-dimensional"),
        (7, [1.0], "one-dimensional"),
        ([1], [float("nan")], "weight nan"),
        ([1], [float("inf")], "weight inf"),
        ([1], [-0.5], "weight -0.5"),
        ([1], [0.0], "weight 0.0"),
        ([1], [1e-40], "weight 1e-40"),
        ([1], [1e300], "weight 1e+300"),
        ([1, 2], [1.0, float("nan")], "position 1"),
        ([1], ["1"], "must be numbers"),
        ([1], [None], "must be numbers"),
        ([1], [1 + 2j], "must be numbers"),
        ([[1], [2, 3]], [1.0], "cannot be read"),
    ],
)
def test_bad_vectors_are_refused_with_what_is_wrong(term_ids, values, message: str) -> None:
    with pytest.raises(VectorError, match=message.replace("+", r"\+").replace("..", r"\.\.")):
        SparseVector(term_ids, values)


@given(
    hnp.arrays(np.float32, st.integers(0, 5), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)),
    hnp.arrays(np.int64, st.integers(0, 5), elements=st.integers(-3, 2**32 + 3)),
)
def test_whatever_is_accepted_is_canonical(values, ids) -> None:
    try:
        vector = SparseVector(ids, values)
    except VectorError:
        fine = len(ids) == len(values) == len(set(ids.tolist())) and all(0 <= i < 2**32 for i in ids)
        assert not (fine and np.isfinite(values).all() and (values >= SMALLEST_WEIGHT).all())
        return
    assert (np.diff(vector.term_ids.astype(np.int64)) > 0).all()
    assert np.isfinite(vector.weights).all()
    assert (vector.weights > 0).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int32, np.int8])
def test_other_number_types_are_converted(dtype: type) -> None:
    assert SparseVector(np.array([1, 2], np.int16), np.array([1, 2], dtype)).to_dict() == {1: 1.0, 2: 2.0}


def test_empty_is_a_vector() -> None:
    empty = SparseVector([], [])
    assert len(empty) == 0
    assert empty.dot(SparseVector([1], [1.0])) == 0.0
    assert empty.to_scipy(3).shape == (1, 3)


def test_the_callers_arrays_and_ours_are_independent() -> None:
    ids, values = np.array([1, 2], np.uint32), np.array([1, 2], np.float32)
    vector = SparseVector(ids, values)
    ids[0], values[0] = 9, 9
    assert vector.to_dict() == {1: 1.0, 2: 2.0}
    with pytest.raises(ValueError, match="read-only"):
        vector.weights[0] = 5
    with pytest.raises(AttributeError, match="immutable"):
        vector.weights = values


def test_conversions_refuse_what_does_not_fit() -> None:
    vector = SparseVector([499], [1.0])
    for convert in (vector.to_scipy, vector.to_torch):
        with pytest.raises(VectorError, match=r"vocabulary of 499 terms|outside"):
            convert(499)
    with pytest.raises(VectorError, match=r"'a\.b' is not a term id"):
        SparseVector.from_opensearch({"a.b": 1.0})
    with pytest.raises(VectorError, match="one row"):
        SparseVector.from_scipy(sparse.csr_array(np.eye(2)))
    with pytest.raises(VectorError, match="one-dimensional"):
        SparseVector.from_torch(torch.eye(2).to_sparse())
    with pytest.raises(VectorError, match="weight -1"):
        SparseVector.from_dense([0.0, -1.0])


def test_scipy_rows_are_cleaned() -> None:
    row = sparse.coo_array(([1.0, 2.0, 0.0], ([0, 0, 0], [3, 3, 5])), shape=(1, 9))
    assert SparseVector.from_scipy(row).to_dict() == {3: 3.0}


def test_repr_is_short() -> None:
    assert repr(SparseVector(range(100), [1] * 100)).endswith("7: 1, ...})")
