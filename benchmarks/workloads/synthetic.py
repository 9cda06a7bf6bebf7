"""A synthetic collection: document and query vectors of topics, drawn as SPLADE's are distributed, the same every time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.workloads.ready_vectors import VOCABULARY
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

TOPICS, TERMS_A_TOPIC = 400, 4_000
CHUNK = 32_768  # documents made at a time


def make_collection(documents: int, queries: int, *, drawn: int = 120) -> tuple[SparseBatch, list[SparseVector]]:
    """Two of 400 topics each (Zipf within one) and background terms, gamma weights of at most 3.5.

    Args:
        drawn: about as many terms are drawn for a document; 40 leaves 47, as `mini` has on paragraphs.

    Returns: (documents, about 143 terms each by default; queries, about 43 terms each).
    """
    draw = _Topics(np.random.default_rng(0))
    parts = list(draw.documents(documents, drawn))
    from splade_ptbr_connectors.stores.numba.index import joined

    return joined(parts), list(draw.queries(queries))


def stream_collection(documents: int, queries: int, *, drawn: int = 120) -> tuple[Iterator[SparseBatch], list[SparseVector]]:
    """As many of the same documents as wanted, CHUNK by CHUNK, and queries of the same topics that do not depend on how many."""
    asking = _Topics(np.random.default_rng(0))
    asking.random = np.random.default_rng(1)
    return _Topics(np.random.default_rng(0)).documents(documents, drawn), list(asking.queries(queries))


class _Topics:
    """Draws vectors: a first and a second topic, and terms that belong to all of them."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.topics = np.array([random.permutation(VOCABULARY)[:TERMS_A_TOPIC] for _ in range(TOPICS)])
        self.background = random.permutation(VOCABULARY)
        self.in_topic = _cumulative(1 / np.arange(1, TERMS_A_TOPIC + 1) ** 0.9)
        self.in_background = _cumulative(1 / (np.arange(1, VOCABULARY + 1) + 5))

    def documents(self, count: int, drawn: int) -> Iterator[SparseBatch]:
        """`count` documents, CHUNK at a time."""
        for begin in range(0, count, CHUNK):
            yield self.vectors(min(CHUNK, count - begin), drawn, 0.6, 0.45)

    def queries(self, count: int) -> SparseBatch:
        """`count` queries."""
        return self.vectors(count, 35, 0.7, 0.6)

    def vectors(self, rows: int, mean: float, topic_share: float, scale: float) -> SparseBatch:
        """`rows` vectors; terms that are drawn twice count once."""
        sizes = np.maximum(3, self.random.lognormal(np.log(mean), 0.35, rows).astype(np.int64))
        topical = (sizes * topic_share).astype(np.int64)
        drawn = [
            self._of_topics(np.arange(rows), (topical * 0.975).astype(np.int64)),
            self._of_topics(np.arange(rows), (topical * 0.325).astype(np.int64)),
            self._of_background(np.arange(rows), ((sizes - topical) * 1.3).astype(np.int64)),
        ]
        places = np.sort(np.concatenate(drawn))
        places = places[np.diff(places, prepend=-1) > 0]  # np.unique() hashes, four times as slow
        indptr = np.searchsorted(places, np.arange(rows + 1) * VOCABULARY)
        weights = np.minimum(self.random.gamma(1.2, scale, len(places)) + 0.01, 3.5).astype(np.float32)
        return SparseBatch(indptr, (places % VOCABULARY).astype(np.uint32), weights)

    def _of_topics(self, rows: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
        topic = np.repeat(self.random.integers(0, TOPICS, len(rows)), counts)
        ranks = np.searchsorted(self.in_topic, self.random.random(len(topic)))
        places: NDArray[np.int64] = np.repeat(rows, counts) * VOCABULARY + self.topics[topic, np.minimum(ranks, TERMS_A_TOPIC - 1)]
        return places

    def _of_background(self, rows: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
        ranks = np.searchsorted(self.in_background, self.random.random(int(counts.sum())))
        return np.repeat(rows, counts) * VOCABULARY + self.background[np.minimum(ranks, VOCABULARY - 1)]


def _cumulative(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    summed: NDArray[np.float64] = np.cumsum(shares) / shares.sum()
    return summed
