"""Whole documents, passages of them and BM25 beside the passages that long documents were glued from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.harness.machine import machine
from benchmarks.passages.glued_documents import Glued, read_glued
from benchmarks.passages.scoring import Scores, best, dot_products, mean_of_best, run_of
from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.evaluation.bm25 import StemmedBm25
from splade_ptbr_connectors.evaluation.measures import measure
from splade_ptbr_connectors.records import Record
from splade_ptbr_connectors.splitting import PassageSettings, Splitter, default_settings

MEASURES = ("nDCG@10", "P@1")
FEW = (2, 3)
SHARES = (0.1, 0.25, 0.5)


@dataclass(frozen=True)
class Figure:
    """How well one way of searching finds the documents; `pieces`: vectors, or texts, that it holds."""

    searched: str
    score: str
    pieces: int
    ndcg: float
    first: float


def long(
    collection: Annotated[list[Path], typer.Option(help="Folder in BEIR's layout; may be given several times.")],
    split: Annotated[str, typer.Option(help="Of the judgments.")] = "test",
    size: Annotated[int, typer.Option(help="Passages of the collection that are glued into a document.", min=1)] = 10,
    settings: Annotated[str, typer.Option(help="PASSAGE_TOKENS/OVERLAP, several by commas (default: the package's).")] = "",
    model: Annotated[str, typer.Option(help="Encodes documents and queries.")] = "mini",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")] = False,
) -> None:
    """Glue passages into long documents: how well are these found whole, by our passages, by BM25, by the passages as they were?"""
    chosen = read_settings(settings)
    encoder = SpladeEncoder.load(model)
    found = {}
    for folder in collection:
        glued = read_glued(folder, split, size)
        found[glued.name] = list(Comparison(glued, encoder).figures(chosen))
        if not as_json:
            _show(glued, found[glued.name])
    if as_json:
        figures = {name: [asdict(figure) for figure in each] for name, each in found.items()}
        typer.echo(json.dumps({"benchmark": "long", "model": encoder.name, "size": size, **machine(), "collections": figures}, indent=2))


def read_settings(text: str) -> list[PassageSettings]:
    """Out of "128/16,200/32". Raises ConfigError."""
    if not text:
        return [PassageSettings(**default_settings())]
    pairs = [part.strip().partition("/") for part in text.split(",")]
    if not all(tokens.isdecimal() and overlap.isdecimal() for tokens, _, overlap in pairs):
        raise ConfigError(f"--settings {text!r} is not PASSAGE_TOKENS/OVERLAP, such as 200/32,128/0.")
    return [PassageSettings(passage_tokens=int(tokens), overlap=int(overlap)) for tokens, _, overlap in pairs]


class Comparison:
    """Every way to search one collection of glued documents."""

    def __init__(self, glued: Glued, encoder: SpladeEncoder) -> None:
        self.glued, self.encoder = glued, encoder
        self.query_ids, self.texts = list(glued.queries), list(glued.queries.values())
        self.queries = list(encoder.encode_queries(self.texts))
        self.doc_ids = [document.doc_id for document in glued.documents]

    def figures(self, chosen: Sequence[PassageSettings]) -> Iterator[Figure]:
        """The upper bound first, then whole documents, then passages of each of these settings."""
        glued = self.glued
        contents = [passage.content for passage in glued.passages]
        yield self._figure("passages as they were", "best", len(contents), best(self._by_vectors(contents), glued.document_of))
        yield self._figure("passages as they were", "best, BM25", len(contents), best(self._by_words(contents), glued.document_of))
        contents = [document.content for document in glued.documents]
        whole = self._by_vectors(contents)
        yield self._figure("whole documents", "one vector", len(contents), whole)
        yield self._figure("whole documents", "BM25", len(contents), self._by_words(contents))
        for settings in chosen:
            yield from self._of_passages(settings, whole)

    def _of_passages(self, settings: PassageSettings, whole: Scores) -> Iterator[Figure]:
        splitter = Splitter(self.encoder, **settings.model_dump())
        pieces = [(row, text) for row, document in enumerate(self.glued.documents) for text in passages_of(document, splitter)]
        document_of, contents = [row for row, _ in pieces], [text for _, text in pieces]
        name, scores = f"passages {settings.passage_tokens}/{settings.overlap}", self._by_vectors(contents)
        yield self._figure(name, "best", len(pieces), best(scores, document_of))
        for few in FEW:
            yield self._figure(name, f"mean of best {few}", len(pieces), mean_of_best(scores, document_of, few))
        for share in SHARES:
            yield self._figure(name, f"best + {share:g} whole", len(pieces), best(scores, document_of) + share * whole)
        yield self._figure(name, "best, BM25", len(pieces), best(self._by_words(contents), document_of))

    def _by_vectors(self, contents: Sequence[str]) -> Scores:
        return dot_products(self.queries, list(self.encoder.encode_documents(contents)), self.encoder.vocab_size)

    def _by_words(self, contents: Sequence[str]) -> Scores:
        index = StemmedBm25([(str(row), content) for row, content in enumerate(contents)])
        scores = np.zeros((len(self.texts), len(contents)))
        for number, text in enumerate(self.texts):
            rows, found = index.search_rows(text, len(contents))
            scores[number, rows] = found
        return scores

    def _figure(self, searched: str, score: str, pieces: int, scores: Scores) -> Figure:
        means = measure(run_of(scores, self.query_ids, self.doc_ids), self.glued.qrels, MEASURES).means
        return Figure(searched, score, pieces, *(means[name] for name in MEASURES))


def passages_of(document: Record, splitter: Splitter) -> list[str]:
    """What is encoded of each passage, as ingest() does."""
    return [document.content_of(passage.text) for passage in splitter.split(document.text, document.title)]


def _show(glued: Glued, figures: Sequence[Figure]) -> None:
    typer.echo(f"\n{glued.name}: {len(glued.documents):,} documents of {len(glued.passages):,} passages, {len(glued.queries):,} queries\n")
    typer.echo("| searched | score | pieces | nDCG@10 | right document first |\n| --- | --- | ---: | ---: | ---: |")
    for each in figures:
        typer.echo(f"| {each.searched} | {each.score} | {each.pieces:,} | {each.ndcg:.3f} | {each.first:.3f} |")
