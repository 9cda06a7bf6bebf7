"""Which similarity of embeddings finds what is relevant, beside the scores of words: s(q, d) = q' (1 + A) d.

The encoder's own similarity is that of its teacher, which was trained on other texts. A matrix A, kept small, is all that judgments are
enough for; where words decide already, they have nothing left to teach it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from splade_ptbr_connectors.encoding.thesaurus import Integers
from training.measure.progress import bar
from training.recipe.concepts import Concepts
from training.words.fit import batches, falling, relevance_loss

logger = logging.getLogger(__name__)
BATCH_QUERIES = 64
POWER = 0.5
START_WEIGHT = 20.0
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """The training queries of a collection; rows are centred unit vectors."""

    name: str
    queries: Floats  # [Q, H]
    documents: Floats  # [D, H]
    words: Floats  # [Q, D] scores
    relevant: list[Integers]  # of each query


def fit_similarity(collections: Sequence[Judged], shares: Mapping[str, float], section: Concepts) -> Floats:
    """[H, H] 1 + A.

    Args:
        shares: how often the batches of a collection come in an epoch, 1 if not named.
    """
    width = collections[0].queries.shape[1]
    added = torch.zeros(width, width, requires_grad=True)
    weight, scale = (torch.tensor(start, requires_grad=True) for start in (math.log(START_WEIGHT), 0.0))
    optimizer = torch.optim.Adam([{"params": [added], "lr": section.similarity_lr}, {"params": [weight, scale], "lr": 1e-2}])
    tensors = [[torch.from_numpy(rows) for rows in (one.queries, one.documents, one.words)] for one in collections]
    epochs = [list(batches(collections, BATCH_QUERIES, shares, seed=section.seed, epoch=n)) for n in range(section.similarity_epochs)]
    steps = [batch for epoch in epochs for batch in epoch]
    schedule = falling(optimizer, len(steps))
    losses = list[float]()
    for number, chosen in bar(steps, "similarity", True, total=len(steps)):
        queries, documents, words = tensors[number]
        asked = queries[chosen]
        near = (asked + asked @ added) @ documents.T
        scores = scale.exp() * (words[chosen] + weight.exp() * near)
        loss = relevance_loss(scores, [collections[number].relevant[query] for query in chosen], POWER)
        optimizer.zero_grad()
        (loss + section.similarity_decay * (added**2).sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    found = added.detach().numpy()
    if losses:
        tenth = max(1, len(losses) // 10)
        logger.info("similarity: loss %.3f to %.3f, norm %.2f", np.mean(losses[:tenth]), np.mean(losses[-tenth:]), np.linalg.norm(found))
    return np.asarray(np.eye(width, dtype=np.float32) + found, np.float32)
