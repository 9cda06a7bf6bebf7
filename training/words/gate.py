"""The gate while it is trained: the layers of encoding/expansion.py in torch, over the same features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from splade_ptbr_connectors.encoding.edge_features import EDGE_FEATURES, WORD_FEATURES, Described, Describer
from splade_ptbr_connectors.encoding.expansion import LAYERS, OWN_RANGE, PROJECTIONS
from splade_ptbr_connectors.encoding.thesaurus import KIND, KINDS, RELATED, Integers, Thesaurus

BETWEEN_EQUIVALENTS = frozenset(KIND[:RELATED, :RELATED].ravel().tolist())
START = -2.5
"""Of an edge's logit: a twelfth passes."""


@dataclass(frozen=True)
class Prepared:
    """A query as numbers. N own terms, P terms in all, E edges, L pairs of an edge and a term of its target."""

    described: Described
    terms: Integers  # [P], the query's own ones first
    own: int  # N
    edge: Integers  # [L]
    term: Integers  # [L] place in `terms`
    share: NDArray[np.float32]  # [L] 1 / sqrt(terms of the target); 0 for terms that the query has


def prepare(terms: Integers, describer: Describer, thesaurus: Thesaurus) -> Prepared:
    """Describe a query, given as its terms in their order."""
    described = describer.describe(terms)
    targets = described.edges.target
    edge, places = thesaurus.expressions.places(targets)
    leads_to, own = thesaurus.expressions.values[places], described.terms
    new = np.setdiff1d(leads_to, own)
    at = np.concatenate([own, new])
    order = np.argsort(at, kind="stable")
    term = order[np.searchsorted(at, leads_to, sorter=order)] if len(at) else leads_to
    share = np.where(term < len(own), 0, 1 / np.sqrt(thesaurus.expressions.sizes[targets][edge])).astype(np.float32)
    return Prepared(described, at, len(own), edge, term, share)


@dataclass(frozen=True)
class Tables:
    """What the gate reads and does not learn: query weights [V] of terms, and directions [X, D] of expressions."""

    weights: Tensor
    expressions: Tensor


class Gate(nn.Module):
    """Two small networks: of an edge, how much of its target is added; of a word of the query, a factor on its weight."""

    def __init__(self, hidden: int, projected: int, vector_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.projections = nn.ModuleDict({name: nn.Linear(vector_size, projected, bias=False) for name in PROJECTIONS})
        self.edge_gate = _network(EDGE_FEATURES + 5 * projected, hidden, dropout)
        self.word_gate = _network(WORD_FEATURES, hidden // 2, dropout)
        self.scale = nn.Parameter(torch.tensor(1.5))
        """Of the scores, in the loss."""
        nn.init.zeros_(self.edge_gate[-1].weight)
        nn.init.constant_(self.edge_gate[-1].bias, START)
        nn.init.zeros_(self.word_gate[-1].weight)
        nn.init.zeros_(self.word_gate[-1].bias)

    def forward(self, queries: Sequence[Prepared], tables: Tables) -> tuple[Tensor, list[int]]:
        """([all P of all queries] weights of their terms, where each query ends)."""
        ends = np.cumsum([len(query.terms) for query in queries])
        edge_starts = np.cumsum([0, *(len(query.described.edges) for query in queries)])
        edge = _joined([query.edge + start for query, start in zip(queries, edge_starts, strict=False)])
        term = _joined([query.term + end - len(query.terms) for query, end in zip(queries, ends, strict=True)])
        share = _joined([query.share for query in queries])
        gates = torch.sigmoid(self.edge_gate(self._inputs([query.described for query in queries], tables.expressions))[:, 0])
        kept = torch.log1p(-(gates[edge] * share).clamp(max=0.999))
        table = tables.weights[_joined([query.terms for query in queries])]
        added = -torch.expm1(torch.zeros_like(table).index_add(0, term, kept)) * table
        factors = torch.exp(self.word_gate(_joined([query.described.word_features for query in queries]))[:, 0].clamp(*OWN_RANGE))
        own = _joined([np.arange(query.own) + end - len(query.terms) for query, end in zip(queries, ends, strict=True)])
        return added.index_copy(0, own, factors * table[own]), ends.tolist()

    def _inputs(self, queries: Sequence[Described], expressions: Tensor) -> Tensor:
        """[all E, in] what EdgeGate gives its layers."""
        starts = np.cumsum([0, *(len(query.edges.sources) for query in queries)])
        source = _joined([query.edges.source + start for query, start in zip(queries, starts, strict=False)])
        target = self.projections["target"](expressions)[_joined([query.edges.target for query in queries])]
        own = self.projections["source"](expressions[_joined([query.edges.sources for query in queries])])[source]
        rest = self.projections["rest"](_joined([query.rests for query in queries]))[source]
        return torch.cat([_joined([query.edge_features for query in queries]), target, own, rest, target * rest, target * own], dim=1)

    def tensors(self, added: float = 1.0) -> dict[str, NDArray[np.float32]]:
        """Layers under the names that the package reads, and the factor on what is added."""
        found = {f"edge_gate.{name}": layer.weight.detach().numpy().copy() for name, layer in self.projections.items()}
        for name, network in (("edge_gate", self.edge_gate), ("word_gate", self.word_gate)):
            for number, layer in enumerate(layer for layer in network if isinstance(layer, nn.Linear)):
                found[f"{name}.{number}.weight"] = layer.weight.detach().numpy().copy()
                found[f"{name}.{number}.bias"] = layer.bias.detach().numpy().copy()
        return found | {"added": np.float32([added])}


def blind_gate(equivalents: float, related: float, vector_size: int) -> dict[str, NDArray[np.float32]]:
    """Layers that let every edge pass with the same share, whatever the query; those between equivalents pass with another."""
    logits = [np.log(share / (1 - share)) for share in (equivalents, related)]
    tensors = Gate(KINDS, 1, vector_size).tensors()
    found = {name: np.zeros_like(tensor) for name, tensor in tensors.items()}
    found["added"] += 1
    for layer in range(LAYERS - 1):
        found[f"edge_gate.{layer}.weight"][range(KINDS), range(KINDS)] = 1
    found[f"edge_gate.{LAYERS - 1}.weight"][0] = [logits[0] if kind in BETWEEN_EQUIVALENTS else logits[1] for kind in range(KINDS)]
    return found


def _network(inputs: int, hidden: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in [inputs, *[hidden] * (LAYERS - 2)]:
        layers += [nn.Linear(before, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden, 1))


def _joined(parts: Sequence[NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))
