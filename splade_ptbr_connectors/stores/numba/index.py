"""ImpactIndex: the index by itself. Documents are rows, numbered as they come; no ids, no payloads, no model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...atomic import write_atomically
from ...errors import ConfigError, StoreCorruptError, StoreNotFoundError, StoreWriteError
from ...vectors import SparseBatch, SparseVector
from .arrays import read_arrays, write_arrays
from .postings import WINDOW
from .searcher import Searcher
from .window import Window

INDEX = "index.json"  # written when all windows are: {"exact", "windows": [[name, checksum], ...]}


class ImpactIndex:
    """Exact search over the rows of a folder. Score: float64 sum, in order of terms, of products of float32 weights; ties by row.

    Attributes:
        folder: where it is.
        exact: False for an index that keeps weights rounded to 8 bits and nothing else; it is exact for the rounded ones.
    """

    def __init__(self, folder: Path, windows: Sequence[Window], *, exact: bool) -> None:
        """Use create() or open()."""
        self.folder = folder
        self.exact = exact
        self._searcher = Searcher(windows)

    @classmethod
    def create(cls, path: str | Path, batches: Iterable[SparseBatch] = (), *, exact: bool = True) -> Self:
        """Build an index in a new folder; memory holds one window of 65,536 documents at a time.

        Raises:
            ConfigError: there is an index already.
            StoreWriteError: the disk rejected a write.
        """
        folder = Path(path).absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / INDEX).exists():
                raise ConfigError(f"there is an index at {path} already: open it, or give another path.")
            windows = _written(folder, batches, exact)
            write_atomically(folder / INDEX, json.dumps({"exact": exact, "windows": windows}) + "\n")
        except OSError as error:
            raise StoreWriteError(f"cannot write the index {path}: {error}; check free space and permissions.") from error
        return cls.open(folder)

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> Self:
        """Map an index into memory; any number of processes may.

        Args:
            verify: read everything and compare checksums; heads and sizes are always checked.

        Raises:
            StoreNotFoundError, StoreCorruptError, StoreFormatError, StoreWriteError.
        """
        folder = Path(path).absolute()
        try:
            content = json.loads((folder / INDEX).read_bytes())
            windows = [_read(folder / str(name), checksum, verify) for name, checksum in content["windows"]]
            return cls(folder, windows, exact=bool(content["exact"]))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreNotFoundError(f"there is no index at {path}: build one with ImpactIndex.create().") from error
        except OSError as error:
            raise StoreWriteError(f"cannot read the index {path}: {error}; check permissions.") from error
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise StoreCorruptError(f"{folder / INDEX} is damaged ({type(error).__name__}): build the index anew.") from error

    def search(
        self, query: SparseVector, top_k: int, *, rows: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The top k by score, then by row. Rows that share no term with the query are not hits.

        Args:
            rows: [len(self)] which rows may be found; None: all.

        Returns: (rows, scores), at most top_k of them.
        """
        found, scores = self.searcher(rows).search(query, top_k)
        return found[:top_k], scores[:top_k]

    def search_batch(
        self, queries: SparseBatch, top_k: int, *, threads: int = 1, rows: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """search() for every query, on so many threads; see Searcher.search_batch()."""
        return self.searcher(rows).search_batch(queries, top_k, threads=threads)

    def searcher(self, rows: NDArray[np.bool_] | None = None) -> Searcher:
        """Searches these rows (None: all)."""
        if rows is None:
            return self._searcher
        if rows.shape != (len(self),):
            raise ConfigError(f"rows has the shape {rows.shape}: it must say for each of the {len(self):,} rows whether it may be found.")
        return self._searcher.narrowed(np.split(rows.astype(np.bool_), self._searcher.bases[1:-1]) if len(self) else [])

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._searcher)

    @property
    def postings(self) -> int:
        """Number of weights."""
        return sum([window.postings for window in self._searcher.windows])

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum([path.stat().st_size for path in self.folder.iterdir()])


def _written(folder: Path, batches: Iterable[SparseBatch], exact: bool) -> list[tuple[str, int]]:
    """The windows' names and checksums. One is written while the next one is built, and no more wait."""
    pending, names = list[Future[int]](), list[str]()
    with ThreadPoolExecutor(1) as writer:
        for batch in _windowed(batches):
            names.append(f"{len(names):06}.window")
            window = Window.build(batch, exact=exact)
            if pending:
                pending[-1].result()
            pending.append(writer.submit(write_arrays, folder / names[-1], window.arrays))
        return list(zip(names, [written.result() for written in pending], strict=True))


def _read(path: Path, checksum: int, verify: bool) -> Window:
    file = read_arrays(path, verify=verify)
    if file.checksum != checksum:
        raise StoreCorruptError(f"{path} is not the file that {INDEX} names: build the index anew.")
    return Window(file.arrays, str(path))


def _windowed(batches: Iterable[SparseBatch]) -> Iterable[SparseBatch]:
    """The same documents in batches of WINDOW."""
    waiting: list[SparseBatch] = []
    count = 0
    for batch in batches:
        begin = 0
        while begin < len(batch):
            end = min(len(batch), begin + WINDOW - count)
            waiting.append(_part(batch, begin, end))
            count += end - begin
            begin = end
            if count == WINDOW:
                yield joined(waiting)
                waiting, count = [], 0
    if count:
        yield joined(waiting)


def _part(batch: SparseBatch, begin: int, end: int) -> SparseBatch:
    first, last = batch.indptr[begin], batch.indptr[end]
    return SparseBatch(batch.indptr[begin : end + 1] - first, batch.term_ids[first:last], batch.weights[first:last])


def joined(batches: Sequence[SparseBatch]) -> SparseBatch:
    """One batch out of several, in order."""
    if len(batches) == 1:
        return batches[0]
    lengths = [np.diff(batch.indptr) for batch in batches]
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64) if batches else np.zeros(1, np.int64)
    terms = [batch.term_ids for batch in batches] or [np.empty(0, np.uint32)]
    weights = [batch.weights for batch in batches] or [np.empty(0, np.float32)]
    return SparseBatch(indptr, np.concatenate(terms), np.concatenate(weights))
