"""Documents/s of loading ready vectors: ingest against each engine's own bulk loader, into the same engine in the same run."""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import numpy as np
import typer

from benchmarks.harness.memory import resident_bytes
from benchmarks.harness.rounds import compare, measure, show
from benchmarks.workloads.ready_vectors import VOCABULARY, ReadyVectors
from splade_ptbr_connectors import SparseVector, open_store
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores.base import Entry, Hit, Refusal, Store

TERMS, SPREAD = 143, 0.35
CHUNK, UPLOAD_BATCH = 1000, 256  # of streaming_bulk and of upload_points
MEMORY_GOAL_BYTES = 1_000_000_000
Documents = list[tuple[str, SparseVector, dict[str, Any]]]


def load(
    documents: Annotated[int, typer.Option(help="Ready vectors to load.", min=1000)] = 20_000,
    rounds: Annotated[int, typer.Option(help="Measured rounds, after one that is not measured.", min=1)] = 3,
    url: Annotated[str | None, typer.Option(help="An OpenSearch, such as http://127.0.0.1:9200.")] = None,
    start_opensearch: Annotated[bool, typer.Option("--start-opensearch", help="Start an OpenSearch for the measurement.")] = False,
    qdrant: Annotated[str | None, typer.Option(help="A Qdrant, such as http://127.0.0.1:6333 or grpc://127.0.0.1:6334.")] = None,
    edge: Annotated[bool, typer.Option(help="Measure the embedded engine too.")] = True,
    memory: Annotated[int, typer.Option(help="Instead: memory held while so many records stream into a store that keeps none.")] = 0,
    folder: Annotated[Path | None, typer.Option(help="Where the embedded engine writes (default: the temporary folder).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Ingest of ready vectors against streaming_bulk (goal 2.0), upload_points (goal 0.95) and bare Edge, from the same vectors."""
    if memory:
        _memory(memory, as_json=as_json)
        return
    ready = make_documents(documents)
    sides: dict[str, Callable[[], float]] = {}
    wanted: list[tuple[str, str, str, float | None]] = []
    with ExitStack() as stack:
        if start_opensearch:
            url = stack.enter_context(own_opensearch())
        if url is not None:
            sides |= {
                "streaming_bulk(chunk_size=1000)": lambda: _streaming_bulk(ready, url),
                "ingest, OpenSearch": _into_opensearch(ready, url),
            }
            wanted.append(("OpenSearch, against its own bulk helper", "ingest, OpenSearch", "streaming_bulk(chunk_size=1000)", 2.0))
        if qdrant is not None:
            sides |= {"upload_points(batch_size=256)": lambda: _upload_points(ready, qdrant), "ingest, Qdrant": _into_qdrant(ready, qdrant)}
            wanted.append(("Qdrant, against its own upload", "ingest, Qdrant", "upload_points(batch_size=256)", 0.95))
        if edge:
            sides |= {"raw Edge": lambda: _raw_edge(ready, folder), "ingest, Edge": lambda: _into_edge(ready, folder)}
            wanted.append(("Edge, against the bare engine", "ingest, Edge", "raw Edge", None))
        rates = measure(sides, rounds)
    terms = sum(len(vector) for _, vector, _ in ready) / len(ready)
    settings = {"documents": documents, "terms a document": f"{terms:.1f}", "rounds": rounds}
    show(
        "load",
        settings,
        rates,
        [compare(name, rates, subject, baseline, goal) for name, subject, baseline, goal in wanted],
        as_json=as_json,
    )


# -- the collection ----------------------------------------------------------------------------------------------------


def make_documents(count: int) -> Documents:
    """The same documents every time: Zipf terms (few in most documents, most in few), gamma weights, a short text beside."""
    return list(itertools.islice(_stream(np.random.default_rng(0)), count))


def _stream(random: np.random.Generator) -> Iterator[tuple[str, SparseVector, dict[str, Any]]]:
    terms = random.permutation(VOCABULARY)
    cumulative = np.cumsum(1 / (np.arange(1, VOCABULARY + 1) + 20) ** 0.8)
    cumulative /= cumulative[-1]
    text = "uma passagem curta em português sobre um assunto qualquer, " * 5
    for number in itertools.count():
        size = max(3, int(0.97 * random.lognormal(np.log(TERMS), SPREAD)))  # some are drawn twice and count once
        picked = np.unique(terms[np.minimum(np.searchsorted(cumulative, random.random(size)), VOCABULARY - 1)])
        weights = np.minimum(random.gamma(1.2, 0.45, len(picked)) + 0.01, 3.5).astype(np.float32)
        yield (
            f"document-{number}",
            SparseVector(picked, weights),
            {"title": f"Documento {number}", "text": text, "year": 1990 + number % 30},
        )


def _ingest(ready: Documents, store: Store) -> float:
    """Documents/s from the first to all of them being found, the check of the run included."""
    started = time.perf_counter()
    report = ingest(ready, store, progress=False)
    seconds = time.perf_counter() - started
    if report.written != len(ready) or report.reconciled is None or not report.reconciled.ok:
        raise RuntimeError(f"{report.written} of {len(ready)} documents were written: the rates cannot be compared")
    return len(ready) / seconds


# -- OpenSearch --------------------------------------------------------------------------------------------------------


@contextmanager
def own_opensearch() -> Iterator[str]:
    """A server of the benchmark's own, stopped in the end."""
    from tests.support.opensearch_server import OpenSearchServer

    server = OpenSearchServer()
    try:
        server.start()
        yield server.url
    finally:
        server.stop()


def _into_opensearch(ready: Documents, url: str) -> Callable[[], float]:
    def run() -> float:
        with fresh_index(url) as name, open_store(f"opensearch+{url}/{name}", encoder=ReadyVectors(), settings={"replicas": 0}) as store:
            return _ingest(ready, store)

    return run


def _streaming_bulk(ready: Documents, url: str) -> float:
    """The helper's loop as its documentation shows it: the same documents as ours, into an index with the same mapping."""
    from opensearchpy import OpenSearch, helpers

    from splade_ptbr_connectors.stores.opensearch.wire import facets

    def actions() -> Iterator[dict[str, Any]]:
        for doc_id, vector, payload in ready:
            source = {"doc_id": doc_id, "n_terms": len(vector), "sparse": vector.to_opensearch(), "payload": payload}
            yield {"_op_type": "index", "_index": name, "_id": doc_id, "_source": {**source, "facets": facets(payload)}}

    with fresh_index(url) as name, OpenSearch([url], timeout=120) as client:
        with open_store(f"opensearch+{url}/{name}", encoder=ReadyVectors(), settings={"replicas": 0, "terms_per_field": 0}) as store:
            store.count()  # the index is there, with its mapping
        started = time.perf_counter()
        for ok, answer in helpers.streaming_bulk(client, actions(), chunk_size=CHUNK):
            if not ok:
                raise RuntimeError(f"the helper could not write: {answer}")
        client.indices.refresh(index=name)
        seconds = time.perf_counter() - started
        found = client.count(index=name)["count"]
    if found != len(ready):
        raise RuntimeError(f"the helper wrote {found} of {len(ready)} documents: the rates cannot be compared")
    return len(ready) / seconds


@contextmanager
def fresh_index(url: str) -> Iterator[str]:
    """A name for an index, deleted in the end."""
    from opensearchpy import OpenSearch

    name = f"benchmark-{uuid.uuid4().hex[:12]}"
    try:
        yield name
    finally:
        with OpenSearch([url], timeout=60) as client:
            client.indices.delete(index=f"{name}*", params={"expand_wildcards": "all", "ignore_unavailable": "true"})


# -- Qdrant ------------------------------------------------------------------------------------------------------------


def _into_qdrant(ready: Documents, url: str) -> Callable[[], float]:
    def run() -> float:
        with _fresh_collection(url) as (_, name), open_store(f"qdrant+{url}/{name}", encoder=ReadyVectors()) as store:
            return _ingest(ready, store)

    return run


def _upload_points(ready: Documents, url: str) -> float:
    from qdrant_client import models

    from splade_ptbr_connectors.stores.payloads import point_id

    def points() -> Iterator[models.PointStruct]:
        for doc_id, vector, payload in ready:
            yield models.PointStruct(id=point_id(doc_id), vector={"splade": vector.to_qdrant()}, payload={**payload, "_id": doc_id})

    with _fresh_collection(url) as (client, name):
        client.create_collection(name, vectors_config={}, sparse_vectors_config={"splade": models.SparseVectorParams()})
        started = time.perf_counter()
        client.upload_points(name, points(), batch_size=UPLOAD_BATCH, wait=True)
        while client.get_collection(name).status != models.CollectionStatus.GREEN:  # as ours: until the index is built
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        found = client.count(name, exact=True).count
    if found != len(ready):
        raise RuntimeError(f"upload_points wrote {found} of {len(ready)} documents: the rates cannot be compared")
    return len(ready) / seconds


def _qdrant_client(url: str) -> Any:
    """The library's own client with its own settings, for http(s)://HOST:PORT and grpc(s)://HOST:PORT."""
    from qdrant_client import QdrantClient

    address, arguments = urlsplit(url), dict[str, Any](timeout=120, check_compatibility=False)
    if not address.scheme.startswith("grpc"):
        return QdrantClient(url=url, **arguments)
    return QdrantClient(
        host=address.hostname, grpc_port=address.port or 6334, prefer_grpc=True, https=address.scheme == "grpcs", **arguments
    )


@contextmanager
def _fresh_collection(url: str) -> Iterator[tuple[Any, str]]:
    client, name = _qdrant_client(url), f"benchmark-{uuid.uuid4().hex[:12]}"
    try:
        yield client, name
    finally:
        client.delete_collection(name)
        client.close()


# -- Edge --------------------------------------------------------------------------------------------------------------


def _into_edge(ready: Documents, folder: Path | None) -> float:
    with tempfile.TemporaryDirectory(dir=folder, prefix="splade-benchmark-") as empty:
        with open_store(f"edge:{empty}/store", encoder=ReadyVectors()) as store:
            return _ingest(ready, store)


def _raw_edge(ready: Documents, folder: Path | None) -> float:
    """The shortest correct loop over the engine's own API, its index built at the end as ours is."""
    import qdrant_edge

    from splade_ptbr_connectors.stores.payloads import point_id

    def point(doc_id: str, vector: SparseVector, payload: dict[str, Any]) -> Any:
        sparse = {"splade": qdrant_edge.SparseVector(vector.term_ids.tolist(), vector.weights.tolist())}
        return qdrant_edge.Point(point_id(doc_id), sparse, {**payload, "_id": doc_id})

    with tempfile.TemporaryDirectory(dir=folder, prefix="splade-benchmark-") as empty:
        config = qdrant_edge.EdgeConfig(sparse_vectors={"splade": qdrant_edge.EdgeSparseVectorParams()})
        shard = qdrant_edge.EdgeShard.create(f"{empty}/shard", config)
        started = time.perf_counter()
        for start in range(0, len(ready), UPLOAD_BATCH):
            points = [point(*document) for document in ready[start : start + UPLOAD_BATCH]]
            shard.update(qdrant_edge.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()
        seconds = time.perf_counter() - started
        shard.close()
    return len(ready) / seconds


# -- memory ------------------------------------------------------------------------------------------------------------


class NullStore(Store):
    """Takes everything and keeps nothing but the number; as slow as a server, so that the queue before it fills."""

    engine = "null"
    max_in_flight = 4

    def __init__(self, wait_s: float = 0.01) -> None:
        super().__init__("null:", ReadyVectors())
        self.written = 0
        self._wait_s = wait_s
        self._lock = threading.Lock()

    def _upsert(self, entries: list[Entry]) -> list[Refusal]:
        time.sleep(self._wait_s)
        with self._lock:
            self.written += len(entries)
        return []

    def _count(self, filter: Any) -> int:
        return self.written

    def _search(self, query: SparseVector, top_k: int, filter: Any, with_payload: bool) -> list[Hit]:
        return []

    def _get(self, doc_ids: list[str]) -> dict[str, Entry]:
        return {}

    def _content_hashes(self, doc_ids: list[str]) -> dict[str, str]:
        return {}

    def _scan_page(self, cursor: Any, size: int, with_vectors: bool) -> tuple[list[Entry], Any]:
        return [], None

    def _delete(self, doc_ids: list[str]) -> int:
        return 0

    def _delete_where(self, filter: Any) -> int:
        return 0

    def _close(self) -> None:
        pass


def _memory(records: int, *, as_json: bool) -> None:
    """Stream records that are made as they are asked for; report the most memory that was held beyond the start."""
    import json

    from benchmarks.harness.machine import machine

    store, most = NullStore(), 0
    before = resident_bytes()

    def look(_: Any) -> None:
        nonlocal most
        most = max(most, resident_bytes() - before)

    started = time.perf_counter()
    report = ingest(itertools.islice(_stream(np.random.default_rng(0)), records), store, reconcile=0, progress=look)
    seconds = time.perf_counter() - started
    if report.written != records or store.written != records:
        raise RuntimeError(f"{store.written} of {records} records arrived")
    verdict = "ok" if most < MEMORY_GOAL_BYTES else "missed"
    if as_json:
        result = {"benchmark": "load memory", "records": records, "most_bytes": most, "goal_bytes": MEMORY_GOAL_BYTES, "verdict": verdict}
        typer.echo(json.dumps({**result, "documents_per_second": records / seconds, "machine": machine()}, indent=2))
        return
    typer.echo(", ".join(f"{key} {value}" for key, value in machine().items()) + "\n")
    typer.echo(f"{records:,} records streamed in {seconds:,.0f} s ({records / seconds:,.0f}/s), at most {most / 1e6:,.0f} MB held beyond")
    typer.echo(f"the start   goal {MEMORY_GOAL_BYTES / 1e6:,.0f} MB: {verdict}")
