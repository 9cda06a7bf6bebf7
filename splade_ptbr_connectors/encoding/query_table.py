"""Queries without a network: each distinct token of the query weighs what a learned table says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFormatError
from ..vectors import SMALLEST_WEIGHT, SparseVector
from .config import EncoderConfig
from .folder import ModelFolder
from .tokens import special_ids, understood

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class QueryTable:
    """A weight per vocabulary term, [V] float32; weights <= 0 mean that the term is dropped from queries.

    Source: inference-free queries, arXiv 2411.04403 (IDF table) and arXiv 2505.01452 (learned table).
    """

    def __init__(self, weights: NDArray[np.float32]) -> None:
        self._weights = weights

    @classmethod
    def read(cls, folder: ModelFolder, tokenizer: Tokenizer) -> QueryTable:
        """Read a folder's table: a tensor `weights` [V], or `weight` of sentence-transformers' SparseStaticEmbedding.

        Raises:
            ModelFormatError: missing, broken, of another size, or with weights that a vector cannot hold.
        """
        path = folder.query_table
        if path is None or not path.is_file() or (folder.table_elsewhere is None and path.parent != folder.path):
            raise ModelFormatError(
                f"{folder.path} has no {folder.config.query.file!r}, its table of query weights: the download is incomplete."
            )
        tensors = _tensors(path)
        if "weight" in tensors and "weights" not in tensors:
            return cls(_static_embedding(path, tensors["weight"], folder.config, tokenizer))
        return cls(_checked(path, tensors.get("weights"), folder.config.vocab_size))

    def encode(self, token_ids: list[int]) -> SparseVector:
        """The vector of a query: its distinct tokens with a weight in the table."""
        terms = np.unique(np.asarray(token_ids, np.uint32))
        weights = self._weights[terms]
        kept = weights >= SMALLEST_WEIGHT
        return SparseVector(terms[kept], weights[kept])


def _tensors(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except Exception as error:  # safetensors' own errors, and those of numpy for types that it has not
        raise ModelFormatError(f"{path} is broken or incomplete ({error}): download or export the model again.") from error


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
    with understood("the model's tokenizer cannot take an empty text"):
        weights[tokenizer.encode("").ids] = 0
    if config.drop_special_tokens:
        weights[special_ids(tokenizer)] = 0
    return weights
