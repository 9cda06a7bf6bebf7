"""Sparse vectors as the inside of JSON objects, many at once: half of what a bulk request costs its sender if done one by one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...vectors import SparseBatch, SparseVector

# One term of the usual kind is 21 bytes: '"1234"  :0.1234567890,'. Blanks are allowed between the tokens of JSON, and ten
# digits behind the point tell every float32 of this range from its neighbours, which are at least 2.3e-10 apart.
SMALLEST, LARGEST = np.float32(2**-9), np.float32(10)  # of the weights; the largest itself is not of this kind
MAX_TERMS = 100_000  # ids below this have up to five digits
NAME_BYTES, TERM_BYTES = 8, 21


def feature_texts(vectors: Sequence[SparseVector]) -> list[bytes]:
    """For each vector {3: 0.5} the text `"3":0.5`, from which a JSON reader gets back the same float32."""
    batch = SparseBatch.from_vectors(vectors)
    usual = (batch.weights >= SMALLEST) & (batch.weights < LARGEST) & (batch.term_ids < MAX_TERMS)
    unusual = np.concatenate([[0], np.cumsum(~usual)])[batch.indptr]
    blob = _fixed_width(np.where(usual, batch.term_ids, 0), np.where(usual, batch.weights, 1)).tobytes()
    starts, counts = (TERM_BYTES * batch.indptr).tolist(), unusual.tolist()
    return [
        blob[starts[row] : starts[row + 1]].removesuffix(b",") if counts[row] == counts[row + 1] else one_by_one(vector)
        for row, vector in enumerate(vectors)
    ]


def one_by_one(vector: SparseVector) -> bytes:
    """The same for any vector, five times slower. Nine significant digits give every float32 back."""
    size = len(vector)
    pairs: list[Any] = [None] * (2 * size)
    pairs[::2], pairs[1::2] = vector.term_ids.tolist(), vector.weights.tolist()
    return ((b'"%d":%.9g,' * size) % tuple(pairs))[:-1]


def _fixed_width(term_ids: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.uint8]:
    """[N, 21] characters."""
    names, digits = _tables()
    whole, behind = np.divmod(np.rint(weights.astype(np.float64) * 1e10).astype(np.int64), 10**10)
    texts = np.empty((len(term_ids), TERM_BYTES), np.uint8)
    texts[:, :NAME_BYTES] = names[term_ids]
    texts[:, 8] = whole + ord("0")
    texts[:, 9] = ord(".")
    texts[:, 10:15] = digits[behind // 10**5]
    texts[:, 15:20] = digits[behind % 10**5]
    texts[:, 20] = ord(",")
    return texts


@functools.cache
def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """[100,000, 8] names of terms and [100,000, 5] digits."""
    names = "".join([f'"{term}"'.ljust(NAME_BYTES - 1) + ":" for term in range(MAX_TERMS)])
    digits = "".join([f"{number:05}" for number in range(MAX_TERMS)])
    return tuple(np.frombuffer(text.encode(), np.uint8).reshape(MAX_TERMS, -1) for text in (names, digits))  # type: ignore[return-value]
