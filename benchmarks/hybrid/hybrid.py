"""Sparse alone, dense alone, both fused, and stemmed BM25: nDCG@10 and R@100 on test collections, by kind of query."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from pydantic import TypeAdapter, ValidationError

from benchmarks.engines.dense import METHODS
from benchmarks.engines.embedding import Vectors, embed_documents, embed_queries, scaled
from benchmarks.engines.models import load_model
from benchmarks.harness.machine import machine
from benchmarks.hybrid.fusion import Ranking, Scores, ranking, reciprocal_ranks, weighted
from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.atomic import write_atomically
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.evaluation.bm25 import StemmedBm25
from splade_ptbr_connectors.evaluation.collections import JudgedCollection, open_collection
from splade_ptbr_connectors.evaluation.measures import measure
from splade_ptbr_connectors.vectors import SparseBatch

MEASURES = ("nDCG@10", "R@100")
DEPTH, BATCH = 100, 32


@dataclass(frozen=True)
class Figure:
    """How well one way of searching does on one kind of the queries of a collection; `kind` is "" of all of them."""

    collection: str
    kind: str
    queries: int
    searched: str
    ndcg: float
    recall: float


def hybrid(
    collection: Annotated[list[Path], typer.Option(help="Folder in BEIR's layout; may be given several times.")],
    cache: Annotated[Path, typer.Option(help="Folder for the documents' dense vectors, kept from run to run.")],
    split: Annotated[str, typer.Option(help="Of the judgments.")] = "test",
    model: Annotated[str, typer.Option(help="The sparse encoder.")] = "mini",
    dense: Annotated[str, typer.Option(help="MODULE:NAME of LangChain embeddings.")] = "splade_ptbr_connectors.langchain:E5Embeddings",
    rrf_k: Annotated[str, typer.Option(help="Constants of the reciprocal rank fusion, by commas.")] = "60",
    prefetch: Annotated[int, typer.Option(help="Hits of each search that are fused.", min=1)] = 100,
    shares: Annotated[str, typer.Option(help="Of the dense score in a sum of scores standardised by query, by commas.")] = "0.5",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """When is a dense encoder worth it? Sparse alone, dense alone, fused by ranks and by scores, beside stemmed BM25."""
    constants, parts = read_numbers("--rrf-k", rrf_k, int, 1), read_numbers("--shares", shares, float, 0)
    encoder, embeddings = SpladeEncoder.load(model), load_model({"dense": dense}, "dense", METHODS)
    figures = []
    for folder in collection:
        judged = open_collection(f"beir:{folder}", split=split)
        documents = Documents(judged, embed(judged, embeddings, dense, cache / folder.name))
        figures += list(measured(documents, encoder, embeddings, constants, parts, prefetch))
    if as_json:
        found = {"benchmark": "hybrid", "split": split, "model": encoder.name, "dense": dense, "prefetch": prefetch}
        typer.echo(json.dumps({**found, **machine(), "figures": list(map(asdict, figures))}, indent=2))
    else:
        typer.echo(table(figures))


def read_numbers(option: str, text: str, kind: Any, least: float) -> list[Any]:
    """Out of "0.5,0.7". Raises ConfigError."""
    try:
        numbers: list[Any] = TypeAdapter(list[kind]).validate_python([part for part in text.split(",") if part])
    except ValidationError as error:
        raise ConfigError(f"{option} {text!r} is not a list of numbers by commas, such as {least + 1},{least + 2}.") from error
    if not all(least <= number < np.inf for number in numbers):
        raise ConfigError(f"{option} {text!r}: at least {least} is accepted.")
    return numbers


class Documents:
    """What is searched: ids, contents and dense vectors [D, size] of a collection's documents, of length 1."""

    def __init__(self, judged: JudgedCollection, vectors: Vectors) -> None:
        self.judged, self.vectors = judged, vectors
        self.doc_ids, self.contents = map(list, zip(*judged.documents(), strict=True))
        self.order: Ranking = np.argsort(np.argsort(self.doc_ids))


def embed(judged: JudgedCollection, embeddings: Any, dense: str, folder: Path) -> Vectors:
    """The documents' dense vectors, of length 1; those that an earlier run has left in the folder are read from it.

    Raises:
        ConfigError: the folder was begun with another model or other documents.
        ModelFormatError: the model does not give one vector for each text.
    """
    contents = [content for _, content in judged.documents()]
    folder.mkdir(parents=True, exist_ok=True)
    wanted, path = {"model": dense, "documents": len(contents)}, folder / "dense.json"
    if not path.exists():
        write_atomically(path, json.dumps(wanted))
    elif (held := json.loads(path.read_text(encoding="utf-8"))) != wanted:
        raise ConfigError(f"{folder} was begun with {held}, not with {wanted}: delete it, or name another --cache.")
    paths = embed_documents(embeddings, iter(contents), len(contents), folder / "documents", BATCH)
    return scaled(np.concatenate([np.load(each, allow_pickle=False) for each in paths]))


def measured(
    documents: Documents, encoder: SpladeEncoder, embeddings: Any, constants: Sequence[int], shares: Sequence[float], prefetch: int
) -> Iterator[Figure]:
    """Every way to search, of all queries and of each kind."""
    judged, size = documents.judged, len(documents.doc_ids)
    texts = list(judged.queries.values())
    sparse = _products(encoder, texts, documents.contents)
    asked = scaled(embed_queries(embeddings, texts, documents.vectors.shape[1]))
    dense = (asked @ documents.vectors.T).astype(np.float64)

    def by_terms(number: int) -> Ranking:
        return ranking(sparse[number], documents.order, prefetch, above=0.0)

    def by_meaning(number: int) -> Ranking:
        return ranking(dense[number], documents.order, prefetch)

    ways = {
        "sparse": lambda number: sparse[number],
        "dense": lambda number: dense[number] - dense.min() + 1,  # hits have positive scores
        **{
            f"RRF {k}": lambda number, k=k: reciprocal_ranks([by_terms(number), by_meaning(number)], k, size)  # type: ignore[misc]
            for k in constants
        },
        **{
            f"weighted {share:g}": lambda number, share=share: np.exp(weighted(sparse[number], dense[number], share))  # type: ignore[misc]
            for share in shares
        },
    }
    bm25 = StemmedBm25(zip(documents.doc_ids, documents.contents, strict=True))
    yield from _figures(judged, "BM25", bm25.run(judged.queries, DEPTH))
    for name, scores_of in ways.items():
        run = {query_id: _hits(documents, scores_of(number)) for number, query_id in enumerate(judged.queries)}
        yield from _figures(judged, name, run)


def _products(encoder: SpladeEncoder, queries: Sequence[str], contents: Sequence[str]) -> Scores:
    """[Q, D]."""
    asked, held = (
        SparseBatch.from_vectors(vectors).to_scipy(encoder.vocab_size).astype(np.float64)
        for vectors in (encoder.encode_queries(queries), encoder.encode_documents(contents))
    )
    found: Scores = (asked @ held.T).toarray()
    return found


def _hits(documents: Documents, scores: Scores) -> dict[str, float]:
    return {documents.doc_ids[row]: float(scores[row]) for row in ranking(scores, documents.order, DEPTH, above=0.0)}


def _figures(judged: JudgedCollection, searched: str, run: dict[str, dict[str, float]]) -> Iterator[Figure]:
    per_query = measure(run, judged.qrels, MEASURES).per_query
    for kind in ("", *dict.fromkeys(judged.kinds.values())):
        chosen = [query_id for query_id in per_query if kind in ("", judged.kinds.get(query_id))]
        means = [float(np.mean([per_query[query_id][name] for query_id in chosen])) for name in MEASURES]
        yield Figure(judged.name, kind, len(chosen), searched, *means)


def table(figures: Sequence[Figure]) -> str:
    """A row for each collection and kind: nDCG@10 / R@100 of every way to search."""
    ways = list(dict.fromkeys(figure.searched for figure in figures))
    rows: dict[tuple[str, str, int], dict[str, str]] = {}
    for figure in figures:
        cell = f"{figure.ndcg:.3f} / {figure.recall:.3f}"
        rows.setdefault((figure.collection, figure.kind, figure.queries), {})[figure.searched] = cell
    lines = [f"| nDCG@10 / R@100 | questions | {' | '.join(ways)} |", f"| --- | {' | '.join(['---:'] * (len(ways) + 1))} |"]
    for (name, kind, queries), cells in rows.items():
        lines.append(f"| {name}{': ' if kind else ''}{kind} | {queries} | {' | '.join(cells[way] for way in ways)} |")
    return "\n".join(lines)
