"""Sparse alone, dense alone, both fused by a store, and stemmed BM25: nDCG@10 and R@100 on test collections, by kind of query."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.engines.dense_vectors import E5, METHODS
from benchmarks.engines.embedding import Vectors, embed_documents, embed_queries, scaled
from benchmarks.engines.models import load_model
from benchmarks.harness.machine import machine
from splade_ptbr_connectors import SparseVector, SpladeEncoder, open_store
from splade_ptbr_connectors.atomic import write_atomically
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.evaluation.bm25 import StemmedBm25
from splade_ptbr_connectors.evaluation.collections import JudgedCollection, open_collection
from splade_ptbr_connectors.evaluation.measures import measure
from splade_ptbr_connectors.numerals import value_of
from splade_ptbr_connectors.stores.base import Entry, Hit
from splade_ptbr_connectors.validation import Positive, Share, check

MEASURES = ("nDCG@10", "R@100")
DEPTH, BATCH = 100, 32
NO_TERMS = SparseVector([], [])


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
    dense: Annotated[str, typer.Option(help="MODULE:NAME of LangChain embeddings.")] = E5,
    rrf_k: Annotated[str, typer.Option(help="Constants of the reciprocal rank fusion, by commas.")] = "60",
    prefetch: Annotated[int, typer.Option(help="Hits of each search that are fused.", min=1)] = 100,
    dense_weights: Annotated[str, typer.Option(help="Shares of the dense score in the weighted sum, by commas.")] = "0.3",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """When is a dense encoder worth it? Sparse alone, dense alone, fused by ranks and by scores, beside stemmed BM25."""
    fusions = {
        **{f"RRF {k}": {"rrf_k": k, "prefetch": prefetch} for k in read_numbers("rrf_k", rrf_k, Positive)},
        **{f"sum {w:g}": {"dense_weight": w, "prefetch": prefetch} for w in read_numbers("dense_weights", dense_weights, Share)},
    }
    encoder, embeddings = SpladeEncoder.load(model), load_model({"dense": dense}, "dense", METHODS)
    figures = []
    for folder in collection:
        judged = open_collection(f"beir:{folder}", split=split)
        embedded = partial(embed, embeddings=embeddings, dense=dense, folder=cache / folder.name)
        figures += list(measured(judged, encoder, embeddings, embedded, fusions))
    if as_json:
        found = {"benchmark": "hybrid", "split": split, "model": encoder.name, "dense": dense, "prefetch": prefetch}
        typer.echo(json.dumps({**found, **machine(), "figures": list(map(asdict, figures))}, indent=2))
    else:
        typer.echo(table(figures))


def read_numbers(name: str, text: str, kind: Any) -> list[Any]:
    """Out of "0.5,0.7", each of `kind`, such as Share. Raises ConfigError."""
    numbers = list(map(value_of, filter(None, text.split(","))))
    for number in numbers:
        check(name, number, kind)
    return numbers


def embed(contents: Sequence[str], embeddings: Any, dense: str, folder: Path) -> Vectors:
    """The documents' dense vectors [D, size], of length 1; those that an earlier run has left in the folder are read from it.

    Raises:
        ConfigError: the folder was begun with another model or other documents.
        ModelFormatError: the model does not give one vector for each text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted, path = {"model": dense, "documents": len(contents)}, folder / "dense.json"
    if not path.exists():
        write_atomically(path, json.dumps(wanted))
    elif (held := json.loads(path.read_text(encoding="utf-8"))) != wanted:
        raise ConfigError(f"{folder} was begun with {held}, not with {wanted}: delete it, or name another --cache.")
    paths = embed_documents(embeddings, iter(contents), len(contents), folder / "documents", BATCH)
    return scaled(np.concatenate([np.load(each, allow_pickle=False) for each in paths]))


def measured(
    judged: JudgedCollection, encoder: SpladeEncoder, embeddings: Any, embedded: Callable[[list[str]], Vectors], fusions: Mapping[str, Any]
) -> Iterator[Figure]:
    """Every way to search, of all queries and of each kind.

    Args:
        embedded: the documents' dense vectors, of length 1.
        fusions: what search_hybrid() is told, by name.
    """
    doc_ids, contents = map(list, zip(*judged.documents(), strict=True))
    yield from _figures(judged, "BM25", StemmedBm25(zip(doc_ids, contents, strict=True)).run(judged.queries, DEPTH))
    vectors, texts = embedded(contents), list(judged.queries.values())
    size = vectors.shape[1]
    near = scaled(embed_queries(embeddings, texts, size)[0]).tolist()
    asked = list(zip(judged.queries, encoder.encode_queries(texts), near, strict=True))
    with TemporaryDirectory() as folder, open_store(f"edge:{folder}/store", encoder=encoder, settings={"dense_size": size}) as store:
        entries = zip(doc_ids, encoder.encode_documents(contents), vectors.tolist(), strict=True)
        store.upsert_vectors(Entry(doc_id, sparse, dense=tuple(dense)) for doc_id, sparse, dense in entries)
        ways: dict[str, Callable[[SparseVector, list[float]], list[Hit]]] = {
            "sparse": lambda sparse, dense: store.search(sparse, DEPTH),
            "dense": lambda sparse, dense: store.search_hybrid(NO_TERMS, dense, DEPTH),
            **{name: partial(store.search_hybrid, top_k=DEPTH, **fusion) for name, fusion in fusions.items()},
        }
        for name, search in ways.items():
            run = {query_id: {hit.doc_id: hit.score for hit in search(sparse, dense)} for query_id, sparse, dense in asked}
            yield from _figures(judged, name, run)


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
