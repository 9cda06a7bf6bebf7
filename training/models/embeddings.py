"""Term embeddings from co-occurrence: positive pointwise mutual information, then a randomised truncated SVD."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def cooccurrence(rows: Sequence[NDArray[np.int32]], vocab_size: int, *, window: int = 5) -> sparse.csr_matrix:
    """[V, V] symmetric counts of two terms at most `window` tokens apart, nearer ones counting more (1 / distance)."""
    total = sparse.csr_matrix((vocab_size, vocab_size), dtype=np.float32)
    for row in rows:
        for distance in range(1, min(window, len(row) - 1) + 1):
            weight = np.full(len(row) - distance, 1.0 / distance, dtype=np.float32)
            total = total + sparse.coo_matrix((weight, (row[:-distance], row[distance:])), shape=total.shape).tocsr()
    return (total + total.T).tocsr()


def ppmi(counts: sparse.csr_matrix, *, smoothing: float = 0.75) -> sparse.csr_matrix:
    """Positive pointwise mutual information, context counts smoothed by a power (Levy et al. 2015)."""
    total = max(1.0, float(counts.sum()))
    rows = np.asarray(counts.sum(axis=1)).ravel()
    context = rows**smoothing
    context = context / max(1e-12, context.sum())
    matrix = counts.tocoo()
    value = np.log(matrix.data * total / (rows[matrix.row] * total * context[matrix.col]))
    kept = value > 0
    return sparse.csr_matrix((value[kept].astype(np.float32), (matrix.row[kept], matrix.col[kept])), shape=counts.shape)


def truncated_svd(matrix: sparse.csr_matrix, size: int, *, seed: int, iterations: int = 4) -> NDArray[np.float32]:
    """[V, size] U sqrt(S) by randomised subspace iteration (Halko et al. 2011)."""
    rng = np.random.default_rng(seed)
    width = min(size + 16, matrix.shape[0])
    basis = np.linalg.qr(matrix @ rng.standard_normal((matrix.shape[1], width)).astype(np.float32))[0]
    for _ in range(iterations):
        basis = np.linalg.qr(matrix @ (matrix.T @ basis))[0]
    small, values, _ = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    vectors = (basis @ small)[:, :size] * np.sqrt(values[:size])
    padded = np.zeros((matrix.shape[0], size), dtype=np.float32)
    padded[:, : vectors.shape[1]] = vectors
    return padded


def term_embeddings(rows: Sequence[NDArray[np.int32]], vocab_size: int, size: int, *, seed: int) -> NDArray[np.float32]:
    """[V, size] embeddings of length 1, without a common mean; terms never seen get a random direction."""
    vectors = truncated_svd(ppmi(cooccurrence(rows, vocab_size)), size, seed=seed)
    seen = np.linalg.norm(vectors, axis=1) > 1e-6
    vectors[seen] -= vectors[seen].mean(axis=0, keepdims=True) if seen.any() else 0
    noise = np.random.default_rng([seed, 1]).standard_normal(vectors.shape).astype(np.float32)
    vectors[~seen] = noise[~seen]
    unit: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return unit.astype(np.float32)
