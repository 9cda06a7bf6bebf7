"""Documents/s of loading: ingest against encoding alone, and our store against the bare engine."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import splade_ptbr_connectors
from benchmarks.harness.rounds import compare, measure, show
from splade_ptbr_connectors import SparseVector, SpladeEncoder, open_store
from splade_ptbr_connectors.ingestion.engine import ingest as ingest_records
from splade_ptbr_connectors.records import Record
from splade_ptbr_connectors.stores.payloads import point_id

SAMPLE = Path(splade_ptbr_connectors.__file__).parent / "sample" / "corpus.jsonl"
VOCABULARY, TERMS, BATCH = 29_794, 120, 256


def ingest(
    documents: Annotated[int, typer.Option(help="Texts to encode and ingest.", min=1)] = 1000,
    vectors: Annotated[int, typer.Option(help="Ready vectors to upsert.", min=1)] = 10_000,
    rounds: Annotated[int, typer.Option(help="Measured rounds, after one that is not measured.", min=1)] = 5,
    model: Annotated[str, typer.Option(help="Model to encode with.")] = "mini",
    folder: Annotated[Path | None, typer.Option(help="Where to write (default: the temporary folder).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Ingest against encoding alone (goal 0.95), EdgeStore against raw Edge upserts (goal 0.90)."""
    encoder = SpladeEncoder.load(model)
    records, ready = sample_records(documents), _vectors(vectors)
    sides = {
        "encode only": lambda: _encode_only(encoder, records),
        "ingest": lambda: _ingest(encoder, records, folder),
        "raw Edge, integer ids": lambda: _raw_edge(ready, folder, with_ids=False),
        "raw Edge, document ids kept": lambda: _raw_edge(ready, folder, with_ids=True),
        "EdgeStore": lambda: _edge_store(encoder, ready, folder),
    }
    rates = measure(sides, rounds)
    comparisons = [
        compare("ingest keeps the encoder busy", rates, "ingest", "encode only", 0.95),
        compare("our store against the engine, same content", rates, "EdgeStore", "raw Edge, document ids kept", 0.90),
        compare("our store against the engine, ids dropped", rates, "EdgeStore", "raw Edge, integer ids", None),
    ]
    settings = {"model": model, "documents": documents, "vectors": vectors, "terms": TERMS, "batch": BATCH, "rounds": rounds}
    show("ingest", settings, rates, comparisons, as_json=as_json)


Ready = list[tuple[str, SparseVector, dict[str, Any]]]


def sample_records(count: int) -> list[dict[str, Any]]:
    """The sample collection, repeated with its words turned round, so that no two texts are the same."""
    with open(SAMPLE, encoding="utf-8") as file:
        sample = [json.loads(line) for line in file]
    return [_varied(sample[n % len(sample)], n, n // len(sample)) for n in range(count)]


def _varied(record: dict[str, Any], number: int, turn: int) -> dict[str, Any]:
    words = record["text"].split()
    turn %= max(len(words), 1)
    return {**record, "_id": f"{record['_id']}-{number}", "text": " ".join(words[turn:] + words[:turn])}


def _vectors(count: int) -> Ready:
    random = np.random.default_rng(0)
    # a few terms are in most documents, most terms in few, as in a real collection
    popularity = 1 / np.arange(1, VOCABULARY + 1)
    popularity /= popularity.sum()
    text = "uma passagem curta em português sobre um assunto qualquer, " * 5
    return [
        (
            f"document-{n}",
            SparseVector(random.choice(VOCABULARY, TERMS, replace=False, p=popularity), random.gamma(2.0, 0.4, TERMS) + 0.01),
            {"title": f"Documento {n}", "text": text, "metadata": {"year": 1990 + n % 30}},
        )
        for n in range(count)
    ]


def _encode_only(encoder: SpladeEncoder, records: list[dict[str, Any]]) -> float:
    texts = [Record.from_mapping(record).content for record in records]
    started = time.perf_counter()
    for _ in encoder.encode_documents(texts):
        pass
    return len(records) / (time.perf_counter() - started)


def _ingest(encoder: SpladeEncoder, records: list[dict[str, Any]], folder: Path | None) -> float:
    with _empty(folder) as empty, open_store(f"edge:{empty / 'store'}", encoder=encoder) as store:
        started = time.perf_counter()
        report = ingest_records(records, store, checkpoint=empty / "checkpoint", progress=False)
        seconds = time.perf_counter() - started
    if report.written != len(records):
        raise RuntimeError(f"{report.written} of {len(records)} documents were written: the rates cannot be compared")
    return len(records) / seconds


def _raw_edge(ready: Ready, folder: Path | None, *, with_ids: bool) -> float:
    """The shortest correct loop over the engine's own API, from the same vectors."""
    import qdrant_edge as edge

    def point(number: int, doc_id: str, vector: SparseVector, payload: dict[str, Any]) -> Any:
        sparse = {"splade": edge.SparseVector(vector.term_ids.tolist(), vector.weights.tolist())}
        if with_ids:
            return edge.Point(point_id(doc_id), sparse, {**payload, "_id": doc_id})
        return edge.Point(number, sparse, payload)

    with _empty(folder) as empty:
        config = edge.EdgeConfig(sparse_vectors={"splade": edge.EdgeSparseVectorParams()})
        shard = edge.EdgeShard.create(str(empty / "shard"), config)
        started = time.perf_counter()
        for start in range(0, len(ready), BATCH):
            points = [point(start + n, *entry) for n, entry in enumerate(ready[start : start + BATCH])]
            shard.update(edge.UpdateOperation.upsert_points(points))
        seconds = time.perf_counter() - started
        shard.close()
    return len(ready) / seconds


def _edge_store(encoder: SpladeEncoder, ready: Ready, folder: Path | None) -> float:
    with _empty(folder) as empty, open_store(f"edge:{empty / 'store'}", encoder=_Sized(encoder), max_batch_documents=BATCH) as store:
        started = time.perf_counter()
        store.upsert_vectors(ready)
        return len(ready) / (time.perf_counter() - started)


class _Sized:
    """The encoder with a vocabulary that the made-up vectors fit in."""

    def __init__(self, encoder: SpladeEncoder) -> None:
        self._encoder = encoder
        self.vocab_size = max(VOCABULARY, encoder.vocab_size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)


@contextmanager
def _empty(folder: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="splade-benchmark-") as name:
        yield Path(name)
