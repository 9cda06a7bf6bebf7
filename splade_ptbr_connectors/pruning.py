"""Static pruning: postings that are left out of an index for good, to make it smaller and faster.

The three criteria of Lassance, Lupart, Déjean, Clinchant and Tonellotto, "A Static Pruning Study on Sparse Neural
Retrievers" (SIGIR 2023, arXiv 2304.12702): the largest weights of each document (TopK, document-centric), weights above one
bound (Threshold, agnostic), the largest weights of each term's posting list (TermQuantile, term-centric).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import numerals
from .errors import ConfigError
from .vectors import SparseBatch

NOTHING = "none"
CELLS = 4 * 2**20  # of the dense blocks that TopK works on: 16 MiB of weights at a time
DENSE_TABLE = 2**24  # up to this term id a table indexed by term id is used, beyond it a search

Mask = NDArray[np.bool_]


class Pruning(ABC):
    """A rule that says which postings of a batch of documents stay."""

    @property
    def needs_collection(self) -> bool:
        """Whether apply() must see all documents in one batch, for their posting lists; else a stream will do, batch by batch."""
        return False

    def apply(self, batch: SparseBatch) -> SparseBatch:
        """The batch [N documents] with the postings that stay; a document may be left with none."""
        return _only(batch, self.kept(batch))

    @abstractmethod
    def kept(self, batch: SparseBatch) -> Mask:
        """[nnz] True where a posting stays."""

    @abstractmethod
    def __str__(self) -> str:
        """As parse_pruning() reads it."""


@dataclass(frozen=True)
class TopK(Pruning):
    """The `terms` largest weights of each document (ties: lower term id first, as SparseVector.prune)."""

    terms: int

    def __post_init__(self) -> None:
        if isinstance(self.terms, bool) or not isinstance(self.terms, int) or self.terms < 1:
            raise ConfigError(f"top_k={self.terms!r}: the number of terms kept per document is an integer of at least 1, such as 64.")

    def kept(self, batch: SparseBatch) -> Mask:
        """O(nnz) by partition, in blocks of documents of similar length."""
        kept = np.ones(len(batch.term_ids), np.bool_)
        lengths = np.diff(batch.indptr)
        rows = np.flatnonzero(lengths > self.terms)
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        while len(rows):
            block = rows[: max(1, CELLS // int(lengths[rows[-1]]))]
            self._prune_block(batch, block, kept)
            rows = rows[len(block) :]
        return kept

    def _prune_block(self, batch: SparseBatch, rows: NDArray[np.int64], kept: Mask) -> None:
        starts, ends = batch.indptr[rows, None], batch.indptr[rows + 1, None]
        cells = starts + np.arange(int((ends - starts).max()))
        inside = cells < ends
        cells[~inside] = 0
        weights = np.where(inside, batch.weights[cells], np.float32(0))  # 0 is below every weight
        last = weights.shape[1] - self.terms
        bound = np.partition(weights, last, axis=1)[:, last, None]  # the smallest weight that stays
        above, tied = weights > bound, weights == bound
        room = self.terms - above.sum(axis=1, keepdims=True)
        stays = above | (tied & (tied.cumsum(axis=1, dtype=np.int32) <= room))  # terms are in order within a document
        kept[cells[inside]] = stays[inside]

    def __str__(self) -> str:
        return f"top_k={self.terms}"


@dataclass(frozen=True)
class Threshold(Pruning):
    """Weights of at least `weight`, compared in float32."""

    weight: float

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= float(np.finfo(np.float32).max):
            raise ConfigError(f"threshold={self.weight!r}: the smallest weight that stays is a finite number >= 0, such as 0.1.")

    def kept(self, batch: SparseBatch) -> Mask:
        """O(nnz)."""
        mask: Mask = batch.weights >= np.float32(self.weight)
        return mask

    def __str__(self) -> str:
        return f"threshold={float(self.weight)!r}"


@dataclass(frozen=True)
class TermQuantile(Pruning):
    """Of each term's posting list the weights at or above its `share`-quantile.

    A list of df postings loses its floor(share * df) smallest weights; those equal to the smallest one that stays all stay.
    No list is emptied. Works in memory: 8 bytes a posting for the sorted lists, and as much again while they are sorted.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ConfigError(f"quantile={self.share!r}: the share of each posting list that goes is at least 0 and below 1, such as 0.3.")

    @property
    def needs_collection(self) -> bool:
        """True: posting lists reach over the documents."""
        return True

    def kept(self, batch: SparseBatch) -> Mask:
        """O(nnz log nnz): one sort of all postings."""
        if not len(batch.term_ids):
            return np.ones(0, np.bool_)
        terms, bounds = self._bounds(batch)
        if int(terms[-1]) > DENSE_TABLE:
            mask: Mask = batch.weights >= bounds[np.searchsorted(terms, batch.term_ids)]
        else:
            table = np.zeros(int(terms[-1]) + 1, np.float32)
            table[terms] = bounds
            mask = batch.weights >= table[batch.term_ids]
        return mask

    def _bounds(self, batch: SparseBatch) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The terms of the batch, in order, and of each the smallest weight that stays."""
        # the bits of positive floats are in the order of the floats: one integer sort orders terms and weights within them
        postings = (batch.term_ids.astype(np.uint64) << np.uint64(32)) | batch.weights.view(np.uint32)
        postings.sort()
        terms = (postings >> np.uint64(32)).astype(np.uint32)
        starts = np.flatnonzero(np.concatenate(([True], terms[1:] != terms[:-1])))
        sizes = np.diff(np.append(starts, len(terms)))
        first = starts + np.floor(self.share * sizes).astype(np.int64)
        return terms[starts], (postings[first] & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.float32)

    def __str__(self) -> str:
        return f"quantile={float(self.share)!r}"


@dataclass(frozen=True)
class Combined(Pruning):
    """Several rules one after the other, each on what the ones before it left; with no rule at all everything stays."""

    steps: tuple[Pruning, ...] = ()

    @property
    def needs_collection(self) -> bool:
        """Whether any of the rules does."""
        return any(step.needs_collection for step in self.steps)

    def apply(self, batch: SparseBatch) -> SparseBatch:
        """The batch after the last rule."""
        for step in self.steps:
            batch = step.apply(batch)
        return batch

    def kept(self, batch: SparseBatch) -> Mask:
        """[nnz] True where a posting stays."""
        mask = np.ones(len(batch.term_ids), np.bool_)
        for step in self.steps:
            stays = step.kept(batch)
            mask[mask] = stays
            batch = _only(batch, stays)
        return mask

    def __str__(self) -> str:
        return ",".join(map(str, self.steps)) or NOTHING


def parse_pruning(text: str) -> Pruning:
    """Read "top_k=64", "threshold=0.1", "quantile=0.3", several with commas between them (applied in that order), or "none".

    Raises:
        ConfigError: anything else, or a number outside its range.
    """
    if text.strip() == NOTHING:
        return Combined()
    steps = [_parse_step(part.strip(), text) for part in text.split(",")]
    return steps[0] if len(steps) == 1 else Combined(tuple(steps))


def _parse_step(step: str, text: str) -> Pruning:
    name, _, value = (part.strip() for part in step.partition("="))
    if name not in _STEPS:
        raise ConfigError(
            f"pruning {text!r}: {step!r} must be top_k=N, threshold=WEIGHT, quantile=SHARE or none: write for example {_EXAMPLE}."
        )
    read, kind = _STEPS[name]
    number = read(value)
    if number is None:
        raise ConfigError(f"pruning {text!r}: {value!r} is not a number that {name} accepts: write for example {_EXAMPLE}.")
    return kind(number)


_EXAMPLE = "top_k=64,threshold=0.1"
_STEPS: dict[str, tuple[Callable[[str], Any], Callable[[Any], Pruning]]] = {
    "top_k": (numerals.integer, TopK),
    "threshold": (numerals.number, Threshold),
    "quantile": (numerals.number, TermQuantile),
}


def _only(batch: SparseBatch, kept: Mask) -> SparseBatch:
    """The batch with the postings of a mask; the same object where all stay."""
    positions = np.flatnonzero(kept)
    if len(positions) == len(kept):
        return batch
    indptr = np.searchsorted(positions, batch.indptr).astype(np.int64)
    return SparseBatch(indptr, batch.term_ids[positions], batch.weights[positions])
