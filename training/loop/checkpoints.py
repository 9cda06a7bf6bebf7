"""Checkpoints that are whole or not there: a folder counts only once its marker says what it is and that it is complete."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from splade_ptbr_connectors.atomic import write_atomically
from splade_ptbr_connectors.errors import TrainingError
from training.recipe.file import recipe_table
from training.recipe.sections import Recipe

MARKER = "complete.json"
PREFIX = "checkpoint-"
Identity = dict[str, Any]


def identity_of(recipe: Recipe, data_sha256: str, *, world_size: int) -> Identity:
    """What a checkpoint must share with the run that goes on from it."""
    table = json.dumps(recipe_table(recipe), sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(table.encode()).hexdigest()
    return {"recipe": recipe.name, "recipe_sha256": digest, "data_sha256": data_sha256, "processes": world_size}


def complete(folder: Path, identity: Identity, state: dict[str, Any]) -> None:
    """Marks a written checkpoint as usable; `state` is kept with it."""
    write_atomically(folder / MARKER, json.dumps({"identity": identity, "state": state}, ensure_ascii=False))


def last_complete(runs: Path) -> Path | None:
    """The newest usable checkpoint of a folder; folders without a marker were being written when the run was cut off."""
    found = [path for path in runs.glob(f"{PREFIX}*") if (path / MARKER).is_file() and path.name.removeprefix(PREFIX).isdigit()]
    return max(found, key=step_of, default=None)


def step_of(folder: Path) -> int:
    """The optimiser step after which a checkpoint was saved."""
    return int(folder.name.removeprefix(PREFIX))


def read_state(folder: Path, identity: Identity) -> dict[str, Any]:
    """The state that was kept with a checkpoint.

    Raises:
        TrainingError: it is a checkpoint of another recipe, of other data, or of another number of processes.
    """
    try:
        kept = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        found, state = kept["identity"], kept["state"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{folder / MARKER} cannot be read ({error}): delete {folder}, and resume from the one before") from error
    for key, meaning in (("recipe_sha256", "recipe"), ("data_sha256", "data"), ("processes", "number of processes")):
        if found.get(key) != identity[key]:
            raise TrainingError(
                f"{folder} is a checkpoint of another {meaning} ({found.get(key)!r:.20} of recipe {found.get('recipe')!r}, this run has "
                f"{identity[key]!r:.20}): choose another output folder, or train without --resume"
            )
    return dict(state)


def remove_unfinished(runs: Path) -> None:
    """Removes what a run that was cut off left half written."""
    for path in runs.glob(f"{PREFIX}*"):
        if path.is_dir() and not (path / MARKER).is_file():
            shutil.rmtree(path)


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """A failed save (disk full, no permission) leaves no half checkpoint, keeps the one before, and says so.

    Raises:
        TrainingError: what the disk reported, and which checkpoint is good.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        shutil.rmtree(folder, ignore_errors=True)
        good = last_complete(folder.parent)
        kept = f"the last good checkpoint is {good}" if good else "there is no earlier checkpoint"
        reason = str(error).splitlines()[0][:200]
        raise TrainingError(f"cannot save {folder} ({reason}): {kept}; free some space and run again with --resume") from error
