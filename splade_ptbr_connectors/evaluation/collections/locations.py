"""Where the files of a collection are: named one by one, in a folder under the names they are published with, or on the hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigError, InputFileError

HUB = "hub:"
_HUB_FILE = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>.+)")


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


def in_folder(path: Path, name: str) -> Path:
    """A BEIR folder's file, also as .gz; anything else as it is."""
    if not path.is_dir():
        return path
    return next((file for file in (path / name, path / f"{name}.gz") if file.exists()), path / name)


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


# -- the hub ------------------------------------------------------------------------------------------------------------


def find_file(name: str, *, data_dir: Path) -> Path:
    """The path of a file, relative to `data_dir`; "hub:owner/name/path/in/it" is downloaded once.

    Raises:
        ConfigError: it starts with "hub:" and is not "hub:owner/name/path".
        InputFileError: nothing there, or the hub did not give it.
    """
    if name.startswith(HUB):
        return _download(name)
    path = data_dir / Path(name).expanduser()
    if not path.exists():
        raise InputFileError(f"no such file: {path} (is the data folder right?).")
    return path


def hub_files(dataset: str, *, documents: str, queries: str, qrels: str) -> Files:
    """Three files of a dataset repository of the Hugging Face hub, downloaded once. Raises InputFileError."""
    names = (queries, qrels, documents)  # the small ones first: a name that is wrong does not cost gigabytes
    paths = [find_file(f"{HUB}{dataset}/{name}", data_dir=Path()) for name in names]
    commit = _commit(paths[0])
    at = f" at {commit}" if commit else ""
    return Files(paths[2], paths[0], paths[1], f"Read from the dataset {dataset}{at} on the Hugging Face hub: {', '.join(names)}.")


def _download(name: str) -> Path:
    parts = _HUB_FILE.fullmatch(name)
    if parts is None:
        raise ConfigError(f"{name!r} names no file of the hub: write hub:owner/name/path/of/the/file.")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(parts["repo"], parts["file"], repo_type="dataset"))
    except Exception as error:  # the hub client raises many unrelated types (HTTP, validation, offline, OS)
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputFileError(
            f"the hub did not give {parts['file']!r} of the dataset {parts['repo']!r} ({type(error).__name__}: {reason:.200}): "
            "check the name and the connection, or download the file and name its path."
        ) from error


def _commit(path: Path) -> str:
    """The hub's cache is .../snapshots/COMMIT/file; nothing where it is laid out otherwise."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-2] else ""
