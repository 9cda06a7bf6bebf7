"""The directions that embeddings are spelled in, so that the scores of a few concepts follow the similarities of whole embeddings.

They begin as what tells the passages of a common term from the others (ridge regression). For a query, passages near to it and passages
by chance, they learn by least squares: the scores, but for a constant of each query, are the similarities. A softmax over both would hear
the nearest passages only, but beside words those in the middle count as well.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from splade_ptbr_connectors.encoding.tensors import unit_vectors
from training.measure.progress import bar
from training.recipe.concepts import Concepts
from training.words.fit import falling

logger = logging.getLogger(__name__)
RIDGE = 3.0
START_LENGTH = 4.0
START_BIAS = -0.5
BATCH_QUERIES = 96
NEAR_EACH, FAR_EACH = 4, 2
_LOGGED_EVERY = 200
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Embedded:
    """Training texts; centred unit rows."""

    queries: Floats
    documents: Floats
    of_collections: int
    """The first queries are of collections."""


class Directions(nn.Module):
    """Concepts of queries and documents: relu(W e + b), the largest kept; queries are turned by a matrix before.

    Args:
        start: [C, H].
        similarity: [H, H] of queries and documents, the matrix that training begins with.
    """

    def __init__(self, start: Floats, similarity: Floats, section: Concepts) -> None:
        super().__init__()
        size = len(start)
        self.weight = nn.Parameter(torch.from_numpy(start) * START_LENGTH)
        self.matrix = nn.Parameter(torch.from_numpy(similarity.copy()))
        self.bias_query = nn.Parameter(torch.full((size,), START_BIAS))
        self.bias_document = nn.Parameter(torch.full((size,), START_BIAS))
        self.scale = nn.Parameter(torch.tensor(0.1))
        """Of the scores."""
        self._top_query, self._top_document = section.top_query, section.top_document

    def queries(self, rows: Tensor) -> Tensor:
        """[B, C]."""
        return _largest(functional.relu(rows @ self.matrix @ self.weight.T + self.bias_query), self._top_query)

    def documents(self, rows: Tensor) -> Tensor:
        """[B, C]."""
        return _largest(functional.relu(rows @ self.weight.T + self.bias_document), self._top_document)


def _largest(values: Tensor, top: int) -> Tensor:
    found = values.topk(min(top, values.shape[1]), dim=1)
    return torch.zeros_like(values).scatter(1, found.indices, found.values)


def start_directions(documents: Floats, terms: sparse.csr_matrix, size: int) -> Floats:
    """[C, H] unit rows: of each of the commonest terms, where its weight grows fastest.

    Args:
        documents: [N, H] unit rows.
        terms: [N, V] weights of the terms of the same documents.
    """
    common = np.argsort(-np.bincount(terms.indices, minlength=terms.shape[1]), kind="stable")[:size]
    weights = terms[:, common]
    gram = documents.T @ documents + RIDGE * np.eye(documents.shape[1], dtype=np.float32)
    found = np.linalg.solve(gram, np.asarray((weights.T @ documents).T)).T
    return unit_vectors(found)


def fit_directions(start: Floats, similarity: Floats, texts: Embedded, section: Concepts) -> Directions:
    """Trained directions, whose scores follow q' S d with S = `similarity`."""
    generator = torch.Generator().manual_seed(section.seed)
    directions = Directions(start, similarity, section)
    groups = [
        {"params": [directions.weight, directions.bias_query, directions.bias_document], "lr": section.directions_lr},
        {"params": [directions.matrix], "lr": section.directions_lr / 3},
        {"params": [directions.scale], "lr": 1e-2},
    ]
    optimizer = torch.optim.Adam(groups)
    schedule = falling(optimizer, section.directions_steps)
    queries, documents = torch.from_numpy(texts.queries), torch.from_numpy(texts.documents)
    turned = torch.from_numpy(texts.queries @ similarity)
    near = _neighbours(turned, documents, section.neighbours)
    losses = list[float]()
    for step in bar(range(section.directions_steps), "directions", True, total=section.directions_steps):
        chosen = _chosen(len(queries), texts.of_collections, section.collections, generator)
        picked = torch.randint(near.shape[1], (BATCH_QUERIES, NEAR_EACH), generator=generator)
        others = torch.randint(len(documents), (BATCH_QUERIES * FAR_EACH,), generator=generator)
        shown = torch.cat([near[chosen].gather(1, picked).flatten(), others]).unique()
        scores = directions.scale * (directions.queries(queries[chosen]) @ directions.documents(documents[shown]).T)
        error = scores - turned[chosen] @ documents[shown].T
        loss = (error - error.mean(dim=1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % _LOGGED_EVERY == 0:
            logger.info("directions, step %d: loss %.5f", step + 1, float(np.mean(losses[-_LOGGED_EVERY:])))
    return directions


def _chosen(count: int, of_collections: int, share: float, generator: torch.Generator) -> Tensor:
    """Queries of a batch, so many of them from collections; all alike where there is only one kind."""
    few = round(BATCH_QUERIES * share) if 0 < of_collections < count else 0
    first = torch.randint(max(1, of_collections), (few,), generator=generator)
    others = torch.randint(of_collections if few else 0, count, (BATCH_QUERIES - few,), generator=generator)
    return torch.cat([first, others])


def _neighbours(queries: Tensor, documents: Tensor, count: int) -> Tensor:
    """[Q, count] nearest documents of each query."""
    count = min(count, len(documents))
    return torch.cat([(queries[start : start + 1024] @ documents.T).topk(count).indices for start in range(0, len(queries), 1024)])
