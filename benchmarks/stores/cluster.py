"""Documents/s and ms a query of one index on 1, 2 and 3 nodes of one OpenSearch cluster, in turns."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any
from urllib.error import HTTPError

import typer

from benchmarks.harness.latency import Latency, latency
from benchmarks.harness.machine import machine
from benchmarks.stores.load import fresh_index
from benchmarks.workloads.ready_vectors import ReadyVectors
from benchmarks.workloads.synthetic import make_collection
from splade_ptbr_connectors import SparseVector, open_store
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores.base import Store

TOP = (10, 1000)
WARM_UP = 20
MERGE_S = 1800
Ask = Callable[..., Any]


def cluster(
    documents: Annotated[int, typer.Option(help="Ready vectors to load.", min=1000)] = 20_000,
    queries: Annotated[int, typer.Option(help="Queries, one at a time.", min=1)] = 100,
    rounds: Annotated[int, typer.Option(help="Measured rounds, after one that is not measured.", min=1)] = 3,
    nodes: Annotated[int, typer.Option(help="Nodes to start, each with a heap of 512 MB.", min=1)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """An index of as many shards as nodes, without replicas. All nodes share this machine: what more machines give is not measured."""
    from tests.support.opensearch_cluster import OpenSearchCluster

    vectors, asked = make_collection(documents, queries)
    ready = [(f"document-{row}", vector, {}) for row, vector in enumerate(vectors)]
    rates: dict[int, list[float]] = {count: [] for count in range(1, nodes + 1)}
    times: dict[tuple[int, int], list[list[float]]] = {(count, top_k): [] for count in rates for top_k in TOP}
    with OpenSearchCluster(nodes) as started:
        for round in range(rounds + 1):
            for count in rates if round % 2 else reversed(rates):
                rate, seconds = _measure(started.urls[0], started.ask, count, ready, asked)
                if round:
                    rates[count].append(rate)
                    for top_k, each in seconds.items():
                        times[count, top_k].append(each)
    latencies = {key: latency(each) for key, each in times.items()}
    if as_json:
        rows = [{"nodes": count, "documents_per_second": rates[count], **_milliseconds(latencies, count)} for count in rates]
        typer.echo(json.dumps({"benchmark": "cluster", "documents": documents, "machine": machine(), "rows": rows}, indent=2))
        return
    typer.echo(f"cluster: documents {documents:,}, queries {queries}, rounds {rounds}")
    typer.echo(", ".join(f"{key} {value}" for key, value in machine().items()) + "\n")
    typer.echo("| nodes, each a shard | documents/s | ms top 10, p50 | p95 | ms top 1000, p50 | p95 |")
    typer.echo("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for count, each in rates.items():
        shown = " | ".join(f"{latencies[count, top_k].p50:.1f} | {latencies[count, top_k].p95:.1f}" for top_k in TOP)
        typer.echo(f"| {count} | {statistics.median(each):,.0f} | {shown} |")


def _milliseconds(latencies: dict[tuple[int, int], Latency], count: int) -> dict[str, Any]:
    return {f"ms_top_{top_k}": latencies[count, top_k].model_dump() for top_k in TOP}


def _measure(
    url: str, ask: Ask, count: int, ready: list[tuple[str, SparseVector, dict[str, Any]]], queries: list[SparseVector]
) -> tuple[float, dict[int, list[float]]]:
    """Documents/s of one load, and the seconds of each query by how many hits were asked for."""
    settings = {"shards": count, "replicas": 0}
    with fresh_index(url) as name, open_store(f"opensearch+{url}/{name}", encoder=ReadyVectors(), settings=settings) as store:
        _place(ask, name, count)
        started = time.perf_counter()
        report = ingest(ready, store, progress=False)
        rate = len(ready) / (time.perf_counter() - started)
        if report.written != len(ready) or report.reconciled is None or not report.reconciled.ok:
            raise RuntimeError(f"{report.written} of {len(ready)} documents were written: the rates cannot be compared")
        _merge(url, name)
        return rate, {top_k: _seconds(store, queries, top_k) for top_k in TOP}


def _place(ask: Ask, name: str, count: int) -> None:
    """Let the shards lie on the first so many nodes, one on each; the first is the one that is asked."""
    names = ",".join(f"node-{number}" for number in range(count))
    placed = {"index.routing.allocation.include._name": names, "index.routing.allocation.total_shards_per_node": 1}
    ask("PUT", f"{name}/_settings", placed)
    while True:
        try:
            ask("GET", f"_cluster/health/{name}?wait_for_no_relocating_shards=true&wait_for_status=green&timeout=50s")
        except HTTPError as error:
            if error.code != 408:  # not yet
                raise
        found = {shard["node"] for shard in ask("GET", f"_cat/shards/{name}?format=json")}
        if found == set(names.split(",")):
            return
        time.sleep(0.1)


def _merge(url: str, name: str) -> None:
    """One segment a shard, as long as it takes."""
    from opensearchpy import OpenSearch

    with OpenSearch([url], timeout=MERGE_S, max_retries=0) as client:
        client.indices.forcemerge(index=name, params={"max_num_segments": 1})
        client.indices.refresh(index=name)


def _seconds(store: Store, queries: list[SparseVector], top_k: int) -> list[float]:
    for query in queries[:WARM_UP]:
        store.search(query, top_k, with_payload=False)
    times = []
    for query in queries:
        started = time.perf_counter()
        store.search(query, top_k, with_payload=False)
        times.append(time.perf_counter() - started)
    return times
