"""Queries that add the words the asker did not use: a thesaurus, and a gate that says how much of each of its edges is meant here.

w_t = g(t) idf(t) for the query's own terms, a (1 - product over edges (1 - g(e) / sqrt(terms of e))) idf(t) for those that edges add,
with one factor a below 1 for all of them, since what is learned adds a little too much for queries that were not seen. Forms of words
(words.py) weigh what the table of weights says.
The gates are small networks over counts and cosines (edge_features.py), learned from judged queries; nothing else is computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFormatError
from ..vectors import SMALLEST_WEIGHT, SparseVector
from .edge_features import EDGE_FEATURES, WORD_FEATURES, Described, Describer, Floats
from .folder import ModelFolder
from .tensors import product, read_tensors, unit_vectors
from .thesaurus import Integers, Thesaurus, is_among
from .tokens import TokenizedText
from .words import Words

LAYERS = 3
OWN_RANGE = (-3.0, 1.0)
"""Of the logarithm of the factor on a query's own words."""
Layers = list[tuple[Floats, Floats]]


PROJECTIONS = ("target", "source", "rest")


class EdgeGate:
    """How much of each edge is meant: [E] between 0 and 1.

    The directions of target, source and the rest of the query are projected to K numbers each; the layers are given these, the
    products target x rest and target x source, and the features of the edge.

    Args:
        projections: [K, D] for each of PROJECTIONS.
        layers: (weight [out, in], bias [out]); ReLU between them.
    """

    def __init__(self, describer: Describer, projections: dict[str, Floats], layers: Layers) -> None:
        self._targets = describer.expressions @ projections["target"].T
        self._sources = describer.expressions @ projections["source"].T
        self._rest, self._layers = projections["rest"].T, layers

    def __call__(self, query: Described) -> Floats:
        """Of the edges of a query."""
        edges, source = query.edges, query.edges.source
        target, own, rest = self._targets[edges.target], self._sources[edges.sources][source], (query.rests @ self._rest)[source]
        inputs = np.concatenate([query.edge_features, target, own, rest, target * rest, target * own], axis=1)
        return np.asarray(1 / (1 + np.exp(-np.clip(_outputs(inputs, self._layers), -30, 30))), np.float32)


class QueryExpansion:
    """The vectors of queries: their own words and those that the thesaurus adds.

    Args:
        words: the terms of the tokens.
        weights: [V] query weight of each term.
        describer: features of edges and of words.
        edge_gate: how much of each edge is meant.
        word_gate: layers that give the logarithm of the factor on a word of the query.
        added: factor on the weights of all terms that edges add.
        min_added: what they weigh at least.
    """

    def __init__(
        self,
        words: Words,
        weights: Floats,
        describer: Describer,
        thesaurus: Thesaurus,
        edge_gate: EdgeGate,
        word_gate: Layers,
        added: float,
        min_added: float,
    ) -> None:
        self._words, self._weights, self._describer, self._thesaurus = words, weights, describer, thesaurus
        self._edge_gate, self._word_gate, self._share = edge_gate, word_gate, np.float32(added)
        self._min_added = max(min_added, float(SMALLEST_WEIGHT))

    @classmethod
    def read(cls, folder: ModelFolder, words: Words) -> QueryExpansion:
        """Read a folder's expansion. Raises ModelFormatError: missing, broken, or arrays that do not belong together."""
        path, size = folder.path / str(folder.config.query.file), folder.config.vocab_size
        tensors = read_tensors(path)
        if endless := next((name for name, values in tensors.items() if not np.isfinite(values).all()), None):
            raise ModelFormatError(f"{path} has NaN or infinity in the tensor {endless!r}: download or make the model again.")
        try:
            weights, vectors = tensors["weights"].astype(np.float32), unit_vectors(tensors["vectors"])
            added = float(tensors["added"].sum())
            projections = {name: tensors[f"edge_gate.{name}"].astype(np.float32) for name in PROJECTIONS}
            layers = _layers(tensors, "edge_gate", EDGE_FEATURES + 5 * len(projections["target"]))
            word_gate, thesaurus = _layers(tensors, "word_gate", WORD_FEATURES), Thesaurus.from_tensors(tensors, folder.config.word_terms)
        except KeyError as error:
            raise ModelFormatError(f"{path} has no tensor {error}: download or make the model again.") from error
        except ModelFormatError as error:
            raise ModelFormatError(f"{path}: {error}") from error
        if weights.shape != (size,) or vectors.ndim != 2 or len(vectors) > size:
            raise ModelFormatError(f"{path} must hold tensors 'weights' of {size:,} entries and 'vectors' of no more rows.")
        if len({projection.shape for projection in projections.values()} | {(len(projections["target"]), vectors.shape[1])}) > 1:
            raise ModelFormatError(f"{path}: the projections of its gate do not fit its vectors: download or make the model again.")
        describer = Describer(thesaurus, weights, vectors)
        edge_gate, least = EdgeGate(describer, projections, layers), folder.config.query.min_weight_added
        return cls(words, weights, describer, thesaurus, edge_gate, word_gate, added, least)

    def vectors(self, texts: list[TokenizedText]) -> list[list[SparseVector]]:
        """One vector for each query: the windows of a long one are joined."""
        queries = [[i for window in text.windows for i in window] for text in texts]
        return [[self.encode(*self._words.terms_and_forms(query))] for query in queries]

    def encode(self, terms: Integers, forms: Integers) -> SparseVector:
        """The vector of a query that is given as its terms in their order, and the forms that it has them in."""
        query = self._describer.describe(terms[self._weights[terms] >= SMALLEST_WEIGHT])
        own = np.exp(np.clip(_outputs(query.word_features, self._word_gate), *OWN_RANGE)) * self._weights[query.terms]
        added, given = self._added(query)
        forms = np.unique(forms)
        forms = forms[~is_among(forms, added)]  # of a thesaurus that has a form for a term
        ids = np.concatenate([query.terms, added, forms])
        weights = np.concatenate([own, given, self._weights[forms]]).astype(np.float32)
        kept = weights >= SMALLEST_WEIGHT
        return SparseVector(ids[kept], weights[kept])

    def _added(self, query: Described) -> tuple[Integers, Floats]:
        """(terms that the query has not, their weights)."""
        gates = self._edge_gate(query)
        edge, places = self._thesaurus.expressions.places(query.edges.target)
        terms, shares = self._thesaurus.expressions.values[places], gates / np.sqrt(self._thesaurus.expressions.sizes[query.edges.target])
        distinct, at = np.unique(terms, return_inverse=True)
        kept = np.bincount(at, np.log1p(-np.minimum(shares, 0.999))[edge], minlength=len(distinct))
        weights = self._share * -np.expm1(kept).astype(np.float32) * self._weights[distinct]
        new = (weights >= self._min_added) & ~is_among(distinct, np.sort(query.terms))
        return distinct[new], weights[new]


def _layers(tensors: dict[str, NDArray[Any]], name: str, width: int) -> Layers:
    """The layers of a gate. Raises ModelFormatError when they do not follow on each other."""
    layers = [(tensors[f"{name}.{n}.weight"], tensors[f"{name}.{n}.bias"]) for n in range(LAYERS)]
    for weight, bias in layers:
        if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
            raise ModelFormatError(f"the layers of {name!r} do not fit each other: download or make the model again.")
        width = len(bias)
    return [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers]


def _outputs(features: Floats, layers: Layers) -> Floats:
    """[N] outputs of a gate."""
    (last, bias), hidden = layers[-1], features
    for weight, offset in layers[:-1]:
        hidden = np.maximum(product(hidden, weight.T) + offset, 0)
    return np.asarray(hidden @ last[0] + bias[0], np.float32)
