"""A sentence encoder of a few layers learns the embeddings of a large one; the table of its pieces stays as it is.

Queries and passages lie in different corners of the space, so that each is compared after its side's mean is taken away:

    loss = 1 - cos(s - m, t - m)  +  a KL(softmax(t t' / 0.1) || softmax(s s' / 0.1)), centred, in the batch  +  d |s - t|^2
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from splade_ptbr_connectors.encoding.quantization import round_rows
from splade_ptbr_connectors.errors import TrainingError
from training.recipe.concepts import Concepts
from training.words.concepts.stage import Stage
from training.words.concepts.teacher import Embeddings, SentenceEncoder, TokenIds, mean_of

logger = logging.getLogger(__name__)
IN_BATCH_TEMPERATURE = 0.1
SMALLEST_BATCH = 16
LARGEST_BATCH = 256
WARMUP_STEPS = 60
_SORTED_TOGETHER = 6_400  # texts of which batches of like length are made
SMALLEST_ROUNDED = 4_096  # numbers; smaller matrices stay in float16
CHECKPOINT = "student.pt"


@dataclass(frozen=True)
class Side:
    """The texts of a side, in pieces, and the teacher's embeddings of them."""

    rows: TokenIds
    taught: Embeddings

    @property
    def centre(self) -> NDArray[np.float32]:
        """[H] their mean."""
        return mean_of(self.taught)


def student_of(teacher: Path, ids: NDArray[np.int64], layers: tuple[int, ...]) -> SentenceEncoder:
    """Some layers of the teacher, over some of its pieces."""
    student = SentenceEncoder.read(teacher)
    backbone = student.backbone
    pieces = backbone.embeddings.word_embeddings
    kept = nn.Embedding(len(ids), pieces.embedding_dim, padding_idx=None)
    kept.weight.data = pieces.weight.data[torch.from_numpy(ids)].clone()
    backbone.embeddings.word_embeddings = kept
    backbone.encoder.layer = nn.ModuleList([backbone.encoder.layer[n] for n in layers])
    backbone.config.num_hidden_layers, backbone.config.vocab_size = len(layers), len(ids)
    for parameter in backbone.embeddings.parameters():
        parameter.requires_grad_(False)
    return student


@torch.no_grad()
def round_student(student: SentenceEncoder) -> None:
    """Round its matrices to int8 in place, so that the directions are learned on what the shipped graph gives."""
    for parameter in student.parameters():
        matrix = parameter.dim() == 2 and parameter.numel() >= SMALLEST_ROUNDED
        parameter.copy_(round_rows(parameter) if matrix else parameter.to(torch.float16).to(torch.float32))


def distil(student: SentenceEncoder, sides: tuple[Side, Side], section: Concepts, folder: Path) -> None:
    """Train the student in place; goes on from the checkpoint of `folder` if there is one.

    Raises:
        TrainingError: the loss is not a number.
    """
    centres = [torch.from_numpy(side.centre) for side in sides]

    def losses(done: int) -> Iterator[Tensor]:
        for number, chosen in _batches(sides, section, done):
            texts = sides[number]
            found = student.embed([texts.rows[n] for n in chosen])
            wanted = functional.normalize(torch.from_numpy(texts.taught[chosen].astype(np.float32)), dim=1)
            yield _loss(found, wanted, centres[number], section)

    learned = [value for value in student.parameters() if value.requires_grad]
    stage = Stage("distilling", "concepts.lr", section.steps, WARMUP_STEPS, folder / CHECKPOINT, section.checkpoint_every)
    stage.train(student, [{"params": learned, "lr": section.lr}], losses)


def _loss(found: Tensor, wanted: Tensor, centre: Tensor, section: Concepts) -> Tensor:
    student, teacher = functional.normalize(found - centre, dim=1), functional.normalize(wanted - centre, dim=1)
    cosine = (1 - (student * teacher).sum(dim=1)).mean()
    itself = torch.eye(len(found), dtype=torch.bool)
    near, expected = (
        functional.log_softmax((rows @ rows.T).masked_fill(itself, -9.0) / IN_BATCH_TEMPERATURE, dim=1) for rows in (student, teacher)
    )
    similarities = functional.kl_div(near, expected, log_target=True, reduction="batchmean")
    distance = ((found - wanted) ** 2).sum(dim=1).mean()
    return cosine + section.similarities * similarities + section.distance * distance


def _batches(sides: tuple[Side, Side], section: Concepts, done: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(side, texts) without end, of like length and by chance; `done` of them are skipped."""
    epoch = 0
    while True:
        rng = np.random.default_rng([section.seed, epoch])
        found = [(number, batch) for number, side in enumerate(sides) for batch in _of_like_length(side.rows, section.batch_tokens, rng)]
        missing = [what for number, what in enumerate(("queries", "documents")) if number not in {side for side, _ in found}]
        why = f"no {SMALLEST_BATCH} texts of like length fit into concepts.batch_tokens = {section.batch_tokens:,}; give more, or raise it"
        if not found:
            raise TrainingError(f"there is nothing to train on: {why}.")
        if missing and not epoch:
            logger.warning("nothing is learned from %s: %s", missing[0], why)
        for place in rng.permutation(len(found)):
            if done:
                done -= 1
            else:
                yield found[place]
        epoch += 1


def _of_like_length(rows: TokenIds, batch_tokens: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    lengths, order = np.array(list(map(len, rows))), rng.permutation(len(rows))
    for start in range(0, len(order), _SORTED_TOGETHER):
        part = order[start : start + _SORTED_TOGETHER]
        part = part[np.argsort(lengths[part] + rng.random(len(part)) * 6, kind="stable")]
        begin = 0
        for end in range(1, len(part) + 1):
            longest = lengths[part[begin : end + 1]].max()
            if end == len(part) or end - begin == LARGEST_BATCH or longest * (end + 1 - begin) > batch_tokens:
                if end - begin >= SMALLEST_BATCH:
                    yield part[begin:end]
                begin = end
