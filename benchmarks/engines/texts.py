"""Texts of a workload by row: where each begins in documents/texts.txt."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Self

import numpy as np
from tqdm import tqdm

from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.errors import InputError

_CHUNK = 2**24


def check_texts(workload: Workload, engine: str) -> None:
    """Raise InputError where an engine that needs texts has none."""
    if not workload.has_texts:
        raise InputError(f"the engine {engine} needs texts, the workload {workload.about.name} has vectors only: leave the engine out.")


class Texts:
    """Contents of the documents, read from the disk when they are asked for. Thread-safe."""

    def __init__(self, workload: Workload, offsets: Path) -> None:
        """Open with what index() has written to the file `offsets`."""
        self._offsets = np.load(offsets, allow_pickle=False)
        with open(_path(workload), "rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @classmethod
    def index(cls, workload: Workload, offsets: Path) -> None:
        """Find where each line begins. Raises InputError: not one line for each document."""
        begin, found = 0, [np.zeros(1, np.int64)]
        size = _path(workload).stat().st_size
        with open(_path(workload), "rb") as file, tqdm(total=size, desc="texts", unit="B", unit_scale=True, disable=None) as bar:
            while chunk := file.read(_CHUNK):
                found.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + begin + 1)
                begin += len(chunk)
                bar.update(len(chunk))
        begins = np.concatenate(found)
        if len(begins) - 1 != len(workload.documents):
            documents = len(workload.documents)
            raise InputError(f"{_path(workload)} has {len(begins) - 1:,} lines for {documents:,} documents: prepare the workload again.")
        np.save(offsets, begins, allow_pickle=False)

    def __getitem__(self, row: int) -> str:
        text: str = json.loads(self._bytes[self._offsets[row] : self._offsets[row + 1]])
        return text

    def close(self) -> None:
        """Release the file."""
        self._bytes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _path(workload: Workload) -> Path:
    return workload.folder / "documents/texts.txt"
