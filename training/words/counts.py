"""What is counted on unlabelled text and training passages: how rare terms are, and which come up in the same paragraphs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from splade_ptbr_connectors.encoding.thesaurus import Integers
from splade_ptbr_connectors.evaluation.files import read_lines
from splade_ptbr_connectors.vectors import SparseVector
from training.data.bm25 import inverse_document_frequency
from training.models.embeddings import truncated_svd

FEWEST_PARAGRAPHS = 3
"""Paragraphs that a term must occur in to have a vector."""


def read_paragraphs(folder: Path, limit: int) -> list[str]:
    """The first `limit` paragraphs of each *.txt.gz, so that no source drowns the others."""
    return [text for path in sorted(folder.glob("*.txt.gz")) for _, text in islice(read_lines(path), limit)]


def term_matrix(rows: Sequence[Integers], size: int) -> sparse.csr_matrix:
    """[N, V] 1 where a text has a term."""
    lengths = [len(row) for row in rows]
    flat = np.concatenate([np.zeros(0, np.int64), *rows])
    matrix = sparse.csr_matrix((np.ones(len(flat), np.float32), flat, np.cumsum([0, *lengths])), shape=(len(rows), size))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def vectors_matrix(vectors: Sequence[SparseVector], size: int) -> sparse.csr_matrix:
    """[N, V] the vectors as rows."""
    weights = np.concatenate([np.zeros(0, np.float32), *(vector.weights for vector in vectors)])
    terms = np.concatenate([np.zeros(0, np.int64), *(vector.term_ids.astype(np.int64) for vector in vectors)])
    return sparse.csr_matrix((weights, terms, np.cumsum([0, *map(len, vectors)])), shape=(len(vectors), size))


def idf(matrix: sparse.csr_matrix) -> NDArray[np.float32]:
    """[V] inverse document frequency."""
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.float64)
    return inverse_document_frequency(frequency, matrix.shape[0]).astype(np.float32)


def word_vectors(matrix: sparse.csr_matrix, size: int, *, seed: int) -> NDArray[np.float32]:
    """[V, size] unit vectors by latent semantic analysis; zeros for terms of too few paragraphs.

    Terms are weighed by the root of their IDF and paragraphs put to length 1, then a randomised truncated SVD.
    """
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1])
    kept = np.flatnonzero(frequency >= FEWEST_PARAGRAPHS)
    weighed = matrix[:, kept] @ sparse.diags(np.sqrt(idf(matrix)[kept]))
    lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    weighed = sparse.diags(1 / np.maximum(lengths, 1e-9)) @ weighed
    found = truncated_svd(weighed.T.tocsr().astype(np.float32), size, seed=seed, iterations=2)
    vectors = np.zeros((matrix.shape[1], size), np.float32)
    vectors[kept] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return vectors


def as_int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Rows of unit vectors in int8, as large as they can be: only their direction counts."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.round(vectors * (127 / np.maximum(largest, 1e-9))).astype(np.int8)
