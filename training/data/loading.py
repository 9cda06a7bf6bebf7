"""Everything a recipe is trained and validated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.batches import BatchSource
from training.data.collections import evaluation_of, read_collection
from training.data.sources import MixtureBatches, load_sources
from training.judged import JudgedCollection, collection_of, judged_collection
from training.recipe.sections import CollectionsData, Recipe

SAMPLED_STEPS = 500
"""Batches whose passages stand for the training passages where these are too many to count."""


@dataclass(frozen=True)
class TrainingData:
    """Batches, validation splits and, by source, the passages that an IDF is counted on."""

    batches: BatchSource
    validation: list[JudgedCollection]
    passages: Mapping[str, Sequence[str]]
    sources: list[str]


def load_training_data(recipe: Recipe, data_dir: Path) -> TrainingData:
    """Reads, converts and checks what a recipe names; converted files lie in `DATA/.cache`.

    Raises:
        InputFileError: a file that is missing or broken, with its line; an empty validation set.
    """
    named = [(read_collection(data_dir / name), split) for name, split in map(_split, recipe.validation.splits)]
    validation = [collection_of(evaluation_of(collection, split)) for collection, split in named]
    validation += [judged_collection(files, data_dir=data_dir, seed=recipe.seed) for files in recipe.validation.files]
    if isinstance(recipe.data, CollectionsData):
        return _collections(recipe, recipe.data, data_dir, validation)
    from training.data.open import open_batches

    batches = open_batches(recipe.data, data_dir, data_dir / ".cache", batch_queries=recipe.training.batch_queries, seed=recipe.seed)
    first = batches.batch(0)
    sampled = dict.fromkeys(text for step in range(SAMPLED_STEPS) for text in batches.batch(step).documents)
    return TrainingData(batches, validation, {first.source: list(sampled)}, [first.source])


def _split(entry: str) -> tuple[str, str]:
    name, _, split = entry.partition(":")
    return name, split


def _collections(recipe: Recipe, section: CollectionsData, data_dir: Path, validation: list[JudgedCollection]) -> TrainingData:
    loaded = load_sources(section, data_dir, seed=recipe.seed)
    batches = MixtureBatches(
        loaded.sources, section, batch_queries=recipe.training.batch_queries, seed=recipe.seed, teacher=recipe.ranking.bm25_teacher
    )
    held_out = [collection_of(evaluation) for evaluation in loaded.held_out]
    passages = {name: loaded.sources[name].documents for name in section.collections}
    return TrainingData(batches, held_out + validation, passages, batches.names)
