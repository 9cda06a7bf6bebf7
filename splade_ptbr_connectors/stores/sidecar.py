"""Stores in a folder: its place, and the sidecar `splade-store.json`, what a folder of vectors does not say about itself."""

from __future__ import annotations

import json
from pathlib import Path

from ..atomic import write_atomically
from ..errors import ConfigError, StoreFormatError, StoreNotFoundError
from ..json_values import parse_json
from .description import StoreDescription

FILE_NAME = "splade-store.json"


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


def store_folder(address: str, url: str, engine: str) -> Path:
    """The folder that a store URL names. Raises ConfigError when it names none."""
    path = address.removeprefix("//")  # edge://index is read as edge:index, edge:///srv/index as edge:/srv/index
    if not path or "\0" in path:
        raise ConfigError(f"store URL {url!r} names no folder: write it as '{engine}:./index'.")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # ~somebody
        raise ConfigError(f"store URL {url!r} names the home of a user who is not known: write the path without '~'.") from error


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
