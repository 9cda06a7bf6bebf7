"""Opens the data of a recipe by its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splade_ptbr_connectors.errors import ConfigError
from training.data.batches import BatchSource
from training.data.hub import HubBatches
from training.data.scored import ScoredBatches
from training.data.triplet_texts import TripletTextBatches
from training.data.triplets import TripletBatches

_BATCHES: dict[str, Any] = {"triplets": TripletBatches, "triplet_texts": TripletTextBatches, "scored": ScoredBatches, "hub": HubBatches}


def open_batches(section: object, data_dir: Path, cache_dir: Path, *, batch_queries: int, seed: int) -> BatchSource:
    """The batches of a data section, converting and checking its files where that is not done yet.

    Args:
        section: TripletsData, TripletTextsData, ScoredData or HubData.
        data_dir: what the section's paths are relative to.
        cache_dir: where converted data is kept; made if it is not there.
        batch_queries: queries of a batch, over all processes.

    Raises:
        InputFileError: a file that is missing or broken, with its line.
        ConfigError: a setting that the data does not allow.
        TrainingError: the cache folder cannot be written.
    """
    kind = getattr(section, "kind", type(section).__name__)
    if kind not in _BATCHES:
        raise ConfigError(f"data of kind {kind!r} cannot be opened here: expected one of {', '.join(_BATCHES)}")
    source: BatchSource = _BATCHES[kind](section, data_dir, cache_dir, batch_queries=batch_queries, seed=seed)
    return source
