"""Engine: what is measured. One folder, one process at a time; documents are rows 0, 1, 2, ... of the workload."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.engines.options import Options, read_options
from benchmarks.harness.machine import disk_bytes
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector


class Query(NamedTuple):
    """A query in every form that an engine may want."""

    query_id: str
    text: str
    vector: SparseVector


class Hits(NamedTuple):
    """The hits of one query, best first: rows [n] int64 of the workload's documents and their scores [n] float64."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Iterable[int], scores: Iterable[float]) -> Hits:
        """Of what a client gave."""
        return cls(np.array(list(rows), np.int64), np.array(list(scores), np.float64))


NO_HITS = Hits.of((), ())


@dataclass(frozen=True)
class Settings:
    """What an engine may need beside the workload; each reads what it knows.

    Attributes:
        urls: engine -> address of its server, as its own client takes it.
        options: the engine's own, by name, from `--set ENGINE.NAME=VALUE`.
        models: "dense" and "reranker" -> module:attribute of an object, or a function without arguments that makes one. Where there is a
            "dense-url", an endpoint like OpenAI's, "dense" is the name of a model there, and "dense-query" its name for queries.
    """

    urls: Mapping[str, str]
    options: Mapping[str, str]
    models: Mapping[str, str]


class Engine(ABC):
    """An index over one workload.

    An object is made in the process that builds and in every process that searches; nothing but `home` and servers is shared.

    Attributes:
        name: as the user wrote it.
        sparse: ranks by the dot product of the workload's vectors, so that it can be compared with the exact ranking.
        accepted: the options that it takes, and `options` what was given; an unknown one is refused when the object is made.
    """

    sparse: ClassVar[bool] = True
    accepted: ClassVar[type[Options]] = Options

    def __init__(self, name: str, workload: Workload, home: Path, settings: Settings) -> None:
        self.name = name
        self.workload = workload
        self.home = home
        self.settings = settings
        self.options: Any = read_options(self.accepted, name, settings.options)

    def prepare(self) -> None:  # noqa: B027 (optional)
        """Make what build() needs beside the workload, and put it there, for other engines too; what is there already is kept."""

    @abstractmethod
    def build(self) -> None:
        """Make the index in `home` (an empty folder) or on the server, durable and ready for fast searches when it returns."""

    @abstractmethod
    def open(self) -> None:
        """Open what build() made."""

    @abstractmethod
    def search(self, query: Query, top_k: int) -> Hits:
        """At most top_k hits, best first. Thread-safe."""

    def search_batch(self, queries: Sequence[Query], top_k: int, threads: int) -> list[Hits]:
        """All queries on so many threads; engines that have something better than threads that call search() override it."""
        if threads == 1:
            return [self.search(query, top_k) for query in queries]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda query: self.search(query, top_k), queries))

    @abstractmethod
    def close(self) -> None:
        """Release everything. The index stays."""

    def query_seconds(self) -> NDArray[np.float64] | None:
        """[Q] What it took to make of each text of the workload's queries what searches start from; None: unknown, or that is the text."""
        return self.workload.query_seconds if self.sparse else None

    def quantized(self, vectors: SparseBatch) -> SparseBatch | None:
        """The documents' vectors as scores see them, where the engine keeps less than float32 of a weight; None: it keeps all."""
        return None

    def remove(self) -> None:  # noqa: B027 (optional)
        """Delete what build() has made outside `home`, on a server."""

    def bytes_on_disk(self) -> int | None:
        """Of the index, after build(); None: it lies where this process cannot look."""
        return disk_bytes(self.home)

    def processes(self) -> list[int]:
        """Ids of the processes whose memory is the engine's: this one, and a server that was started for it."""
        return [os.getpid()]

    def facts(self) -> dict[str, Any]:
        """Version and settings that a reader needs to run it again: JSON values."""
        return {}
