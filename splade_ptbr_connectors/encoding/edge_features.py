"""What the gate is told about an edge of the thesaurus and about a word of the query: numbers of about -1 to 1, from counts and cosines.

The vectors are word vectors counted on text (document co-occurrence), so that their cosines say whether words come up in the same texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tensors import product
from .thesaurus import KINDS, Edges, Integers, Rows, Thesaurus

Floats = NDArray[np.float32]
Column = NDArray[Any]
EDGE_FEATURES = KINDS + 29
WORD_FEATURES = 12


@dataclass(frozen=True, slots=True)
class Described:
    """A query, as the gates see it. N distinct terms, E edges.

    Attributes:
        terms: [N] distinct terms in the order of their first occurrence.
        edges: from the query's expressions.
        edge_features: [E, EDGE_FEATURES].
        word_features: [N, WORD_FEATURES].
        rests: [S, D] direction of the query's other words, for each source.
    """

    terms: Integers
    edges: Edges
    edge_features: Floats
    word_features: Floats
    rests: Floats


class Describer:
    """Features of queries.

    Args:
        thesaurus: whose edges are described.
        weights: [V] query weight of each term (IDF); 0 for what queries never have.
        vectors: [W, D] unit word vectors of the first W terms; the others have none.

    Attributes:
        expressions: [X, D] direction of each expression of the thesaurus.
    """

    def __init__(self, thesaurus: Thesaurus, weights: Floats, vectors: Floats) -> None:
        self._thesaurus, self._weights = thesaurus, weights
        self._vectors = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
        self._weighted = self._vectors * np.append(weights[: len(vectors)], np.float32(0))[:, None]
        self.expressions = _unit(self._sums(thesaurus.expressions))
        self._senses = _unit(self._sums(thesaurus.sense_terms))
        sizes = thesaurus.expressions.sizes
        self._weight_sums = _row_sums(weights[thesaurus.expressions.values], thesaurus.expressions).astype(np.float32)
        self._weight_means = self._weight_sums / np.maximum(sizes, 1)

    def describe(self, terms: Integers) -> Described:
        """A query, given as its terms in their order."""
        edges = self._thesaurus.edges(terms)
        distinct = np.array(list(dict.fromkeys(terms.tolist())), np.int64)
        words = self._weighted[self._row(distinct)]
        rests = _unit(words.sum(axis=0) - self._own(edges))
        of_edges = self._of_edges(edges, distinct, words, rests)
        return Described(distinct, edges, of_edges, self._of_words(edges, terms, distinct, words), rests)

    # -- edges ----------------------------------------------------------------------------------------------------------

    def _of_edges(self, edges: Edges, distinct: Integers, words: Floats, rests: Floats) -> Floats:
        features = np.zeros((len(edges), EDGE_FEATURES), np.float32)
        if not len(edges):
            return features
        features[np.arange(len(edges)), edges.kind] = 1
        arcs = self._of_arcs(edges, distinct, rests)
        parts = [*self._of_targets(edges, words, rests), *(column[edges.arc] for column in arcs), *_of_counts(edges)]
        features[:, KINDS : KINDS + len(parts)] = np.stack(parts, axis=1)
        return features

    def _of_targets(self, edges: Edges, words: Floats, rests: Floats) -> list[Column]:
        """Of the word that would be added: how rare it is, and how near to the query, its source, and what other sources lead to."""
        source = edges.source
        vectors = self.expressions[edges.target]
        others, whole = self._others(edges, vectors), _unit(words.sum(axis=0))
        directions = np.concatenate([rests, self.expressions[edges.sources], others, whole[None]])
        cosines, count, row = product(vectors, directions.T), len(edges.sources), np.arange(len(edges))  # far fewer directions than edges
        weight, own = self._weight_means[edges.target], self._weight_means[edges.sources]
        senses = self._thesaurus.memberships.sizes[edges.target]
        sizes = self._thesaurus.expressions.sizes[edges.target]
        return [
            weight / 10,
            (weight - own[source]) / 10,
            (sizes - 1).astype(np.float32),
            cosines[row, source],
            cosines[row, count + source],
            cosines[:, -1],
            cosines[row, 2 * count + source],
            np.log(senses).astype(np.float32) / 3,
            (edges.rank / 5).astype(np.float32),
        ]

    def _of_arcs(self, edges: Edges, distinct: Integers, rests: Floats) -> list[Column]:
        """[A] each: of a source in one of its senses, whether the rest of the query speaks of this sense."""
        source, sense = edges.arc_source, edges.arc_sense
        near = _dot(self._senses[sense], rests[source])
        hits = np.minimum(self._hits(edges, distinct), 3)
        score = near + np.float32(0.3) * hits
        best = np.full(len(edges.sources), -np.inf, np.float32)
        np.maximum.at(best, source, score)
        weights = self._weights[distinct]
        own_mean, top = self._weight_means[edges.sources], max(float(weights.max(initial=0)), 1e-6)
        lengths = self._thesaurus.expressions.sizes[edges.sources]
        senses = np.bincount(source, minlength=len(edges.sources))
        ones = np.ones(len(source), np.float32)
        return [
            near,
            hits / 3,
            score - best[source],
            (score >= best[source] - 1e-6).astype(np.float32),
            np.log1p(edges.arc_order).astype(np.float32) / 3,
            np.log(senses)[source].astype(np.float32),
            (lengths - 1)[source].astype(np.float32),
            _covered(edges, lengths)[source],
            (self._weight_sums[edges.sources] / 10)[source],
            (own_mean / top)[source],
            _dot(self.expressions[edges.sources], rests)[source],
            ones * (len(distinct) / 10),
            ones * (float(weights.mean()) / 10),
            ones * (top / 10),
            ones * (float(weights.min()) / 10),
            ones * (len(edges.sources) / max(len(distinct), 1)),
        ]

    def _own(self, edges: Edges) -> Floats:
        """[S, D] weighted vectors of each source's own words."""
        of_source, places = self._thesaurus.expressions.places(edges.sources)
        own = np.zeros((len(edges.sources), self._vectors.shape[1]), np.float32)
        np.add.at(own, of_source, self._weighted[self._row(self._thesaurus.expressions.values[places])])
        return own

    def _others(self, edges: Edges, vectors: Floats) -> Floats:
        """[S, D] where the edges of all other sources lead to, on the whole; a source counts as one, however many edges it has."""
        towards = np.zeros((len(edges.sources), self._vectors.shape[1]), np.float32)
        counts = np.bincount(edges.source, minlength=len(edges.sources))
        some = np.flatnonzero(counts)
        towards[some] = np.add.reduceat(vectors, (np.cumsum(counts) - counts)[some])
        towards = _unit(towards)
        return _unit(towards.sum(axis=0) - towards)

    def _hits(self, edges: Edges, distinct: Integers) -> Floats:
        """[A] words of the query, the source's own left out, that the sense has among its members."""
        _, places = self._thesaurus.senses_of_term.places(distinct)
        counts = np.bincount(self._thesaurus.senses_of_term.values[places], minlength=len(self._thesaurus.senses.sizes))
        distinct_own = self._thesaurus.expressions.sizes[edges.sources][edges.arc_source]
        return np.asarray(np.maximum(counts[edges.arc_sense] - distinct_own, 0), np.float32)

    # -- words ----------------------------------------------------------------------------------------------------------

    def _of_words(self, edges: Edges, terms: Integers, distinct: Integers, words: Floats) -> Floats:
        weights = self._weights[distinct]
        count, top = len(distinct), max(float(weights.max(initial=0)), 1e-6)
        ranks = np.empty(count, np.int64)
        ranks[np.argsort(-weights, kind="stable")] = np.arange(count)
        rest = _unit(words.sum(axis=0) - words)
        leads = np.zeros(count, np.float32)
        at = {term: n for n, term in enumerate(distinct.tolist())}
        lengths = self._thesaurus.expressions.sizes[edges.sources].tolist()
        degree = np.bincount(edges.source, minlength=len(edges.sources)).tolist()
        longest = np.zeros(count, np.float32)
        for start, length, edges_each in zip(edges.positions.tolist(), lengths, degree, strict=True):
            for term in terms[start : start + length].tolist():
                leads[at[term]] += edges_each
                longest[at[term]] = max(longest[at[term]], length - 1)
        ones = np.ones(count, np.float32)
        columns = [
            weights / 10,
            weights / top,
            ones * (float(weights.mean()) / 10 if count else 0),
            ones * (count / 10),
            ranks / 10,
            np.arange(count) / 10,
            _dot(self._vectors[self._row(distinct)], rest),
            np.log1p(leads) / 5,
            longest,
            (leads > 0).astype(np.float32),
            ones * (float((leads > 0).mean()) if count else 0),
            ones * (top / 10),
        ]
        return np.stack(columns, axis=1).astype(np.float32) if count else np.zeros((0, WORD_FEATURES), np.float32)

    # -- vectors --------------------------------------------------------------------------------------------------------

    def _row(self, terms: Integers) -> Integers:
        """Rows of `_vectors`; terms without a vector have the last one, which is 0."""
        return np.minimum(terms, len(self._vectors) - 1)

    def _sums(self, rows: Rows) -> Floats:
        return _row_sums(self._weighted[self._row(rows.values)], rows).astype(np.float32)


def _of_counts(edges: Edges) -> list[Column]:
    """How many sources lead to the same word, and how many edges there are."""
    source = edges.source
    pairs = np.sort(edges.target * (len(edges.sources) + 1) + source)  # np.unique hashes, and takes longer
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    targets, sources = np.unique(pairs // (len(edges.sources) + 1), return_counts=True)
    agreeing = sources[np.searchsorted(targets, edges.target)]
    ones, degree = np.ones(len(edges), np.float32), np.bincount(source, minlength=len(edges.sources))
    return [
        np.log(agreeing).astype(np.float32),
        ones / max(1, len(edges.sources)),
        np.log1p(degree)[source].astype(np.float32) / 4,
        ones * (float(np.log1p(len(edges))) / 6),
    ]


def _covered(edges: Edges, lengths: Integers) -> Floats:
    """[S] 1 for a source that stands inside a longer one."""
    starts, ends = edges.positions, edges.positions + lengths
    inside = (starts[:, None] >= starts) & (ends[:, None] <= ends) & (lengths[:, None] < lengths)
    return np.asarray(inside.any(axis=1), np.float32)


def _row_sums(values: Floats, rows: Rows) -> NDArray[np.float32]:
    """[R, ...] sums of the values of each row; none is empty."""
    if not len(rows.sizes):
        return np.zeros((0, *values.shape[1:]), np.float32)
    return np.asarray(np.add.reduceat(values, rows.starts[:-1]), np.float32)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + np.float32(1e-9)), np.float32)


def _dot(left: Floats, right: Floats) -> Floats:
    """[N] products of the rows of two matrices."""
    return np.asarray(np.einsum("nd,nd->n", left, right), np.float32)
