"""[concepts] of a recipe of words: how its second channel is learned from a large sentence encoder (training/words/concepts)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from training.recipe.types import Count, Natural, NotNegative, Positive, Section


class Concepts(Section):
    """Texts, the student, its directions."""

    teacher: str
    """Folder of a BERT-like sentence encoder (transformers' layout), relative to the data folder."""
    prompt_query: str = "query: "
    prompt_document: str = "passage: "
    seed: int = 7

    pairs: str | None = None
    """JSONL of {"query", "positive"}."""
    pair_queries: Natural = 60_000
    pair_documents: Natural = 20_000
    paragraphs: Count = 12_000
    """Of each text file, from the first; passages and sentences are drawn from them."""
    passages: Natural = 14_000
    sentences: Natural = 50_000

    layers: tuple[Natural, ...] = (0, 3, 7, 11)
    """Of the teacher, which the student begins with."""
    pieces: Count = 20_000
    """Of the teacher's vocabulary, the commonest in the texts."""
    max_length_query: Count = 64
    max_length_document: Count = 256
    steps: Count = 5_000
    batch_tokens: Count = 4_096
    lr: Positive = 4e-4
    similarities: NotNegative = 0.3
    """Weight of the loss on similarities within a batch."""
    distance: NotNegative = 2.0
    """Weight of the loss on the distance from the teacher's embedding."""

    tuning_rounds: Natural = 2
    """Of the student itself; before each is found what it ranks first, and what it is held to. 0 leaves it as it was distilled."""
    tuning_epochs: Count = 1
    """Over the judged queries, in a round."""
    tuning_lr: Positive = 1e-4
    tuning_pairs: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of the batches that are of pairs."""
    tuning_distance: NotNegative = 0.4
    """Weight of the loss on the distance from the teacher's embeddings, and in later rounds from the student's before the round."""

    similarity_epochs: Natural = 3
    """Over the judged queries, of the matrix that similarity is learned by."""
    similarity_lr: Positive = 1e-3
    similarity_decay: NotNegative = 0.01
    """Of that matrix: of few judgments a large one learns the texts by heart."""

    size: Count = 1_024
    """Concepts."""
    top_query: Count = 16
    top_document: Count = 160
    directions_steps: Count = 3_000
    directions_lr: Positive = 4e-3
    collections: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the queries of collections among those that directions are learned on; the others are of pairs."""
    neighbours: Count = 48
    scale: Positive = 14.0
    """What a similarity of 1 adds to the score of words."""
    checkpoint_every: Count = 100
