"""Whether there is a numba store in a folder, and how one is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import StoreCorruptError, StoreFormatError, StoreNotFoundError
from ..model_stamp import ModelStamp, find_store
from ..settings import OpenOptions
from .database import ACKNOWLEDGED, ADVICE, DATABASE, Database, translated
from .segment import SUFFIX

if TYPE_CHECKING:
    from ...encoding.protocol import Encoder

ENGINE = "numba"


def is_there(folder: Path, url: str, *, create: bool) -> bool:
    """Whether there is a store; False where one is to be made. Raises StoreNotFoundError, StoreFormatError and StoreCorruptError."""
    if not (folder / DATABASE).exists():
        rest = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        if any(name == ACKNOWLEDGED or name.endswith(SUFFIX) for name in rest):
            raise StoreCorruptError(f"{folder / DATABASE} is missing, and with it the documents: {ADVICE}.")
        if "manifest.json" in rest:
            raise StoreFormatError(f"{folder} is a store of an earlier version of this package: ingest into a new folder.")
        find_store(folder, url, ENGINE, create=create)
        return False
    if not Database.is_empty(folder):
        return True
    if (folder / ACKNOWLEDGED).exists():
        raise StoreCorruptError(f"{folder / DATABASE} is empty, and documents were written to it: {ADVICE}.")
    if not create:
        raise StoreNotFoundError(f"there is no store at {url}: fill one with ingest, or check the path.")
    return False


def create(folder: Path, options: OpenOptions, encoder: Encoder) -> None:
    """Make an empty store, unless there is one. Raises StoreError."""
    description = options.description(ENGINE, ModelStamp.of(encoder), {})
    with translated(options.url, "create"):
        folder.mkdir(parents=True, exist_ok=True)
        Database.create(folder, options.url, json.dumps(description.to_mapping(), ensure_ascii=False), description.store_id)
