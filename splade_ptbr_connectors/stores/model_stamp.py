"""What a store says about itself beside its vectors: the model that filled it, its settings, its format; and which encoder that asks for.

The same mapping for every engine: a file in the folder of an embedded store, the metadata of a Qdrant collection, `_meta`
of an OpenSearch mapping.
"""

from __future__ import annotations

import json
import re
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .. import __version__
from ..atomic import write_atomically
from ..errors import ConfigError, ModelMismatchError, StoreFormatError, StoreNotFoundError
from ..json_values import parse_json
from ..splitting import PassageSettings

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder

FORMAT_VERSION = 1
WITH_PASSAGES = 2  # of a store that splits long texts: what reads version 1 would take passages for documents
FILE_NAME = "splade-store.json"
_WARNED: set[str] = set()


class UnknownOriginWarning(UserWarning):
    """A collection does not say which model filled it."""


@dataclass(frozen=True, slots=True)
class ModelStamp:
    """What a store remembers of the model that filled it."""

    name: str
    fingerprint: str
    vocab_size: int
    load_arguments: Mapping[str, Any]

    @classmethod
    def of(cls, encoder: Encoder) -> Self:
        """The stamp of an encoder."""
        return cls(encoder.name, encoder.fingerprint, encoder.vocab_size, encoder.load_arguments)

    def __str__(self) -> str:
        return f"{self.name!r} (fingerprint {self.fingerprint[:12]})"


# -- the description ---------------------------------------------------------------------------------------------------

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
    say what it must hold, where the engine cannot tell itself; `passages` are the settings of splitting.Splitter, None for a store
    of whole documents.
    """

    engine: str
    model: ModelStamp
    settings: Mapping[str, Any]
    store_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created_with: str = __version__
    contents: Mapping[str, Any] | None = None
    passages: Mapping[str, Any] | None = None

    def to_mapping(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "format_version": FORMAT_VERSION if self.passages is None else WITH_PASSAGES,
            "engine": self.engine,
            "store_id": self.store_id,
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "load_arguments": dict(self.model.load_arguments),
            "vocab_size": self.model.vocab_size,
            "settings": dict(self.settings),
            "created_with": f"splade_ptbr_connectors {self.created_with}",
            **({"passages": dict(self.passages)} if self.passages is not None else {}),
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
        return cls(engine, stamp, checked["settings"], checked["store_id"], version, checked.get("contents"), checked.get("passages"))


def _checked(raw: object, where: str, engine: str) -> Mapping[str, Any]:
    version = raw.get("format_version") if isinstance(raw, Mapping) else None
    if not isinstance(raw, Mapping) or isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise StoreFormatError(f"{where} is not the description of a store: restore it from a backup, or ingest into a new store.")
    if version > WITH_PASSAGES:
        raise StoreFormatError(
            f"{where} has format version {version}, this package reads up to {WITH_PASSAGES}: upgrade splade-ptbr-connectors."
        )
    wrong = [name for name, kind in FIELDS.items() if not isinstance(raw.get(name), kind)]
    if wrong:
        raise StoreFormatError(f"{where} lacks a valid {wrong[0]!r}: restore it from a backup, or ingest into a new store.")
    other = next((name for name in ("contents", "passages") if not isinstance(raw.get(name, {}), dict)), None)
    if other is not None:
        raise StoreFormatError(f"{where} has {other!r} that are not an object: restore it from a backup, or ingest into a new store.")
    if raw["engine"] != engine:
        raise StoreFormatError(f"{where} describes a store of the engine {raw['engine']!r}, not {engine!r}: open it by that name.")
    return raw


# -- passages ----------------------------------------------------------------------------------------------------------


def passage_settings(asked: Mapping[str, Any] | bool | None) -> dict[str, Any] | None:
    """How a new store has long texts split: as asked for, the rest by default; False: not at all. Raises ConfigError."""
    if asked is False:
        return None
    given = asked if isinstance(asked, Mapping) else {}
    return PassageSettings(**{str(name): value for name, value in given.items()}).model_dump()


def check_passages(asked: Mapping[str, Any] | bool | None, stored: Mapping[str, Any] | None, url: str) -> None:
    """Raise StoreFormatError when a store is opened with other settings of passages than it was created with."""
    if asked is None or (asked is False and stored is None) or (asked is True and stored is not None):
        return
    if isinstance(asked, Mapping) and stored is not None and all(stored.get(name) == value for name, value in asked.items()):
        return
    kept = "whole documents" if stored is None else f"passages of {', '.join(f'{name}={value}' for name, value in stored.items())}"
    raise StoreFormatError(
        f"the store {url} keeps {kept}, but is opened with passages={asked if isinstance(asked, bool) else dict(asked)}: leave that "
        "out, or ingest into a new store."
    )


# -- the encoder -------------------------------------------------------------------------------------------------------


def resolve_encoder(encoder: Encoder | str | None, stamp: ModelStamp | None, url: str, *, allow_mismatch: bool = False) -> Encoder:
    """The encoder to open a store with.

    Args:
        encoder: an encoder, a model to load, or None for the model that the store names.
        stamp: what the store says about its model; None when it is yet to be created.

    Raises:
        ConfigError: no encoder given for a store that names none.
        ModelMismatchError: the store was filled with another model, and allow_mismatch is not set.
    """
    resolved = _load(encoder, stamp, url)
    if stamp is not None and resolved.fingerprint != stamp.fingerprint and not allow_mismatch:
        mine = ModelStamp.of(resolved)
        hint = "same name, but other weights or settings; " if mine.name == stamp.name else ""
        raise ModelMismatchError(
            f"the store {url} was filled with the model {stamp}, but is opened with {mine}: {hint}open it with the first, "
            "or ingest into a new store (allow_mismatch=True opens it all the same, with scores that mean little)."
        )
    return resolved


def _load(encoder: Encoder | str | None, stamp: ModelStamp | None, url: str) -> Encoder:
    if encoder is None and stamp is None:
        raise ConfigError(f'the store {url} is new: say which model fills it, such as encoder="mini".')
    if encoder is None or isinstance(encoder, str):
        from ..encoding.encoder import SpladeEncoder

        return SpladeEncoder.load(**stamp.load_arguments) if encoder is None and stamp else SpladeEncoder.load(str(encoder))
    if not hasattr(encoder, "fingerprint") or not hasattr(encoder, "encode_documents"):
        raise ConfigError(f"encoder is {type(encoder).__name__}: it must be a SpladeEncoder or the name of a model.")
    return encoder


def warn_unknown_origin(encoder: Encoder | str | None, url: str) -> None:
    """For a collection that says nothing about its model: warn, once for each URL and process.

    Raises:
        ConfigError: no encoder given, so that there is nothing to search it with.
    """
    if encoder is None:
        raise ConfigError(f'the store {url} does not say which model filled it: name it yourself, such as encoder="mini".')
    if url not in _WARNED:
        _WARNED.add(url)
        warnings.warn(
            f"the store {url} does not say which model filled it: scores mean something only if it was this one; "
            "if so, adopt() writes it down.",
            UnknownOriginWarning,
            stacklevel=2,
        )


# -- stores in a folder ------------------------------------------------------------------------------------------------


def write_sidecar(folder: Path, description: StoreDescription) -> None:
    """Write atomically. Raises OSError."""
    write_atomically(folder / FILE_NAME, json.dumps(description.to_mapping(), ensure_ascii=False, indent=2) + "\n")


def read_sidecar(folder: Path, engine: str) -> StoreDescription | None:
    """The description in `folder`, or None when there is none. Raises StoreFormatError and OSError."""
    path = folder / FILE_NAME
    try:
        raw = parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreFormatError(f"{path} is not valid JSON ({error}): restore it from a backup, or ingest into a new folder.") from error
    return StoreDescription.from_mapping(raw, where=str(path), engine=engine)


_SETTINGS = re.compile(r"\?\w+=[^/]*$")


def store_folder(address: str, url: str, engine: str) -> Path:
    """The folder that a store URL names. Raises ConfigError when it names none."""
    path = address.removeprefix("//")  # edge://index is read as edge:index, edge:///srv/index as edge:/srv/index
    if not path or "\0" in path:
        raise ConfigError(f"store URL {url!r} names no folder: write it as '{engine}:./index'.")
    try:
        folder = Path(path).expanduser()
    except RuntimeError as error:  # ~somebody
        raise ConfigError(f"store URL {url!r} names the home of a user who is not known: write the path without '~'.") from error
    if _SETTINGS.search(path) and not folder.exists():
        raise ConfigError(f"store URL {url!r} ends in settings, which the URL of a folder cannot hold: give them as settings={{...}}.")
    return folder


def find_store(folder: Path, url: str, engine: str, *, create: bool) -> StoreDescription | None:
    """The description of the store in `folder`, None when one can be made there.

    Raises:
        StoreFormatError: something else is there.
        StoreNotFoundError: nothing is there, and nothing is to be created.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreFormatError(
            f"{folder} is a file: {'an' if engine[0] in 'aeiou' else 'a'} {engine} store is a folder, give the path of one."
        )
    found = read_sidecar(folder, engine)
    if found is None and folder.is_dir() and any(folder.iterdir()):
        raise StoreFormatError(f"the folder {folder} is not empty and holds no {FILE_NAME}: it is not a store, give another path.")
    if found is None and not create:
        raise StoreNotFoundError(f"there is no store at {url}: fill one with ingest, or check the path.")
    return found
