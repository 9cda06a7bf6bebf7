"""What one optimiser step is trained on: texts, and who is right for whom. Every source of data makes these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.errors import ConfigError


@dataclass(frozen=True)
class Batch:
    """One step's texts. Q queries, C documents: every passage is one column, whoever's positive or negative it is.

    Attributes:
        source: which source of the data it came from.
        queries: [Q] texts.
        documents: [C] texts, no passage twice.
        positive: [Q] column of each query's positive.
        relevant: [Q, C] every known positive of a query: it is never its negative.
        own: [Q, C] hard negatives that were chosen for this query.
        teacher: [Q, C] teacher scores, NaN where the teacher has not scored the pair; None without a teacher.
    """

    source: str
    queries: list[str]
    documents: list[str]
    positive: NDArray[np.int64]
    relevant: NDArray[np.bool_]
    own: NDArray[np.bool_]
    teacher: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.queries), len(self.documents))
        fitting = self.relevant.shape == shape == self.own.shape and self.positive.shape == shape[:1]
        if not fitting or (self.teacher is not None and self.teacher.shape != shape):
            raise ConfigError(f"a batch of {shape[0]} queries and {shape[1]} documents has matrices of other shapes")
        if not self.relevant[np.arange(shape[0]), self.positive].all():
            raise ConfigError("a batch names a positive that is not relevant to its query")
        if (self.own & self.relevant).any():
            raise ConfigError("a batch has a known positive among a query's hard negatives")


class BatchSource(Protocol):
    """Where batches come from. The batch of a step depends on nothing but the source's seed and the step: resume is exact."""

    def batch(self, step: int) -> Batch:
        """The batch of one step, counted from 0; steps never end (epochs follow each other)."""
        ...

    @property
    def sizes(self) -> Mapping[str, Any]:
        """What a dry run shows: counts of queries, documents, triplets, steps an epoch ..., JSON values."""
        ...

    @property
    def sha256(self) -> str:
        """Identity of the data: part of every checkpoint."""
        ...


@dataclass(frozen=True)
class Example:
    """A query with its documents before batching: `documents[0]` is a positive, the others are its hard negatives.

    `keys` identify documents (an id, or the text itself): equal keys share a column. `known` are the keys of every known
    positive of the query. `scores` are the teacher's, one a document, or None.
    """

    query: str
    documents: tuple[str, ...]
    keys: tuple[Any, ...]
    known: frozenset[Any] = frozenset()
    scores: tuple[float, ...] | None = None


def collate(examples: list[Example], *, source: str) -> Batch:
    """Examples as one batch: documents merged by key, in the order they come.

    A hard negative that is a known positive of its query is an error of the data and raises ConfigError.
    """
    columns: dict[Any, int] = {}
    texts: list[str] = []
    for example in examples:
        for key, text in zip(example.keys, example.documents, strict=True):
            if key not in columns:
                columns[key] = len(texts)
                texts.append(text)
    shape = (len(examples), len(texts))
    relevant, own = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    scored = [example.scores is not None for example in examples]
    if any(scored) and not all(scored):
        missing = scored.count(False)
        raise ConfigError(f"{source}: {missing} of {len(scored)} examples of a batch have no teacher scores; every one needs them")
    teacher = np.full(shape, np.nan, dtype=np.float32) if any(scored) else None
    for row, example in enumerate(examples):
        places = [columns[key] for key in example.keys]
        relevant[row, [columns[key] for key in example.known if key in columns]] = True
        relevant[row, places[0]] = True
        if relevant[row, places[1:]].any():
            raise ConfigError(f"{source}: a known positive of the query {example.query[:60]!r} is among its negatives")
        own[row, places[1:]] = True
        if teacher is not None and example.scores is not None:
            teacher[row, places] = example.scores
    positive = np.array([columns[example.keys[0]] for example in examples], dtype=np.int64)
    return Batch(source, [e.query for e in examples], texts, positive, relevant, own, teacher)
