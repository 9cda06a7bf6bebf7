"""ImpactIndex: the index by itself. Documents are rows, numbered as they come; no ids, no payloads, no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, StoreNotFoundError, StoreWriteError
from ...vectors import SparseBatch, SparseVector
from .arrays import read_arrays, write_arrays
from .building import WINDOW
from .folder import Lock, Manifest, remove_leftovers, translated
from .searcher import Searcher
from .window import Window


class ImpactIndex:
    """Exact search over the rows of a folder. Score: float64 sum, in order of terms, of products of float32 weights; ties by row.

    Attributes:
        exact: False for an index that keeps weights rounded to 8 bits and nothing else; it is exact for the rounded ones.
    """

    def __init__(self, folder: Path, manifest: Manifest, lock: Lock | None, *, verify: bool = False) -> None:
        """Use create() or open()."""
        self.folder = folder
        self.exact = manifest.exact
        self._manifest = manifest
        self._lock = lock
        self._windows = [Window.read(folder / f"{name}.window", verify=verify) for name, _ in manifest.parts]
        dead = [read_arrays(folder / file, verify=True)["dead"] if file else None for _, file in manifest.parts]
        self._alive = [
            np.ones(len(window), np.bool_) if gone is None else gone == 0 for window, gone in zip(self._windows, dead, strict=True)
        ]
        self._searcher: Searcher | None = None

    @classmethod
    def create(cls, path: str | Path, batches: Iterable[SparseBatch] = (), *, exact: bool = True) -> Self:
        """Build an index in a new folder; memory holds one window of 65,536 documents at a time.

        Raises:
            ConfigError: there is an index already.
            StoreWriteError: the medium refused.
        """
        folder = Path(path)
        with translated(str(path), "create"):
            folder.mkdir(parents=True, exist_ok=True)
            if Manifest.read(folder) is not None:
                raise ConfigError(f"there is an index at {path} already: open it, or give another path.")
            lock = Lock(folder, str(path))
            Manifest(exact=exact).write(folder)
        index = cls(folder, Manifest(exact=exact), lock)
        index.append(batches)
        return index

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False, verify: bool = False) -> Self:
        """Map an index into memory.

        Args:
            read_only: without the lock: any number of processes may search.
            verify: read everything and compare checksums; heads and sizes are always checked.

        Raises:
            StoreNotFoundError, StoreLockedError, StoreCorruptError, StoreFormatError.
        """
        folder = Path(path)
        with translated(str(path), "open"):
            lock = None if read_only or not folder.is_dir() else Lock(folder, str(path))
            try:
                manifest = Manifest.read(folder)
                if manifest is None:
                    raise StoreNotFoundError(f"there is no index at {path}: build one with ImpactIndex.create().")
                return cls(folder, manifest, lock, verify=verify)
            except BaseException:
                if lock is not None:
                    lock.release()
                raise

    def append(self, batches: Iterable[SparseBatch]) -> None:
        """Add documents behind those that are there; on the medium when it returns, all of them or none."""
        self._check_writable()
        manifest = self._manifest
        with translated(str(self.folder), "write"), ThreadPoolExecutor(1) as writer:
            pending: Future[None] | None = None
            for batch in _windowed(batches):
                window = Window.build(batch, exact=self.exact)
                name = f"{manifest.following:06}"
                manifest = replace(manifest, parts=(*manifest.parts, (name, "")), following=manifest.following + 1)
                if pending is not None:
                    pending.result()  # one window is written while the next one is built, and no more wait
                pending = writer.submit(window.write, self.folder / f"{name}.window")
            if pending is not None:
                pending.result()
            windows = [Window.read(self.folder / f"{name}.window") for name, _ in manifest.parts[len(self._windows) :]]
            self._commit(manifest)
        self._windows += windows
        self._alive += [np.ones(len(window), np.bool_) for window in windows]

    def delete(self, rows: Sequence[int] | NDArray[np.int64]) -> int:
        """Take rows out of every search from now on; the other rows keep their numbers. Returns how many were there."""
        self._check_writable()
        wanted = np.unique(np.asarray(rows, np.int64))
        bases = np.cumsum([0, *map(len, self._windows)])
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < bases[-1]:
            raise ConfigError(f"rows {wanted[0]} to {wanted[-1]} are to be deleted: the index has rows 0 to {bases[-1] - 1}.")
        manifest, deleted, alive = self._manifest, 0, list(self._alive)
        with translated(str(self.folder), "write"):
            for w in np.unique(np.searchsorted(bases, wanted, "right") - 1):
                local = wanted[(wanted >= bases[w]) & (wanted < bases[w + 1])] - bases[w]
                deleted += int(alive[w][local].sum())
                alive[w] = alive[w].copy()
                alive[w][local] = False
                file = f"{manifest.following:06}.dead"
                write_arrays(self.folder / file, {"dead": (~alive[w]).astype(np.uint8)})
                parts = [*manifest.parts]
                parts[w] = (parts[w][0], file)
                manifest = replace(manifest, parts=tuple(parts), following=manifest.following + 1)
            self._commit(manifest)
        self._alive = alive
        return deleted

    def search(
        self, query: SparseVector, top_k: int, *, rows: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The top k by score, then by row. Rows that share no term with the query are no hits.

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
        """The index as it is now, for these rows (None: all)."""
        if self._searcher is None:
            self._searcher = Searcher(self._windows, [None if mask.all() else mask for mask in self._alive])
        if rows is None:
            return self._searcher
        if rows.shape != (len(self),):
            raise ConfigError(f"rows has the shape {rows.shape}: it must say for each of the {len(self):,} rows whether it may be found.")
        parts = np.split(rows.astype(np.bool_), np.cumsum([len(window) for window in self._windows])[:-1]) if self._windows else []
        return self._searcher.narrowed([mask & part for mask, part in zip(self._alive, parts, strict=True)])

    def __len__(self) -> int:
        """Number of rows, deleted ones included."""
        return sum(map(len, self._windows))

    @property
    def postings(self) -> int:
        """Number of weights."""
        return sum(window.postings for window in self._windows)

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def close(self) -> None:
        """Release the lock. The index can still be read."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _commit(self, manifest: Manifest) -> None:
        manifest.write(self.folder)
        self._manifest, self._searcher = manifest, None
        remove_leftovers(self.folder, manifest)

    def _check_writable(self) -> None:
        if self._lock is None:
            raise StoreWriteError(f"the index at {self.folder} is open for reading only: open it without read_only.")


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
