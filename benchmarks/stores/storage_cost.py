"""What a document takes on disk and what a query takes of time, store by store: the figures that a plan for more of them scales from."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.harness.machine import disk_bytes, machine
from benchmarks.stores.load import Documents, fresh_index, make_documents, own_opensearch
from benchmarks.workloads.ready_vectors import ReadyVectors
from splade_ptbr_connectors import SparseVector, open_store
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores.base import Store

QUERIES, TOP_K = 100, 10
TERMS_A_QUERY = (10, 40)  # few, as of a query table; many, as of a query network


def room(
    documents: Annotated[int, typer.Option(help="Ready vectors to load.", min=1000)] = 100_000,
    url: Annotated[str | None, typer.Option(help="An OpenSearch, such as http://127.0.0.1:9200.")] = None,
    start_opensearch: Annotated[bool, typer.Option("--start-opensearch", help="Start an OpenSearch for the measurement.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where the embedded engine writes (default: the temporary folder).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Bytes on disk a document, documents/s of the one load, and ms a query (top 10), on Edge and on OpenSearch."""
    ready = make_documents(documents)
    terms = sum(len(vector) for _, vector, _ in ready) / len(ready)
    found = [_edge(ready, folder)]
    with ExitStack() as stack:
        if start_opensearch:
            url = stack.enter_context(own_opensearch())
        if url is not None:
            found.append(_opensearch(ready, url))
    document = {"benchmark": "room", "documents": documents, "terms_a_document": round(terms, 1), **machine(), "stores": found}
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(f"room: {documents:,} documents of {terms:.1f} terms, a text of 300 characters and three fields each; {QUERIES} queries\n")
    for store in found:
        shown = [f"{times['mean']:.1f} ms a query of {size} terms (p95 {times['p95']:.1f})" for size, times in store["ms"].items()]
        rate, size = store["documents_per_second"], store["bytes_a_document"]
        typer.echo(f"{store['store']:<12} {size:>8,.0f} bytes a document   {rate:>8,.0f} documents/s   {', '.join(shown)}")


def _edge(ready: Documents, folder: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="splade-benchmark-") as empty:
        with open_store(f"edge:{empty}/store", encoder=ReadyVectors()) as store:
            figures = _figures("Edge", store, ready)
        size = disk_bytes(Path(empty))
    return {**figures, "bytes_a_document": size / len(ready)}


def _opensearch(ready: Documents, url: str) -> dict[str, Any]:
    from opensearchpy import OpenSearch

    with fresh_index(url) as name, open_store(f"opensearch+{url}/{name}", encoder=ReadyVectors(), settings={"replicas": 0}) as store:
        figures = _figures("OpenSearch", store, ready)
        with OpenSearch([url], timeout=600) as client:
            client.indices.forcemerge(index=name, max_num_segments=1)
            client.indices.flush(index=name)
            size = client.indices.stats(index=name)["_all"]["primaries"]["store"]["size_in_bytes"]
    return {**figures, "bytes_a_document": size / len(ready)}


def _figures(name: str, store: Store, ready: Documents) -> dict[str, Any]:
    started = time.perf_counter()
    report = ingest(ready, store, progress=False)
    seconds = time.perf_counter() - started
    if report.written != len(ready):
        raise RuntimeError(f"{report.written} of {len(ready)} documents were written: there is nothing to scale from")
    return {"store": name, "documents_per_second": len(ready) / seconds, "ms": {size: _latencies(store, size) for size in TERMS_A_QUERY}}


def _latencies(store: Store, size: int) -> dict[str, float]:
    queries = list(_queries(size))
    for query in queries:  # warms the engine up
        store.search(query, TOP_K)
    times = []
    for query in queries:
        started = time.perf_counter()
        store.search(query, TOP_K)
        times.append(1000 * (time.perf_counter() - started))
    return {"mean": statistics.mean(times), "p95": statistics.quantiles(times, n=20)[-1]}


def _queries(size: int) -> Iterator[SparseVector]:
    """Terms as the documents have them: `size` of the heaviest of a document each."""
    random = np.random.default_rng(1)
    for _, vector, _ in make_documents(QUERIES):
        kept = np.argsort(-vector.weights, kind="stable")[:size]
        yield SparseVector(vector.term_ids[kept], vector.weights[kept] * random.uniform(0.5, 1.0, len(kept)).astype(np.float32))
