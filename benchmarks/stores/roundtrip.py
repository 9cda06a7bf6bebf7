"""What requests to a Qdrant cost beside the server's own work: ours and qdrant-client's, to a stand-in that answers as Qdrant does.

Head and body of an answer are sent apart, and the body is held back (Nagle's algorithm) until the head is acknowledged.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from httpx import Limits
from qdrant_client import QdrantClient, models

from benchmarks.harness.rounds import Rates, compare, measure, show
from benchmarks.stores.load import UPLOAD_BATCH, Documents, make_documents
from benchmarks.workloads.ready_vectors import ReadyVectors
from splade_ptbr_connectors import SparseVector, open_store
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores.payloads import point_id

SEARCHED, QUERY_TERMS, TOP_K = 50, 43, 10
COLLECTION, VECTOR = "roundtrip", "splade"


def roundtrip(
    documents: Annotated[int, typer.Option(help="Ready vectors to load.", min=1000)] = 10_000,
    searches: Annotated[int, typer.Option(help="Searches of a round, one at a time.", min=10, max=1000)] = 100,
    rounds: Annotated[int, typer.Option(help="Measured rounds, after one that is not measured.", min=1)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Two JSON documents instead of tables.")] = False,
) -> None:
    """REST: searches beside qdrant-client's (goal 0.75) and loading beside upload_points (goal 0.95), no real server needed."""
    ready = make_documents(documents)
    rates = _searching(ready[:SEARCHED], [vector.prune(max_terms=QUERY_TERMS) for _, vector, _ in ready[:searches]], rounds)
    found = [
        compare("Searching, against qdrant-client", rates, "open_store", "qdrant-client", 0.75),
        compare("Searching, against a kept connection", rates, "open_store", "qdrant-client, connections kept", None),
    ]
    show("roundtrip", {"searches": searches, "rounds": rounds}, rates, found, as_json=as_json, unit="searches")
    rates = _loading(ready, rounds)
    found = [compare("Loading, against qdrant-client", rates, "ingest", "upload_points(batch_size=256)", 0.95)]
    show("roundtrip", {"documents": documents, "rounds": rounds}, rates, found, as_json=as_json)


def _searching(ready: Documents, queries: list[SparseVector], rounds: int) -> Rates:
    with _server(discards=False) as url, open_store(f"qdrant+{url}/{COLLECTION}", encoder=ReadyVectors()) as store:
        store.upsert_vectors(ready)
        with _client(url) as ordinary, _client(url, limits=Limits(max_connections=None)) as keeping:
            sides: dict[str, Callable[[], float]] = {
                "qdrant-client": lambda: _rate(_search_of(ordinary), queries),
                "qdrant-client, connections kept": lambda: _rate(_search_of(keeping), queries),
                "open_store": lambda: _rate(lambda query: store.search(query, TOP_K), queries),
            }
            return measure(sides, rounds)


def _search_of(client: QdrantClient) -> Callable[[SparseVector], object]:
    return lambda query: client.query_points(COLLECTION, query.to_qdrant(), using=VECTOR, limit=TOP_K)


def _rate(search: Callable[[SparseVector], object], queries: list[SparseVector]) -> float:
    started = time.perf_counter()
    for query in queries:
        search(query)
    return len(queries) / (time.perf_counter() - started)


def _loading(ready: Documents, rounds: int) -> Rates:
    with _server(discards=True) as url:
        open_store(f"qdrant+{url}/{COLLECTION}", encoder=ReadyVectors()).close()  # makes the collection
        return measure({"upload_points(batch_size=256)": lambda: _upload(ready, url), "ingest": lambda: _ingest(ready, url)}, rounds)


def _upload(ready: Documents, url: str) -> float:
    points = (
        models.PointStruct(id=point_id(doc_id), vector={VECTOR: vector.to_qdrant()}, payload={**payload, "_id": doc_id})
        for doc_id, vector, payload in ready
    )
    with _client(url) as client:
        started = time.perf_counter()
        client.upload_points(COLLECTION, points, batch_size=UPLOAD_BATCH, wait=True)
        return len(ready) / (time.perf_counter() - started)


def _ingest(ready: Documents, url: str) -> float:
    with open_store(f"qdrant+{url}/{COLLECTION}", encoder=ReadyVectors()) as store:
        started = time.perf_counter()
        report = ingest(ready, store, progress=False, reconcile=0)  # the stand-in keeps nothing that could be read back
        seconds = time.perf_counter() - started
    if report.written != len(ready):
        raise RuntimeError(f"{report.written} of {len(ready)} documents were written: the rates cannot be compared")
    return len(ready) / seconds


@contextmanager
def _client(url: str, **arguments: Any) -> Iterator[QdrantClient]:
    client = QdrantClient(url=url, timeout=60, check_compatibility=False, **arguments)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def _server(*, discards: bool) -> Iterator[str]:
    """The URL of a stand-in in a process of its own, so that it takes no time from its client's."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=_serve, args=(its, discards), daemon=True)
    process.start()
    try:
        yield mine.recv()
    finally:
        mine.send(None)
        process.join()


def _serve(pipe: Any, discards: bool) -> None:
    from tests.support.qdrant_server import stand_in

    with stand_in() as server:
        server.apart, server.discards = True, discards
        _answer_from_memory(server.client)
        server.seen = deque(maxlen=1)  # type: ignore[assignment]
        pipe.send(server.url)
        pipe.recv()


def _answer_from_memory(client: QdrantClient) -> None:
    """The first answer to every search for so many hits: the stand-in's own time is not what is measured."""
    search, answers = client.query_points, {}

    def remembered(name: str, *, limit: int, **arguments: Any) -> Any:
        if limit not in answers:
            answers[limit] = search(name, limit=limit, **arguments)
        return answers[limit]

    client.query_points = remembered  # type: ignore[method-assign]
