"""Stores of this package, through open_store(): what their adapters add to the engines themselves. No payloads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import splade_ptbr_connectors
from benchmarks.engines.base import Engine, Hits, Query
from benchmarks.workloads.ready_vectors import ReadyVectors
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors import open_store
from splade_ptbr_connectors.errors import StoreError
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores.base import Hit, Store
from splade_ptbr_connectors.vectors import SparseBatch


class StoreEngine(Engine):
    """Searches as a program would that uses this package; subclasses say where the store is."""

    _store: Store | None = None

    def build(self) -> None:
        with self._opened(create=True) as store:
            load(store, self._records(), len(self.workload.documents))

    def open(self) -> None:
        self._rows = {doc_id: row for row, doc_id in enumerate(self.workload.doc_ids)}
        self._store = self._connect(create=False)

    def search(self, query: Query, top_k: int) -> Hits:
        assert self._store is not None
        hits = self._asked(self._store, query, top_k)
        return Hits.of([self._rows[hit.doc_id] for hit in hits], [hit.score for hit in hits])

    def close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def quantized(self, vectors: SparseBatch) -> SparseBatch | None:
        with self._opened() as store:
            if type(store).quantized is Store.quantized:
                return None
            return SparseBatch.from_vectors(map(store.quantized, vectors))

    def facts(self) -> dict[str, Any]:
        with self._opened() as store:
            info = {name: value for name, value in store.info().items() if name not in ("url", "index", "collection", "aliases", "bytes")}
        return {**info, "package": splade_ptbr_connectors.__version__}

    def _records(self) -> Iterable[tuple[Any, ...]]:
        """What ingest() takes, of each document."""
        return zip(self.workload.doc_ids, self.workload.documents, strict=True)

    def _asked(self, store: Store, query: Query, top_k: int) -> list[Hit]:
        return store.search(query.vector, top_k)

    @contextlib.contextmanager
    def _opened(self, *, create: bool = False) -> Iterator[Store]:
        """The open store, or it for the time of the block."""
        if self._store is not None:
            yield self._store
            return
        with self._connect(create=create) as store:
            yield store

    def _connect(self, *, create: bool) -> Store:
        return open_store(self._url(create=create), encoder=ready(self.workload), create=create, settings=self._settings())

    def _url(self, *, create: bool) -> str:
        raise NotImplementedError

    def _settings(self) -> dict[str, Any]:
        return {}


class EmbeddedStore(StoreEngine):
    """`numba:store` and `edge:store`: in `home`."""

    def _url(self, *, create: bool) -> str:
        return f"{self.name.partition(':')[0]}:{self.home / 'store'}"


def ready(workload: Workload) -> ReadyVectors:
    """What stores of a workload are opened with."""
    return ReadyVectors(workload.about.model, workload.about.vocab_size)


def load(store: Store, records: Iterable[tuple[Any, ...]], count: int) -> None:
    """Load so many documents with vectors, and let the engine build its index. Raises StoreError if it does not hold them all then."""
    report = ingest(records, store, vectors=True, reconcile=0)
    if report.written != count or store.count() != count:
        raise StoreError(f"{store.count():,} of {count:,} documents were stored: every document needs an id of its own.")
