"""Everything a recipe is trained and validated on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.evaluation.collections import JudgedCollection, Sample, collection_from_files, read_beir
from training.data.batches import BatchSource
from training.data.sources import MixtureBatches, load_sources
from training.recipe.sections import CollectionFiles, CollectionsData, Recipe

SAMPLED_STEPS = 500
"""Batches whose passages stand for the training passages where these are too many to count."""


class SampledPassages(Mapping[str, Sequence[str]]):
    """The passages of the first batches of one source, read when somebody asks for them: most models do not."""

    def __init__(self, name: str, batches: BatchSource) -> None:
        self._name, self._batches = name, batches

    @cached_property
    def _passages(self) -> list[str]:
        return list(dict.fromkeys(text for step in range(SAMPLED_STEPS) for text in self._batches.batch(step).documents))

    def __getitem__(self, name: str) -> Sequence[str]:
        if name != self._name:
            raise KeyError(name)
        return self._passages

    def __iter__(self) -> Iterator[str]:
        yield self._name

    def __len__(self) -> int:
        return 1


@dataclass(frozen=True)
class TrainingData:
    """Batches, validation splits and, by source, the passages that an IDF or embeddings are counted on."""

    batches: BatchSource
    validation: list[JudgedCollection]
    passages: Mapping[str, Sequence[str]]
    sources: list[str]


def load_training_data(recipe: Recipe, data_dir: Path) -> TrainingData:
    """Reads, converts and checks what a recipe names; converted files lie in `DATA/.cache`.

    Raises:
        InputFileError: a file that is missing or broken, with its line.
        InputError, ConfigError: a validation set without a query that can be measured, or none at all.
    """
    validation = [read_beir(data_dir / name).split(split) for name, split in map(_split, recipe.validation.splits)]
    validation += [_from_files(files, data_dir, seed=recipe.seed) for files in recipe.validation.files]
    if isinstance(recipe.data, CollectionsData):
        return _collections(recipe, recipe.data, data_dir, validation)
    from training.data.open import open_batches

    batches = open_batches(recipe.data, data_dir, data_dir / ".cache", batch_queries=recipe.training.batch_queries, seed=recipe.seed)
    source = batches.batch(0).source
    return TrainingData(batches, validation, SampledPassages(source, batches), [source])


def _from_files(files: CollectionFiles, data_dir: Path, *, seed: int) -> JudgedCollection:
    return collection_from_files(
        files.name,
        documents=files.collection,
        queries=files.queries,
        qrels=files.qrels,
        data_dir=data_dir,
        sample=Sample(files.sample_documents, files.sample_queries, seed),
    )


def _split(entry: str) -> tuple[str, str]:
    name, _, split = entry.partition(":")
    return name, split


def _collections(recipe: Recipe, section: CollectionsData, data_dir: Path, validation: list[JudgedCollection]) -> TrainingData:
    loaded = load_sources(section, data_dir, seed=recipe.seed)
    batches = MixtureBatches(
        loaded.sources, section, batch_queries=recipe.training.batch_queries, seed=recipe.seed, teacher=recipe.ranking.bm25_teacher
    )
    if not loaded.held_out and not validation:
        raise ConfigError(
            f"data.held_out ({section.held_out}) holds out no query, so nothing is validated on: raise the share, or name files"
        )
    passages = {name: loaded.sources[name].documents for name in section.collections}
    return TrainingData(batches, loaded.held_out + validation, passages, batches.names)
