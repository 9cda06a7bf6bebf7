"""What a store says about itself beside its vectors: the model that filled it, its settings, its format.

The same mapping for every engine: a file in the folder of an embedded store, the metadata of a Qdrant collection, `_meta`
of an OpenSearch mapping.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import __version__
from ..errors import StoreFormatError
from .binding import ModelStamp

FORMAT_VERSION = 1
FIELDS: dict[str, type] = {
    "engine": str,
    "store_id": str,
    "model": str,
    "fingerprint": str,
    "load_arguments": dict,
    "vocab_size": int,
    "settings": dict,
}


@dataclass(frozen=True)
class StoreDescription:
    """Model, engine and settings of a store. `store_id` is new for every store ever created; `contents`, JSON values of the engine,
    say what it must hold, where the engine cannot tell itself.
    """

    engine: str
    model: ModelStamp
    settings: Mapping[str, Any]
    store_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created_with: str = __version__
    contents: Mapping[str, Any] | None = None

    def to_mapping(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "format_version": FORMAT_VERSION,
            "engine": self.engine,
            "store_id": self.store_id,
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "load_arguments": dict(self.model.load_arguments),
            "vocab_size": self.model.vocab_size,
            "settings": dict(self.settings),
            "created_with": f"splade_ptbr_connectors {self.created_with}",
            **({"contents": dict(self.contents)} if self.contents is not None else {}),
        }

    @classmethod
    def from_mapping(cls, raw: object, *, where: str, engine: str) -> StoreDescription:
        """Out of what to_mapping() gave.

        Args:
            where: names in messages what holds the description.
            engine: the engine that reads it.

        Raises:
            StoreFormatError: something is missing, or it is of another engine or a later format version.
        """
        checked = _checked(raw, where, engine)
        stamp = ModelStamp(checked["model"], checked["fingerprint"], checked["vocab_size"], checked["load_arguments"])
        version = str(checked.get("created_with", "")).rpartition(" ")[2]
        return cls(engine, stamp, checked["settings"], checked["store_id"], version, checked.get("contents"))


def _checked(raw: object, where: str, engine: str) -> Mapping[str, Any]:
    version = raw.get("format_version") if isinstance(raw, Mapping) else None
    if not isinstance(raw, Mapping) or isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise StoreFormatError(f"{where} is not the description of a store: restore it from a backup, or ingest into a new store.")
    if version > FORMAT_VERSION:
        raise StoreFormatError(
            f"{where} has format version {version}, this package reads up to {FORMAT_VERSION}: upgrade splade-ptbr-connectors."
        )
    wrong = [name for name, kind in FIELDS.items() if not isinstance(raw.get(name), kind)]
    if wrong:
        raise StoreFormatError(f"{where} lacks a valid {wrong[0]!r}: restore it from a backup, or ingest into a new store.")
    if not isinstance(raw.get("contents", {}), dict):
        raise StoreFormatError(f"{where} has 'contents' that are not an object: restore it from a backup, or ingest into a new store.")
    if raw["engine"] != engine:
        raise StoreFormatError(f"{where} describes a store of the engine {raw['engine']!r}, not {engine!r}: open it by that name.")
    return raw
