"""The distilled student learns from judgments, beside the scores of words: it need not find what words find.

A batch is queries of one collection with their passages, passages that words or these embeddings take for near, and a few by chance:

    loss = -log share(relevant | softmax(a (words + w cos(q, d))))  +  b ((1 - cos(q, t)) + (1 - cos(d, t)))

with the embedding t of the same text that it is held to, so that what few judgments cannot teach stays as it was. In between come batches
of weak pairs, each of whose passages is wrong for the others' queries.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.recipe.concepts import Concepts
from training.words.concepts.save import Centres
from training.words.concepts.similarity import START_WEIGHT, Judged
from training.words.concepts.stage import Stage
from training.words.concepts.teacher import SentenceEncoder, TokenIds
from training.words.fit import batches, relevance_loss

BATCH_QUERIES, BATCH_PAIRS = 40, 64
LONGEST = 160
"""Pieces of a passage: what it is about is told at its beginning, and a step costs half."""
NEAR = 30
"""Wrong passages of each query that words and embeddings rank first, one of which is in its batch."""
FAR = 8
POWER = 0.02
WARMUP_STEPS = 30
_SCALES_LR = 5e-3
_LENGTHS = 3  # parts of a batch of texts by length, so that little is padding


@dataclass(frozen=True)
class Tuned:
    """A collection, with the embeddings that it is held to and the scores of words, and its texts in pieces of the student."""

    judged: Judged
    queries: TokenIds
    documents: TokenIds


Pairs = tuple[TokenIds, TokenIds]


def tune(
    student: SentenceEncoder,
    collections: Sequence[Tuned],
    pairs: Pairs,
    centres: Centres,
    shares: Mapping[str, float],
    section: Concepts,
    checkpoint: Path,
) -> None:
    """Train the student in place; goes on from the checkpoint if there is one.

    Args:
        pairs: queries and the passage of each.
        centres: means of the teacher's queries and passages.
        shares: how often the batches of a collection come in an epoch, 1 if not named.

    Raises:
        TrainingError: the loss is not a number.
    """
    steps = _steps([one.judged for one in collections], len(pairs[0]), shares, section)
    objective = _Objective(student, collections, pairs, centres, section)
    learned = [value for value in student.parameters() if value.requires_grad]
    groups = [{"params": learned, "lr": section.tuning_lr}, {"params": objective.scales, "lr": _SCALES_LR, "weight_decay": 0.0}]

    def losses(done: int) -> Iterator[Tensor]:
        return (objective(*steps[step], np.random.default_rng([section.seed, step])) for step in range(done, len(steps)))

    stage = Stage("tuning", "concepts.tuning_lr", len(steps), WARMUP_STEPS, checkpoint, section.checkpoint_every)
    stage.train(objective, groups, losses)


class _Objective(nn.Module):
    """The loss of a batch, with what scales its scores."""

    def __init__(self, student: SentenceEncoder, collections: Sequence[Tuned], pairs: Pairs, centres: Centres, section: Concepts) -> None:
        super().__init__()
        self.weight, self.pair_weight = (nn.Parameter(torch.tensor(math.log(START_WEIGHT))) for _ in range(2))
        self.scale = nn.Parameter(torch.tensor(0.0))
        self.scales = [self.weight, self.pair_weight, self.scale]  # logarithms
        self.student = student
        self._collections, self._pairs, self._section = collections, pairs, section
        self._centres = [torch.from_numpy(centre) for centre in centres]
        self._near = [_near(one.judged) for one in collections]

    def forward(self, number: int | None, chosen: list[int], rng: np.random.Generator) -> Tensor:
        """Of the chosen queries of a collection, or of pairs."""
        return self._of_pairs(chosen) if number is None else self._of_judged(number, chosen, rng)

    def _of_pairs(self, chosen: list[int]) -> Tensor:
        queries, documents = (self._centred(side, [rows[n] for n in chosen]) for side, rows in enumerate(self._pairs))
        return functional.cross_entropy(self.pair_weight.exp() * (queries @ documents.T), torch.arange(len(chosen)))

    def _of_judged(self, number: int, chosen: list[int], rng: np.random.Generator) -> Tensor:
        one = self._collections[number]
        judged, near = one.judged, self._near[number]
        others = [near[chosen, rng.integers(near.shape[1], size=len(chosen))], rng.integers(len(one.documents), size=FAR)]
        shown = np.unique(np.concatenate([*(judged.relevant[n] for n in chosen), *others]))
        queries = self._centred(0, [one.queries[n] for n in chosen])
        documents = self._centred(1, [one.documents[n] for n in shown])
        words = torch.from_numpy(judged.words[np.ix_(chosen, shown)])
        relevant = [np.flatnonzero(np.isin(shown, judged.relevant[n])) for n in chosen]
        loss = relevance_loss(self.scale.exp() * (words + self.weight.exp() * (queries @ documents.T)), relevant, POWER)
        taught = torch.from_numpy(judged.queries[chosen]), torch.from_numpy(judged.documents[shown])
        distance = sum((1 - (rows * wanted).sum(dim=1)).mean() for rows, wanted in zip((queries, documents), taught, strict=True))
        return loss + self._section.tuning_distance * distance

    def _centred(self, side: int, rows: TokenIds) -> Tensor:
        """[B, H] unit vectors, a side's mean taken away."""
        order = np.argsort(list(map(len, rows)), kind="stable")
        parts = [part for part in np.array_split(order, _LENGTHS) if len(part)]
        found = torch.cat([self.student.embed([rows[n][:LONGEST] for n in part]) for part in parts])
        return functional.normalize(found[torch.from_numpy(np.argsort(order))] - self._centres[side], dim=1)


def _near(judged: Judged) -> NDArray[np.int64]:
    """[Q, NEAR] passages that are not relevant but rank first."""
    scores = judged.words + START_WEIGHT * (judged.queries @ judged.documents.T)
    for row, relevant in zip(scores, judged.relevant, strict=True):
        row[relevant] = -np.inf
    count = min(NEAR, scores.shape[1])
    return np.argpartition(-scores, count - 1, axis=1)[:, :count]


def _steps(collections: Sequence[Judged], pairs: int, shares: Mapping[str, float], section: Concepts) -> list[tuple[int | None, list[int]]]:
    """(number of a collection, its queries), or (None, pairs); pairs make the share of the batches that the recipe wants."""
    found: list[tuple[int | None, list[int]]] = []
    rng, order = np.random.default_rng(section.seed), list[int]()
    for epoch in range(section.tuning_epochs):
        for batch in batches(collections, BATCH_QUERIES, shares, seed=section.seed, epoch=epoch):
            while pairs and rng.random() < section.tuning_pairs:
                if len(order) < BATCH_PAIRS:
                    order = rng.permutation(pairs).tolist()
                found.append((None, order[:BATCH_PAIRS]))
                order = order[BATCH_PAIRS:]
            found.append(batch)
    return found
