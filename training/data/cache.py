"""Arrays that are made once from data files, kept in a cache folder, and opened memory-mapped by every later run and process."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.atomic import write_atomically
from splade_ptbr_connectors.errors import TrainingError
from training.data.blocks import Block, FileState, read_blocks, require_plain

logger = logging.getLogger(__name__)
FORMAT = 1
"""Raised when arrays of an older version of this code must not be used."""
META = "meta.json"


def digest(content: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class CachedArrays:
    """A folder of arrays. Arrays are memory-mapped when first asked for; pickling carries the folder's name only.

    Attributes:
        facts: what was counted while they were made, JSON values.
        sha256: of the content of the files they were made from and of what decided how; not of names, places or dates.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        self.facts: dict[str, Any] = meta["facts"]
        self.sha256 = digest([meta["inputs"], {name: state["sha256"] for name, state in meta["files"].items()}])
        self._shapes: dict[str, tuple[str, list[int]]] = meta["arrays"]
        self._opened: dict[str, NDArray[Any]] = {}

    def __reduce__(self) -> tuple[type[CachedArrays], tuple[Path]]:
        return CachedArrays, (self.folder,)

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._opened:
            dtype, shape = self._shapes[name]
            self._opened[name] = _mapped(self.folder / name, np.dtype(dtype), tuple(shape))
        return self._opened[name]

    @property
    def whole(self) -> bool:
        """Whether every array has the bytes that it should have."""
        return all(_whole(self.folder / name, np.dtype(dtype), shape) for name, (dtype, shape) in self._shapes.items())


def _whole(path: Path, dtype: np.dtype[Any], shape: list[int]) -> bool:
    return path.is_file() and path.stat().st_size == dtype.itemsize * int(np.prod(shape, dtype=np.int64))


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A memory-mapped array; an empty one is in memory, as nothing cannot be mapped."""
    if 0 in shape:
        return np.empty(shape, dtype=dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=shape))


class ArrayWriter:
    """Arrays on their way to the cache: appended part by part, so that they never have to be in memory.

    Attributes:
        facts: fill with what was counted.
    """

    def __init__(self, folder: Path, files: Mapping[str, Path]) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = {}
        self._files, self._states = files, dict[str, FileState]()
        self._handles: dict[str, BinaryIO] = {}
        self._shapes: dict[str, tuple[str, list[int]]] = {}

    def blocks(self, name: str, *, limit: int | None = None) -> Iterator[Block]:
        """The blocks of one of the files; their SHA-256 becomes part of the identity."""
        return read_blocks(self._files[name], limit=limit, done=lambda state: self._states.__setitem__(name, state))

    def path(self, name: str) -> Path:
        """Where one of the files lies."""
        return self._files[name]

    def has_file(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return name in self._files

    def append(self, name: str, part: NDArray[Any]) -> None:
        """Rows for the end of an array; all parts have one type and one width."""
        if name not in self._handles:
            self._handles[name] = open(self.folder / name, "wb")
            self._shapes[name] = (part.dtype.str, [0, *part.shape[1:]])
        dtype, shape = self._shapes[name]
        if dtype != part.dtype.str or shape[1:] != list(part.shape[1:]):
            raise TypeError(f"array {name}: a part of {part.dtype.str} {part.shape} does not fit {dtype} {shape}")
        np.ascontiguousarray(part).tofile(self._handles[name])
        shape[0] += len(part)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """What was appended so far, memory-mapped."""
        self._handles[name].flush()
        dtype, shape = self._shapes[name]
        return _mapped(self.folder / name, np.dtype(dtype), tuple(shape))

    def __contains__(self, name: str) -> bool:
        return name in self._handles

    def discard(self, *names: str) -> None:
        """Forget arrays that only helped to make others."""
        for name in names:
            self._handles.pop(name).close()
            del self._shapes[name]
            (self.folder / name).unlink()

    def close(self) -> None:
        for handle in self._handles.values():
            handle.close()

    def finish(self, inputs: Mapping[str, Any]) -> None:
        """Flushes everything to disk, the description last."""
        for handle in self._handles.values():
            handle.flush()
            os.fsync(handle.fileno())
        states = {name: asdict(self._states[name]) for name in self._files}
        meta = {"inputs": dict(inputs), "files": states, "arrays": self._shapes, "facts": self.facts}
        write_atomically(self.folder / META, json.dumps(meta, ensure_ascii=False, indent=1) + "\n")


def open_cached(
    cache_dir: Path,
    kind: str,
    *,
    files: Mapping[str, Path],
    inputs: Mapping[str, Any],
    build: Callable[[ArrayWriter], None],
) -> CachedArrays:
    """The arrays made from `files`, made now if they are not there or no longer fit.

    They fit when `inputs` are the same and the files have the size and date, or else the content, that they had. One process
    makes them while others that ask for the same wait. What is half made leaves nothing: the folder gets its name at the end.

    Args:
        kind: begins the folder's name; the rest of it comes from the places of the files and from `variant` of the inputs.
        inputs: JSON values that decide what is made, without places.

    Raises:
        InputFileError: from the files.
        TrainingError: the cache folder cannot be written.
    """
    for path in files.values():
        require_plain(path)
    inputs = {"format": FORMAT, "kind": kind, **inputs}
    places = [kind, {name: str(path.resolve()) for name, path in files.items()}, inputs.get("variant")]
    folder = cache_dir / f"{kind}-{digest(places)[:16]}"
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_suffix(".lock")):
            return _usable(folder, files, inputs) or _made(folder, files, inputs, build)
    except OSError as error:
        why = error.strerror or str(error)
        raise TrainingError(f"the cache folder {cache_dir} cannot be used: {why}; free some space there, or name another.") from error


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; the system frees the lock of a process that dies. Without such locks (Windows) each makes its own."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _usable(folder: Path, files: Mapping[str, Path], inputs: Mapping[str, Any]) -> CachedArrays | None:
    """The arrays in the folder if they fit, with a word in the log if they do not."""
    if not folder.is_dir():
        return None
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        states = {name: FileState(**meta["files"][name]).still(path) for name, path in files.items()}
        fits = meta["inputs"] == json.loads(json.dumps(inputs)) and None not in states.values() and CachedArrays(folder).whole
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        logger.warning("%s was made from other data, or is damaged: it is made again", folder)
        return None
    now = {name: asdict(state) for name, state in states.items() if state is not None}
    if now != meta["files"]:
        write_atomically(folder / META, json.dumps({**meta, "files": now}, ensure_ascii=False, indent=1) + "\n")
    return CachedArrays(folder)


def _made(folder: Path, files: Mapping[str, Path], inputs: Mapping[str, Any], build: Callable[[ArrayWriter], None]) -> CachedArrays:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    writer = ArrayWriter(temporary, files)
    try:
        build(writer)
        writer.finish(inputs)
        writer.close()
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    finally:
        writer.close()
        shutil.rmtree(temporary, ignore_errors=True)
    return CachedArrays(folder)
