"""From the token ids of texts to sparse vectors: through the network, in batches, or by a table of weights for queries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, ModelFormatError
from ..vectors import SMALLEST_WEIGHT, SparseVector
from .config import EncoderConfig
from .folder import ModelFolder
from .runtime import Integers, Runtime
from .tensors import read_tensors
from .tokens import TokenizedText, special_ids, tokenizer_errors
from .words import Words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH_LENGTH = 256  # tokens a row may have in a full batch
Window = tuple[int, list[int]]  # its place among all windows, token ids


class ForwardPasses:
    """Runs windows of texts through the network, those of like length together, whatever text they belong to.

    Args:
        pad_id: token that fills shorter windows up.
        dropped: [N] terms that are left out of the vectors.
    """

    def __init__(self, config: EncoderConfig, *, pad_id: int, dropped: Integers) -> None:
        self._log1p_again = config.activation == "log1p_log1p_relu"
        self._pad_id = pad_id
        self._dropped = dropped

    def vectors(self, texts: list[TokenizedText], runtime: Runtime, batch_size: int) -> list[list[SparseVector]]:
        """One vector per window of each text, in order; `batch_size` windows go through the network at once, or fewer if long."""
        windows: list[Window] = list(enumerate(ids for text in texts for ids in text.windows))
        found: dict[int, SparseVector] = {}
        for batch in window_batches(sorted(windows, key=lambda window: len(window[1])), batch_size):
            activations = runtime.activations(*_padded([ids for _, ids in batch], self._pad_id))
            if self._log1p_again:  # of a maximum, so applied once after pooling
                activations = np.log1p(activations)
            for (place, _), vector in zip(batch, sparse_rows(activations, self._dropped), strict=True):
                found[place] = vector
        places = iter(range(len(windows)))
        return [[found[next(places)] for _ in text.windows] for text in texts]


def window_batches(windows: list[Window], size: int) -> Iterator[list[Window]]:
    """Windows by rising length, at most `size` together, and fewer when they are long: attention grows with the square of the length."""
    start = 0
    while start < len(windows):
        end = min(start + size, len(windows))
        while end > start + 1 and (end - start) * len(windows[end - 1][1]) > size * BATCH_LENGTH:
            end -= 1
        yield windows[start:end]
        start = end


def _padded(rows: list[list[int]], pad_id: int) -> tuple[Integers, Integers]:
    """Token ids and mask, both [B, L]."""
    length = max(map(len, rows))
    ids = np.full((len(rows), length), pad_id, np.int64)
    mask = np.zeros((len(rows), length), np.int64)
    for n, row in enumerate(rows):
        ids[n, : len(row)] = row
        mask[n, : len(row)] = 1
    return ids, mask


def sparse_rows(activations: NDArray[np.float32], dropped: Integers) -> Iterator[SparseVector]:
    """Turn [B, V] activations into B vectors without the `dropped` columns. Raises ModelError for NaN or infinity."""
    if not np.isfinite(activations).all():
        raise ModelError("the model gave NaN or infinite activations: use dtype='float32', or check the checkpoint.")
    activations[:, dropped] = 0
    flat = np.flatnonzero(activations >= SMALLEST_WEIGHT)  # several times as fast as pairs of row and term
    weights = activations.ravel()[flat]
    ends = np.searchsorted(flat, np.arange(1, len(activations) + 1) * activations.shape[1])
    terms = flat % max(activations.shape[1], 1)
    start = 0
    for end in ends.tolist():
        yield SparseVector(terms[start:end], weights[start:end])
        start = end


def maximum(vectors: list[SparseVector]) -> SparseVector:
    """The element-wise maximum of some vectors; of none, the empty vector."""
    if len(vectors) <= 1:
        return vectors[0] if vectors else SparseVector([], [])
    terms = np.concatenate([vector.term_ids for vector in vectors])
    weights = np.concatenate([vector.weights for vector in vectors])
    order = np.argsort(terms, kind="stable")
    terms, weights = terms[order], weights[order]
    unique, starts = np.unique(terms, return_index=True)
    return SparseVector(unique, np.maximum.reduceat(weights, starts) if len(starts) else weights)


# -- queries without a network -------------------------------------------------------------------------------------------


class QueryTable:
    """Each distinct token of a query weighs what a learned table says: a weight per vocabulary term, [V] float32.

    Weights <= 0 mean that the term is dropped from queries.

    Source: inference-free queries, arXiv 2411.04403 (IDF table) and arXiv 2505.01452 (learned table).
    """

    def __init__(self, weights: NDArray[np.float32], words: Words | None = None) -> None:
        self._weights, self._words = weights, words

    @classmethod
    def read(cls, folder: ModelFolder, tokenizer: Tokenizer, words: Words | None = None) -> QueryTable:
        """Read a folder's table: a tensor `weights` [V], or `weight` of sentence-transformers' SparseStaticEmbedding.

        Args:
            words: the terms of the tokens, where they are not the tokens themselves.

        Raises:
            ModelFormatError: missing, broken, of another size, or with weights that a vector cannot hold.
        """
        path = folder.query_table
        if path is None or not path.is_file() or (folder.table_elsewhere is None and path.parent != folder.path):
            raise ModelFormatError(
                f"{folder.path} has no {folder.config.query.file!r}, its table of query weights: the download is incomplete."
            )
        tensors = read_tensors(path)
        if "weight" in tensors and "weights" not in tensors:
            return cls(_static_embedding(path, tensors["weight"], folder.config, tokenizer))
        return cls(_checked(path, tensors.get("weights"), folder.config.vocab_size), words)

    def vectors(self, texts: list[TokenizedText]) -> list[list[SparseVector]]:
        """One vector for each query: the windows of a long one are joined."""
        return [[self.encode([i for window in text.windows for i in window])] for text in texts]

    def encode(self, token_ids: list[int]) -> SparseVector:
        """The vector of a query: its distinct tokens (or their terms) with a weight in the table."""
        terms = np.concatenate(self._words.terms_and_forms(token_ids)) if self._words else token_ids
        terms = np.unique(np.asarray(terms, np.uint32))
        weights = self._weights[terms]
        kept = weights >= SMALLEST_WEIGHT
        return SparseVector(terms[kept], weights[kept])


def _checked(path: Path, weights: NDArray[Any] | None, size: int) -> NDArray[np.float32]:
    if weights is None or weights.shape != (size,) or not np.isfinite(weights).all():
        raise ModelFormatError(f"{path} must hold one finite tensor 'weights' with {size:,} entries.")
    return weights.astype(np.float32)


def _static_embedding(path: Path, weight: NDArray[Any], config: EncoderConfig, tokenizer: Tokenizer) -> NDArray[np.float32]:
    """A SparseStaticEmbedding's weights as a table [V].

    It has no entries for spare rows of the network, and reads queries without the special tokens around them.
    """
    if weight.ndim == 1 and len(weight) < config.vocab_size:
        weight = np.pad(weight, (0, config.vocab_size - len(weight)))
    weights = _checked(path, weight, config.vocab_size)
    if weights.min() < 0:
        raise ModelFormatError(f"{path} has weights below 0 (down to {weights.min():g}), which a sparse vector cannot hold.")
    with tokenizer_errors("the model's tokenizer cannot take an empty text"):
        weights[tokenizer.encode("").ids] = 0
    if config.drop_special_tokens:
        weights[special_ids(tokenizer)] = 0
    return weights
