"""Files of a collection: in a local folder by the names they are published under, or from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from splade_ptbr_connectors.errors import InputFileError
from training.judged import HUB, find_file


@dataclass(frozen=True)
class Files:
    """Paths of the three parts. `origin`: a note of where they come from."""

    documents: Path
    queries: Path
    qrels: Path
    origin: str


def existing_folder(folder: Path) -> Path:
    """The folder, or InputFileError."""
    if not folder.is_dir():
        raise InputFileError(f"{folder} is a file: name the folder it is in." if folder.exists() else f"no such folder: {folder}.")
    return folder


def local_files(folder: Path, names: Mapping[str, tuple[str, ...]]) -> Files:
    """The first name of each part ("documents", "queries", "qrels") that is in the folder, plain or .gz.

    Names are patterns relative to the folder. Raises InputFileError: a part that is not there, or a pattern that two files fit.
    """
    existing_folder(folder)
    parts = {part: _one(folder, part, patterns) for part, patterns in names.items()}
    return Files(**parts, origin=f"Read from {', '.join(path.relative_to(folder).as_posix() for path in parts.values())}.")


def _one(folder: Path, part: str, patterns: tuple[str, ...]) -> Path:
    for pattern in patterns:
        found = sorted({path for name in (pattern, f"{pattern}.gz") for path in folder.glob(name) if path.is_file()})
        if len(found) > 1:
            raise InputFileError(
                f"{folder} has {len(found)} files for the {part}: {', '.join(path.name for path in found)}: leave one of them there."
            )
        if found:
            return found[0]
    raise InputFileError(f"{folder} has no file with the {part}: looked for {', '.join(patterns)}, each also as .gz.")


def hub_files(dataset: str, *, documents: str, queries: str, qrels: str) -> Files:
    """Three files of a dataset repository of the Hugging Face hub, downloaded once. Raises InputFileError."""
    names = (queries, qrels, documents)  # the small ones first: a name that is wrong does not cost gigabytes
    paths = [find_file(f"{HUB}{dataset}/{name}", data_dir=Path()) for name in names]
    commit = _commit(paths[0])
    at = f" at {commit}" if commit else ""
    return Files(paths[2], paths[0], paths[1], f"Read from the dataset {dataset}{at} on the Hugging Face hub: {', '.join(names)}.")


def _commit(path: Path) -> str:
    """The hub's cache is .../snapshots/COMMIT/file; nothing where it is laid out otherwise."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-2] else ""
