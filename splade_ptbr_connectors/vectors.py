"""SparseVector, the one value that crosses module borders, and SparseBatch, many of them in CSR form.

A SparseVector is canonical: term ids sorted and unique (uint32), weights finite and > 0 (float32), both arrays
read-only. Whatever cannot be brought into that form without guessing is a VectorError, raised here and never by
an engine: an engine that meets a bad vector may store half a batch or damage its files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import VectorError
from .extras import require

if TYPE_CHECKING:
    import torch
    from qdrant_client import models as qdrant_models
    from scipy import sparse

MAX_TERM_ID = 2**32 - 1
SMALLEST_WEIGHT = float(np.finfo(np.float32).tiny)  # smallest normal float32: Lucene refuses anything below


class SparseVector:
    """A learned sparse vector: term ids with positive weights.

    Args:
        term_ids: [K] integers in 0..2**32-1, no duplicates, any order (sorted on construction).
        weights: [K] finite numbers > 0, at least the smallest normal float32 (1.18e-38).

    Raises:
        VectorError: for anything else; names the first offending entry.

    >>> SparseVector([7, 3], [0.5, 1.5])
    SparseVector({3: 1.5, 7: 0.5})
    """

    __slots__ = ("term_ids", "weights")

    term_ids: NDArray[np.uint32]
    weights: NDArray[np.float32]

    def __init__(self, term_ids: ArrayLike, weights: ArrayLike) -> None:
        ids, values = _as_term_ids(term_ids), _as_weights(weights)
        if len(ids) != len(values):
            raise VectorError(f"{len(ids)} term ids but {len(values)} weights: both must have the same length.")
        if len(ids) > 1 and not (ids[1:] > ids[:-1]).all():
            order = np.argsort(ids, kind="stable")
            ids, values = ids[order], values[order]
            duplicated = ids[1:][ids[1:] == ids[:-1]]
            if len(duplicated):
                raise VectorError(f"term id {duplicated[0]} occurs more than once: add up or drop its weights first.")
        _freeze(self, ids, values)

    @classmethod
    def _trusted(cls, term_ids: NDArray[np.uint32], weights: NDArray[np.float32]) -> SparseVector:
        """Wrap arrays that are canonical by construction (slices of a batch, an encoder's own output)."""
        vector = cls.__new__(cls)
        _freeze(vector, term_ids, weights)
        return vector

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"SparseVector is immutable: {name!r} cannot be set.")

    def __len__(self) -> int:
        """Number of terms (non-zero weights)."""
        return len(self.term_ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseVector):
            return NotImplemented
        return np.array_equal(self.term_ids, other.term_ids) and np.array_equal(self.weights, other.weights)

    def __hash__(self) -> int:
        return hash((self.term_ids.tobytes(), self.weights.tobytes()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{i}: {w:g}" for i, w in zip(self.term_ids[:8].tolist(), self.weights[:8].tolist(), strict=True))
        return f"SparseVector({{{shown}{', ...' if len(self) > 8 else ''}}})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (SparseVector, (self.term_ids, self.weights))

    @property
    def nbytes(self) -> int:
        """Bytes of both arrays."""
        return self.term_ids.nbytes + self.weights.nbytes

    def dot(self, other: SparseVector) -> float:
        """The score of a query against a document: sum of the products over common terms, in float64."""
        _, mine, theirs = np.intersect1d(self.term_ids, other.term_ids, assume_unique=True, return_indices=True)
        return float(np.dot(self.weights[mine].astype(np.float64), other.weights[theirs].astype(np.float64)))

    def prune(self, *, max_terms: int | None = None, min_weight: float = 0.0) -> SparseVector:
        """Keep weights >= min_weight and of those the `max_terms` largest (ties: lower term id first)."""
        ids, weights = self.term_ids, self.weights
        if min_weight > 0:
            kept = weights >= np.float32(min_weight)
            ids, weights = ids[kept], weights[kept]
        if max_terms is not None and len(ids) > max_terms:
            kept = np.sort(np.argsort(-weights, kind="stable")[:max_terms])
            ids, weights = ids[kept], weights[kept]
        return self if len(ids) == len(self) else SparseVector._trusted(ids, weights)

    # -- conversions: plain Python, then the libraries by name ----------------------------------------------------

    @classmethod
    def from_dict(cls, weights: Mapping[int, float]) -> SparseVector:
        """From {term_id: weight}."""
        return cls(list(weights.keys()), list(weights.values()))

    def to_dict(self) -> dict[int, float]:
        """As {term_id: weight}, in order of term id."""
        return dict(zip(self.term_ids.tolist(), self.weights.tolist(), strict=True))

    @classmethod
    def from_dense(cls, activations: ArrayLike) -> SparseVector:
        """From a [V] array of activations >= 0; zeros are dropped, a negative or non-finite one is a VectorError."""
        dense = np.asarray(activations)
        if dense.ndim != 1:
            raise VectorError(f"expected a one-dimensional array of activations, got shape {dense.shape}.")
        ids = np.flatnonzero(dense)
        return cls(ids, dense[ids])

    @classmethod
    def from_scipy(cls, row: sparse.sparray | sparse.spmatrix) -> SparseVector:
        """From a scipy sparse row of shape [1, V] or [V]; explicit zeros are dropped, duplicates summed (scipy's rule)."""
        matrix = require("scipy.sparse", "conversion from scipy").coo_array(row)
        if matrix.ndim == 2 and matrix.shape[0] != 1:
            raise VectorError(f"expected one row, got a matrix of shape {matrix.shape}: use SparseBatch.from_scipy.")
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        return cls(matrix.coords[-1], matrix.data)

    def to_scipy(self, vocab_size: int) -> sparse.csr_array:
        """As a scipy CSR row of shape [1, vocab_size]."""
        return SparseBatch.from_vectors([self]).to_scipy(vocab_size)

    @classmethod
    def from_torch(cls, activations: torch.Tensor) -> SparseVector:
        """From a dense or COO tensor of shape [V]."""
        tensor = activations.detach().cpu()
        if tensor.is_sparse:
            tensor = tensor.coalesce()
            if tensor.dim() != 1:
                raise VectorError(f"expected a one-dimensional tensor, got shape {tuple(tensor.shape)}.")
            kept = tensor.values() != 0
            return cls(tensor.indices()[0][kept].numpy(), tensor.values()[kept].float().numpy())
        return cls.from_dense(tensor.float().numpy())

    def to_torch(self, vocab_size: int) -> torch.Tensor:
        """As a coalesced COO tensor of shape [vocab_size], float32."""
        library = require("torch", "conversion to torch")
        self.check_vocabulary(vocab_size)
        ids = library.from_numpy(self.term_ids.astype(np.int64))[None, :]
        tensor: torch.Tensor = library.sparse_coo_tensor(
            ids, library.from_numpy(self.weights.copy()), (vocab_size,), is_coalesced=True, check_invariants=True
        )
        return tensor

    @classmethod
    def from_qdrant(cls, vector: Any) -> SparseVector:
        """From any object with `indices` and `values`: qdrant-client's, qdrant-edge's, fastembed's."""
        return cls(vector.indices, vector.values)

    def to_qdrant(self) -> qdrant_models.SparseVector:
        """As qdrant_client.models.SparseVector."""
        models = require("qdrant_client", "conversion to qdrant-client").models
        vector: qdrant_models.SparseVector = models.SparseVector(indices=self.term_ids.tolist(), values=self.weights.tolist())
        return vector

    @classmethod
    def from_opensearch(cls, features: Mapping[str, float]) -> SparseVector:
        """From rank_features named by term id, as to_opensearch() writes them."""
        not_ids = [name for name in features if not (name.isascii() and name.isdigit())]
        if not_ids:
            raise VectorError(f"feature name {not_ids[0]!r} is not a term id: names are decimal vocabulary ids such as '1234'.")
        return cls([int(name) for name in features], list(features.values()))

    def to_opensearch(self) -> dict[str, float]:
        """As rank_features named by term id: a token as a name breaks on dots (rank_feature splits at the last one)."""
        return dict(zip(map(str, self.term_ids.tolist()), self.weights.tolist(), strict=True))

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raise VectorError when a term id lies outside a vocabulary of this size: the vector is of another model."""
        if len(self) and self.term_ids[-1] >= vocab_size:
            raise VectorError(
                f"term id {self.term_ids[-1]} lies outside the vocabulary of {vocab_size:,} terms: the vector comes from another model."
            )


@dataclass(frozen=True, eq=False)
class SparseBatch:
    """Many sparse vectors in compressed rows (CSR): row r is term_ids[indptr[r]:indptr[r+1]] with its weights.

    Attributes:
        indptr: [N+1] int64, from 0, never falling.
        term_ids: [nnz] uint32, sorted and unique within a row.
        weights: [nnz] float32, finite and > 0.
    """

    indptr: NDArray[np.int64]
    term_ids: NDArray[np.uint32]
    weights: NDArray[np.float32]

    @classmethod
    def from_vectors(cls, vectors: Iterable[SparseVector]) -> SparseBatch:
        """Stack vectors into one batch."""
        rows = list(vectors)
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=indptr[1:])
        if not rows:
            return cls(indptr, np.empty(0, np.uint32), np.empty(0, np.float32))
        return cls(indptr, np.concatenate([r.term_ids for r in rows]), np.concatenate([r.weights for r in rows]))

    @classmethod
    def from_scipy(cls, matrix: sparse.sparray | sparse.spmatrix) -> SparseBatch:
        """From a scipy sparse matrix [N, V]; explicit zeros are dropped, each row validated."""
        rows = require("scipy.sparse", "conversion from scipy").csr_array(matrix, copy=True)
        rows.sum_duplicates()
        rows.eliminate_zeros()
        return cls.from_vectors(
            SparseVector(rows.indices[a:b], rows.data[a:b]) for a, b in zip(rows.indptr[:-1], rows.indptr[1:], strict=True)
        )

    def to_scipy(self, vocab_size: int) -> sparse.csr_array:
        """As a scipy CSR matrix [N, vocab_size], float32."""
        if len(self.term_ids) and int(self.term_ids.max()) >= vocab_size:
            raise VectorError(f"term id {self.term_ids.max()} lies outside the vocabulary of {vocab_size:,} terms.")
        scipy_sparse = require("scipy.sparse", "conversion to scipy")
        return scipy_sparse.csr_array((self.weights, self.term_ids.astype(np.int64), self.indptr), shape=(len(self), vocab_size))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, row: int) -> SparseVector:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a batch of {len(self)}")
        start, end = self.indptr[row % len(self)], self.indptr[row % len(self) + 1]
        return SparseVector._trusted(self.term_ids[start:end], self.weights[start:end])

    def __iter__(self) -> Iterator[SparseVector]:
        return (self[row] for row in range(len(self)))

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.indptr.nbytes + self.term_ids.nbytes + self.weights.nbytes


def _freeze(vector: SparseVector, term_ids: NDArray[np.uint32], weights: NDArray[np.float32]) -> None:
    term_ids.flags.writeable = False
    weights.flags.writeable = False
    object.__setattr__(vector, "term_ids", term_ids)
    object.__setattr__(vector, "weights", weights)


def _one_dimensional(values: ArrayLike, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError) as error:
        raise VectorError(f"{what} cannot be read as an array: {error}.") from error
    if array.ndim != 1:
        raise VectorError(f"{what} must be one-dimensional, got shape {array.shape}.")
    return array


def _as_term_ids(values: ArrayLike) -> NDArray[np.uint32]:
    array = _one_dimensional(values, "term ids")
    if array.size == 0:
        return np.empty(0, np.uint32)
    if array.dtype.kind not in "iu":
        raise VectorError(f"term ids must be integers, got {array.dtype} (first: {array.flat[0]!r}).")
    if array.dtype != np.uint32:
        outside = array[(array < 0) | (array > MAX_TERM_ID)]
        if outside.size:
            raise VectorError(f"term id {outside[0]} is outside 0..{MAX_TERM_ID}.")
    return array.astype(np.uint32)  # a copy: the caller's array must not change the vector later


def _as_weights(values: ArrayLike) -> NDArray[np.float32]:
    array = _one_dimensional(values, "weights")
    if array.size == 0:
        return np.empty(0, np.float32)
    if array.dtype.kind not in "iuf":
        raise VectorError(f"weights must be numbers, got {array.dtype} (first: {array.flat[0]!r}).")
    with np.errstate(over="ignore", under="ignore"):
        weights = array.astype(np.float32)
    bad = ~(np.isfinite(weights) & (weights >= SMALLEST_WEIGHT))
    if bad.any():
        position = int(np.flatnonzero(bad)[0])
        raise VectorError(
            f"weight {array[position]} at position {position} is not accepted: weights are finite and > 0 in float32 "
            f"(at least {SMALLEST_WEIGHT:.3g}); drop zeros and subnormals, and check the encoder for NaN, infinity or negatives."
        )
    return weights
