"""Seismic (Bruch, Nardini, Rulli, Venturini 2024): approximate search over clustered, cut posting lists; pyseismic-lsr."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import seismic
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from benchmarks.engines.base import NO_HITS, Engine, Hits, Query
from benchmarks.engines.options import Options
from benchmarks.engines.slices import numbered
from splade_ptbr_connectors.errors import InputError
from splade_ptbr_connectors.vectors import SparseBatch

BATCH = 8192
MOST_TERMS = 2**16  # of the usual index; a larger vocabulary takes the other classes
LARGEST = float(np.finfo(np.float16).max)


class SeismicOptions(Options):
    """See the library's guidelines.

    Attributes:
        n_postings: kept of a list on average; centroid_fraction, summary_energy, doc_cut: how lists are clustered and summarised.
        query_cut: heaviest terms of a query whose lists are read.
        heap_factor: smaller is faster and less exact.
        threads: of the building; 0: one for each core.
    """

    n_postings: PositiveInt = 3500
    centroid_fraction: PositiveFloat = 0.1
    summary_energy: PositiveFloat = 0.4
    doc_cut: PositiveInt = 15
    query_cut: PositiveInt = 10
    heap_factor: PositiveFloat = 0.8
    threads: NonNegativeInt = 0


class Seismic(Engine):
    """Weights in float16, terms as texts, the only names that its Python interface takes."""

    accepted: ClassVar[type[Options]] = SeismicOptions
    options: SeismicOptions

    def build(self) -> None:
        documents, asked = self.workload.documents, self.options
        if len(documents.weights) and float(documents.weights.max()) > LARGEST:
            raise InputError(f"a document has a weight of {documents.weights.max():g}: seismic keeps float16, at most {LARGEST:g}.")
        terms = self._terms()
        dataset = self._class("SeismicDataset")()
        for rows in numbered(documents, BATCH, f"{self.name}: read"):
            for row, vector in rows:
                dataset.add_document(str(row), terms[vector.term_ids], vector.weights)
        building = ("n_postings", "centroid_fraction", "summary_energy", "doc_cut")
        with _output_to_stderr():
            arguments = {name: getattr(asked, name) for name in building}
            index = self._class("SeismicIndex").build_from_dataset(dataset, num_threads=asked.threads, **arguments)
            index.save(str(self.home / "index"))

    def open(self) -> None:
        self._names = self._terms()
        self._index = self._class("SeismicIndex").load(str(self.home / "index.index.seismic"))

    def search(self, query: Query, top_k: int) -> Hits:
        hits = self._index.search(
            "",
            self._names[query.vector.term_ids],
            query.vector.weights,
            k=top_k,
            query_cut=self.options.query_cut,
            heap_factor=self.options.heap_factor,
        )
        return _found(hits)

    def search_batch(self, queries: Sequence[Query], top_k: int, threads: int) -> list[Hits]:
        answers = self._index.batch_search(
            np.array([str(number) for number in range(len(queries))], self._names.dtype),
            [self._names[query.vector.term_ids] for query in queries],
            [query.vector.weights for query in queries],
            k=top_k,
            query_cut=self.options.query_cut,
            heap_factor=self.options.heap_factor,
            num_threads=threads,
        )
        by_query = {int(hits[0][0]): _found(hits) for hits in answers if hits}  # they come in the order in which threads are done
        return [by_query.get(number, NO_HITS) for number in range(len(queries))]

    def close(self) -> None:
        del self._index, self._names

    def quantized(self, vectors: SparseBatch) -> SparseBatch:
        """Weights below the smallest of float16 become 0; they add nothing to a score."""
        return SparseBatch(vectors.indptr, vectors.term_ids, vectors.weights.astype(np.float16).astype(np.float32))

    def facts(self) -> dict[str, Any]:
        return {"version": importlib.metadata.version("pyseismic-lsr"), **self.options.model_dump()}

    def _terms(self) -> NDArray[np.str_]:
        """[vocabulary] names of the terms."""
        names: NDArray[np.str_] = np.arange(self.workload.about.vocab_size).astype(seismic.get_seismic_string())
        return names

    def _class(self, name: str) -> Any:
        return getattr(seismic, name if self.workload.about.vocab_size <= MOST_TERMS else f"{name}LV")


def _found(hits: Sequence[tuple[str, float, str]]) -> Hits:
    return Hits.of([int(row) for _, _, row in hits], [score for _, score, _ in hits])


@contextlib.contextmanager
def _output_to_stderr() -> Iterator[None]:
    """The library says what it does on the standard output, where results belong."""
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
