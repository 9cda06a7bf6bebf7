"""Measuring saved models on test collections, and comparing two of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import sparse

from splade_ptbr_connectors.batches import batched
from splade_ptbr_connectors.encoding.protocol import Encoder
from splade_ptbr_connectors.errors import ConfigError, InputError
from splade_ptbr_connectors.evaluation.collections import JudgedCollection
from splade_ptbr_connectors.evaluation.runs import write_run
from splade_ptbr_connectors.vectors import SparseBatch
from training.measure.exact_search import Hits, StreamingSearch, TermCounts
from training.measure.progress import bar
from training.measure.significance import PERMUTATIONS, RESAMPLES, PairedComparison, compare_values, corrected
from training.measure.validation import Measured, canonical_measure, measure_bm25, measure_hits, measured_of, retrieval_depth

DOCUMENTS_AT_ONCE = 2048
Run = dict[str, Hits]


# -- one model ----------------------------------------------------------------------------------------------------------


def evaluate(encoder: Encoder, collection: JudgedCollection, metrics: Sequence[str], *, progress: bool = False) -> tuple[Measured, Run]:
    """Measure a model as it will be used: with its lengths, windows and pruning. Also what it found, best first.

    Memory holds the queries, their best hits and one block of documents, whatever the size of the collection.

    Args:
        encoder: a loaded model.
        collection: what is searched.
        metrics: measures of ir-measures with cut-offs; the first is `Measured.metric`.
        progress: a bar on stderr, if it is a terminal.

    Raises:
        ConfigError: no measure, an unknown one, or one without a cut-off.
        TextError: a text that cannot be encoded.
    """
    if not metrics:
        raise ConfigError("no measure is given: name at least one, e.g. nDCG@10.")
    names = tuple(dict.fromkeys(map(canonical_measure, metrics)))
    began = time.perf_counter()
    query_counts, document_counts = TermCounts(encoder.vocab_size), TermCounts(encoder.vocab_size)
    queries = _matrix(encoder, encoder.encode_queries(collection.queries.values()))
    query_counts.add(queries)
    search = StreamingSearch(queries, list(collection.queries), retrieval_depth(names))
    documents = bar(collection.documents(), collection.name, progress, total=collection.counts.documents)
    for block in batched(documents, DOCUMENTS_AT_ONCE):
        vectors = _matrix(encoder, encoder.encode_documents(text for _, text in block))
        document_counts.add(vectors)
        search.add([doc_id for doc_id, _ in block], vectors)
    run = search.run()
    found = measure_hits(run, collection, names)
    return measured_of(collection, names[0], found, query_counts, document_counts, time.perf_counter() - began), run


def _matrix(encoder: Encoder, vectors: Iterator[Any]) -> sparse.csr_matrix:
    return sparse.csr_matrix(SparseBatch.from_vectors(vectors).to_scipy(encoder.vocab_size))


def evaluation_row(measured: Measured, collection: JudgedCollection, encoder: Encoder, *, bm25: bool = False) -> dict[str, Any]:
    """One collection's result as JSON values, with its denominators; BM25 holds every document in memory."""
    row = {"collection": measured.name, "metric": measured.metric} | measured.to_dict(encoder.token)
    row |= {"counts": collection.counts.to_dict(), "about": collection.counts.describe()}
    if kinds := measured.by_kind(collection.kinds):
        row["kinds"] = kinds
    if bm25:
        metric, *further = measured.measures
        row["bm25"] = measure_bm25(collection, metric, further).means
    return row


def write_runs(path: Path, runs: Mapping[str, Run]) -> None:
    """Write what was found as a TREC run; with several collections query ids begin with the collection's name."""
    several = len(runs) > 1
    joined = {(f"{name}/{query_id}" if several else query_id): dict(hits) for name, run in runs.items() for query_id, hits in run.items()}
    write_run(path, joined)


# -- two models ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ComparedCollection:
    """Two models on one collection: the tests, and the size of the vectors that the quality was paid with."""

    comparison: PairedComparison
    a: Measured
    b: Measured

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        sizes = {
            f"{name}_{model}": getattr(measured, name)
            for model, measured in (("a", self.a), ("b", self.b))
            for name in ("terms_query", "terms_document", "empty_queries", "empty_documents", "evaluation_flops")
        }
        return self.comparison.to_dict() | sizes


def compare(
    a: Encoder,
    b: Encoder,
    collections: Iterable[JudgedCollection],
    metric: str = "nDCG@10",
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
    resamples: int = RESAMPLES,
    progress: bool = False,
) -> list[ComparedCollection]:
    """Measure both models on every collection and test the differences, with Holm's correction over the collections.

    Raises:
        ConfigError: the metric is unknown or has no cut-off.
        InputError: no collection.
    """
    canonical = canonical_measure(metric)
    compared = []
    for collection in collections:
        first, second = (evaluate(encoder, collection, [canonical], progress=progress)[0] for encoder in (a, b))
        values = [{query_id: row[canonical] for query_id, row in one.per_query.items()} for one in (first, second)]
        tested = compare_values(collection.name, canonical, *values, seed=seed, permutations=permutations, resamples=resamples)
        compared.append(ComparedCollection(tested, first, second))
    if not compared:
        raise InputError("there is no collection to compare on.")
    final = corrected([one.comparison for one in compared])
    return [ComparedCollection(comparison, one.a, one.b) for comparison, one in zip(final, compared, strict=True)]
