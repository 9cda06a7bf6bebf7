"""Measuring saved models: which collections, how they are searched, and a comparison of two models over them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from scipy import sparse

from splade_ptbr_connectors.encoding.encoder import SpladeEncoder
from splade_ptbr_connectors.encoding.protocol import Encoder
from splade_ptbr_connectors.errors import ConfigError, InputError
from splade_ptbr_connectors.evaluation.runs import write_run
from splade_ptbr_connectors.vectors import SparseBatch
from training.judged import JudgedCollection, judged_collection
from training.measure.exact_search import Hits, StreamingSearch, TermCounts
from training.measure.significance import PERMUTATIONS, RESAMPLES, Comparison, compare_values, corrected
from training.measure.validation import Measured, canonical_measure, measure_bm25, measure_hits, measured_of, retrieval_depth
from training.mining.mined_lines import bar
from training.recipe.sections import JudgedFiles

DOCUMENTS_AT_ONCE = 2048
Run = dict[str, Hits]


# -- models and collections -------------------------------------------------------------------------------------------


def load_encoder(model: str, settings: Sequence[str] = (), *, device: str | None = None, batch_size: int = 32) -> SpladeEncoder:
    """A model by shipped name, folder (ours, sentence-transformers', a plain masked language model) or hub id.

    Args:
        model: as SpladeEncoder.load takes it.
        settings: "key=value" of SpladeEncoder.load, e.g. "max_active_terms_document=128".
        device: "cpu", "cuda", ...
        batch_size: rows per forward pass.

    Raises:
        ConfigError: a setting that is not key=value, not known or not possible.
        ModelNotFoundError, ModelFormatError: no such model, or not a usable one.
    """
    return SpladeEncoder.load(model, device=device, batch_size=batch_size, **read_settings(settings))


def read_settings(settings: Sequence[str]) -> dict[str, Any]:
    """{"key": value} of "key=value" texts; a value is JSON where it can be read as such, else a text."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise ConfigError(f"{setting!r} is no setting: write key=value, e.g. max_active_terms_document=128.")
        if key in values or key in ("model", "device", "batch_size"):
            raise ConfigError(f"{key} is set twice, or has an option of its own.")
        try:
            values[key] = json.loads(value)
        except (ValueError, RecursionError):
            values[key] = value
    return values


def split_of(folder: Path, split: str) -> JudgedCollection:
    """One split of a BEIR folder; it is named "folder:split".

    Raises:
        InputFileError: naming the file: missing or broken; see training.judged.
    """
    files = JudgedFiles(f"{folder.name}:{split}", str(folder), str(folder), str(folder / "qrels" / f"{split}.tsv"))
    return judged_collection(files, data_dir=Path(), seed=0)


def splits_in(data_dir: Path, split: str) -> Iterator[JudgedCollection]:
    """Every BEIR folder of a data folder that has the split, by name.

    Raises:
        InputError: there is none.
    """
    folders = sorted(path.parent.parent for path in data_dir.glob(f"*/qrels/{split}.tsv"))
    if not folders:
        raise InputError(f"no folder in {data_dir} has qrels/{split}.tsv: name the folder of the collections and one of their splits.")
    yield from (split_of(folder, split) for folder in folders)


def files_of(text: str) -> JudgedCollection:
    """A collection of "[name=]collection,queries,qrels": files in MS MARCO's, BEIR's or TREC's layouts, or hub:owner/name/path.

    Raises:
        ConfigError: not three names.
        InputFileError: see training.judged.
    """
    name, equals, rest = text.partition("=")
    parts = [part.strip() for part in (rest if equals else text).split(",")]
    if len(parts) != 3 or not all(parts):
        raise ConfigError(f"{text!r} names {len(parts)} files: expected collection,queries,qrels (a name and = may stand before them).")
    collection, queries, qrels = parts
    files = JudgedFiles(name if equals else Path(collection).name, collection, queries, qrels)
    return judged_collection(files, data_dir=Path(), seed=0)


def chosen_collections(data: Path, split: str, folders: Sequence[Path] = (), files: Sequence[str] = ()) -> Iterator[JudgedCollection]:
    """What the options of a command name: single folders and files, or else every collection of `data` that has the split."""
    if not folders and not files:
        yield from splits_in(data, split)
    yield from (split_of(folder, split) for folder in folders)
    yield from (files_of(text) for text in files)


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
    while block := list(islice(documents, DOCUMENTS_AT_ONCE)):
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

    comparison: Comparison
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
