"""The sidecar `splade-store.json`: what a folder of vectors does not say about itself."""

from __future__ import annotations

import json
from pathlib import Path

from ..atomic import write_atomically
from ..errors import StoreFormatError
from .description import StoreDescription

FILE_NAME = "splade-store.json"


def write_sidecar(folder: Path, description: StoreDescription) -> None:
    """Write atomically. Raises OSError."""
    write_atomically(folder / FILE_NAME, json.dumps(description.to_mapping(), ensure_ascii=False, indent=2) + "\n")


def read_sidecar(folder: Path, engine: str) -> StoreDescription | None:
    """The description in `folder`, or None when there is none. Raises StoreFormatError and OSError."""
    path = folder / FILE_NAME
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise StoreFormatError(f"{path} is not valid JSON ({error}): restore it from a backup, or ingest into a new folder.") from error
    return StoreDescription.from_mapping(raw, where=str(path), engine=engine)
