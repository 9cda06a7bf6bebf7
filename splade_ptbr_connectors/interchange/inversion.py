"""Documents to posting lists and back: an external sort of postings, in bounded memory.

Postings arrive in the order of one side (a document's terms, a term's documents) and are wanted in the order of the other.
They are collected into runs of RUN postings; a full run is sorted and goes to a temporary file, from where its groups are read
back one by one. Within a group the order of arrival stays. Memory: about 50 bytes a posting of one run while it is sorted
(800 MB for 2**24), and 12 bytes a key and run; disk: 8 bytes a posting beyond the first run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputFileError

RUN = 2**24
BLOCK = 8192  # keys looked up at once
NO_POSTINGS = (np.empty(0, np.uint32), np.empty(0, np.uint32))

U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]


class Group(NamedTuple):
    """All postings of one key: the other side's numbers, and the impacts, in the order they came."""

    key: int
    others: U32
    impacts: U32


class _Run(NamedTuple):
    """Sorted postings: those of keys[i] are others[bounds[i]:bounds[i + 1]]."""

    keys: U32
    bounds: I64
    others: U32
    impacts: U32

    def part(self, start: int, end: int) -> tuple[U32, U32]:
        """(others, impacts) of a stretch."""
        return self.others[start:end], self.impacts[start:end]

    def places(self, keys: U32) -> list[list[int]]:
        """[start, end] of each key, [0, 0] where it has no postings here."""
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        there = self.keys[places] == keys
        found: list[list[int]] = np.stack([self.bounds[places] * there, self.bounds[places + 1] * there], axis=1).tolist()
        return found


class PostingSorter:
    """Collects postings and gives them out by key.

    Args:
        folder: where runs that do not fit are kept; None for the system's temporary folder.
        run: postings held in memory.
    """

    def __init__(self, folder: Path | None = None, *, run: int | None = None) -> None:
        self._folder = folder
        self._size = run or RUN
        self._waiting: list[tuple[U32, U32, U32]] = []
        self._count = 0
        self._runs: list[_Run] = []
        self._files = ExitStack()

    def __enter__(self) -> PostingSorter:
        return self

    def __exit__(self, *_: object) -> None:
        self._runs.clear()
        self._files.close()

    def add(self, keys: U32, others: U32, impacts: U32) -> None:
        """Take postings in. Raises InputFileError if the temporary folder is full."""
        self._waiting.append((keys, others, impacts))
        self._count += len(keys)
        if self._count >= self._size:
            self._runs.append(self._spilled(self._sorted()))

    def keys(self) -> U32:
        """All keys, ascending; nothing can be added from here on."""
        if self._count:
            self._runs.append(self._sorted())
        return np.unique(np.concatenate([run.keys for run in self._runs])) if self._runs else np.empty(0, np.uint32)

    def groups(self, keys: U32) -> Iterator[Group]:
        """The group of each key, in the order of `keys`; an empty one for a key without postings. After keys()."""
        for start in range(0, len(keys), BLOCK):
            if not self._runs:
                yield from (Group(key, *NO_POSTINGS) for key in keys.tolist())
                return
            block = keys[start : start + BLOCK]
            bounds = [run.places(block) for run in self._runs]
            for position, key in enumerate(block.tolist()):
                parts = [run.part(*found[position]) for run, found in zip(self._runs, bounds, strict=True)]
                yield Group(key, *(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _sorted(self) -> _Run:
        keys, others, impacts = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._count = [], 0
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
        return _Run(keys[starts], np.append(starts, len(keys)), others[order], impacts[order])

    def _spilled(self, run: _Run) -> _Run:
        try:
            file = self._files.enter_context(tempfile.TemporaryFile(dir=self._folder))
            file.write(run.others.tobytes())
            file.write(run.impacts.tobytes())
            file.flush()
        except OSError as error:
            raise InputFileError(f"postings cannot be set aside while sorting: {error.strerror or error}.") from error
        both = np.memmap(file, np.uint32, "r", shape=(2, len(run.others)))
        return run._replace(others=both[0], impacts=both[1])
