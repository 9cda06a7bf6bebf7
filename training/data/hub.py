"""Datasets of the Hugging Face hub, or of a local folder that `datasets` reads, by columns."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from splade_ptbr_connectors.errors import ConfigError, InputFileError
from training.data.cache import ArrayWriter, open_cached
from training.data.rows import Row, RowBatches, RowError, look_at
from training.recipe.sections import HubData

_SAVED = ("state.json", "dataset_dict.json")
"""Files by which a folder that `save_to_disk` wrote is known."""


class HubRows:
    """Random access to the rows of a dataset; texts are their own ids."""

    kind = "hub"

    def __init__(self, section: HubData, dataset: Any) -> None:
        self._section, self.dataset = section, dataset
        wanted = [section.query, section.positive, *section.negatives, *([section.scores] if section.scores else [])]
        missing = [name for name in wanted if name not in dataset.column_names]
        if missing:
            held = ", ".join(dataset.column_names)
            raise ConfigError(f"{section.dataset} ({section.split}) has no column {', '.join(map(repr, missing))}; it has {held}.")

    def row(self, index: int) -> Row:
        """A row. Raises InputFileError."""
        try:
            return self._row(self.dataset[index])
        except RowError as error:
            self.fail(index, str(error))

    def text(self, key: str) -> str:
        """Keys are texts."""
        return key

    def fail(self, index: int, why: str) -> NoReturn:
        """Raises InputFileError for a row."""
        raise InputFileError(f"{self._section.dataset} ({self._section.split}), row {index} counted from 0: {why}")

    def all(self) -> Iterator[Row]:
        """Every row in order, with a progress bar on a terminal."""
        from tqdm import tqdm

        for index, values in enumerate(tqdm(self.dataset, self._section.dataset, unit=" rows", disable=None)):
            try:
                yield self._row(values)
            except RowError as error:
                self.fail(index, str(error))

    def _row(self, values: dict[str, Any]) -> Row:
        section = self._section
        query = _text(values[section.query], section.query)
        positive = _text(values[section.positive], section.positive)
        negatives = [text for column in section.negatives for text in _texts(values[column], column)]
        if section.negatives and not negatives:
            raise RowError(f"no negative in {', '.join(map(repr, section.negatives))}.")
        texts = (positive, *negatives)
        return Row(query, query, texts, texts, frozenset((positive,)), _scores(values, section.scores))


def _text(value: Any, column: str) -> str:
    if isinstance(value, str):
        return value
    raise RowError(f"column {column!r} is {type(value).__name__}: expected a text.")


def _texts(value: Any, column: str) -> list[str]:
    return [_text(each, column) for each in (value if isinstance(value, list) else [value])]


def _scores(values: dict[str, Any], column: str | None) -> tuple[float, ...] | None:
    if column is None:
        return None
    if not isinstance(values[column], list):
        raise RowError(f"column {column!r} is {type(values[column]).__name__}: expected a list, of the positive, then of each negative.")
    return tuple(values[column])


class HubBatches(RowBatches):
    """Batches of a dataset. All negatives of a row are used; those that are known positives of the query are left out and counted."""

    def __init__(self, section: HubData, data_dir: Path, cache_dir: Path, *, batch_queries: int, seed: int) -> None:
        """Loads the dataset (a folder in the data folder, a folder, or a hub id) and looks at all its rows the first time.

        Raises:
            ConfigError: `datasets` is not installed, or cannot load this; a column that is not there.
            InputFileError: naming the row: no text, an empty one, scores that do not fit.
        """
        rows = HubRows(section, load(section, data_dir, cache_dir))
        arrays = open_cached(
            cache_dir,
            section.kind,
            files={},
            inputs={"variant": [rows.dataset._fingerprint, section.query, section.positive, section.negatives, section.scores]},
            build=lambda writer: _build(writer, rows),
        )
        super().__init__(rows, arrays, negatives=None, batch_queries=batch_queries, seed=seed)

    @property
    def sha256(self) -> str:
        """Of all rows, in their order."""
        return str(self._arrays.facts["content"])


def _build(writer: ArrayWriter, rows: HubRows) -> None:
    content = hashlib.sha256()
    look_at(writer, _hashed(rows, content), negatives=None, fail=rows.fail)
    writer.facts["content"] = content.hexdigest()
    if not writer.facts["rows"]:
        raise InputFileError(f"{rows.dataset}: no row is left to train on: {writer.facts}. Is every negative a positive?")


def _hashed(rows: HubRows, content: Any) -> Iterator[Row]:
    for row in rows.all():
        content.update(repr((row.query, row.keys, row.scores)).encode("utf-8", "surrogatepass"))
        yield row


def load(section: HubData, data_dir: Path, cache_dir: Path) -> Any:
    """The split as a `datasets.Dataset`. Raises ConfigError."""
    try:
        datasets: Any = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise ConfigError("data of kind 'hub' needs the library `datasets`: install the dependency group `train`.") from error
    folder = next((place for place in (data_dir / section.dataset, Path(section.dataset)) if place.is_dir()), None)
    try:
        if folder is not None and any((folder / name).is_file() for name in _SAVED):
            return _saved_split(section, datasets.load_from_disk(str(folder)))
        name = section.dataset if folder is None else str(folder)
        return datasets.load_dataset(name, section.subset, split=section.split, cache_dir=str(cache_dir / "datasets"))
    except (OSError, ValueError, KeyError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        why = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"{section.dataset} cannot be loaded (subset {section.subset}, split {section.split}): {type(error).__name__}: {why}"
        ) from error


def _saved_split(section: HubData, loaded: Any) -> Any:
    """The split of what `save_to_disk` wrote: several splits by name, or one without a name, which is taken as `train`."""
    splits = loaded if isinstance(loaded, dict) else {"train": loaded}
    if section.subset is not None:
        raise ConfigError(f"data.subset has no effect: {section.dataset} was saved by save_to_disk and has no subsets; leave it out.")
    if section.split not in splits:
        raise ConfigError(f"{section.dataset} has no split {section.split!r}; it has {', '.join(splits)}.")
    return splits[section.split]
