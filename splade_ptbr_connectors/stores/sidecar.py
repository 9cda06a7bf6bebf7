"""The sidecar `splade-store.json`: what a folder of vectors does not say about itself."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..atomic import write_atomically
from ..errors import StoreFormatError
from .binding import ModelStamp

FILE_NAME = "splade-store.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Sidecar:
    """Model, engine and settings of a store on disk. `store_id` is new for every store ever created."""

    engine: str
    model: ModelStamp
    settings: Mapping[str, Any]
    store_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created_with: str = __version__

    def write(self, folder: Path) -> None:
        """Write atomically. Raises OSError."""
        content = {
            "format_version": FORMAT_VERSION,
            "engine": self.engine,
            "store_id": self.store_id,
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "load_arguments": dict(self.model.load_arguments),
            "vocab_size": self.model.vocab_size,
            "settings": dict(self.settings),
            "created_with": f"splade_ptbr_connectors {self.created_with}",
        }
        write_atomically(folder / FILE_NAME, json.dumps(content, ensure_ascii=False, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path, engine: str) -> Sidecar | None:
        """The sidecar in `folder`, or None when there is none. Raises StoreFormatError and OSError."""
        path = folder / FILE_NAME
        try:
            raw = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:
            raise StoreFormatError(f"{path} is not valid JSON ({error}): restore it from a backup, or ingest into a new folder.") from error
        _check(raw, path, engine)
        stamp = ModelStamp(raw["model"], raw["fingerprint"], raw["vocab_size"], raw["load_arguments"])
        return cls(engine, stamp, raw["settings"], raw["store_id"], str(raw.get("created_with", "")).rpartition(" ")[2])


FIELDS: dict[str, type] = {
    "engine": str,
    "store_id": str,
    "model": str,
    "fingerprint": str,
    "load_arguments": dict,
    "vocab_size": int,
    "settings": dict,
}


def _check(raw: object, path: Path, engine: str) -> None:
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise StoreFormatError(f"{path} is not the description of a store: restore it from a backup, or ingest into a new folder.")
    if version > FORMAT_VERSION:
        raise StoreFormatError(
            f"{path} has format version {version}, this package reads up to {FORMAT_VERSION}: upgrade splade-ptbr-connectors."
        )
    wrong = [name for name, kind in FIELDS.items() if not isinstance(raw.get(name), kind)]
    if wrong:
        raise StoreFormatError(f"{path} lacks a valid {wrong[0]!r}: restore it from a backup, or ingest into a new folder.")
    if raw["engine"] != engine:
        raise StoreFormatError(f"{path} describes a store of the engine {raw['engine']!r}, not {engine!r}: open it by that name.")
