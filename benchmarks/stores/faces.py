"""What LangChain and LlamaIndex cost beside the store that they search, and what a query waits for where many threads ask at once."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from llama_index.core.vector_stores.types import VectorStoreQuery

from benchmarks.harness.machine import machine
from benchmarks.stores.load import make_documents
from benchmarks.workloads.ready_vectors import ReadyVectors
from splade_ptbr_connectors.langchain import SpladeRetriever, SpladeVectorStore
from splade_ptbr_connectors.llama_index import SpladeRetriever as LlamaIndexRetriever
from splade_ptbr_connectors.llama_index import SpladeVectorStore as LlamaIndexVectorStore
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Store
from splade_ptbr_connectors.vectors import SparseVector

GOAL_MS, GOAL_TIMES, TOP_K, QUERY_TERMS = 0.3, 10, 10, 43
QUERIES_A_THREAD = 50
Ask = Callable[[str], object]
Milliseconds = dict[str, list[float]]  # by face, of every query of every round


class KnownQueries(ReadyVectors):
    """Encodes a query by looking it up: what is measured is not the model."""

    def __init__(self, queries: Mapping[str, SparseVector]) -> None:
        super().__init__()
        self._queries = queries

    def encode_query(self, text: str) -> SparseVector:
        """The vector of a known query."""
        return self._queries[text]


def faces(
    documents: Annotated[int, typer.Option(help="Ready vectors to load.", min=100)] = 10_000,
    queries: Annotated[int, typer.Option(help="Queries of a round, one at a time.", min=1)] = 200,
    engines: Annotated[str, typer.Option(help="Engines, separated by commas.")] = "numba,edge",
    rounds: Annotated[int, typer.Option(help="Measured rounds, after one that is not measured.", min=1)] = 5,
    threads: Annotated[int, typer.Option(help="Threads that ask the store 50 queries each at once.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """A query through a retriever or a vector store takes at most 0.3 ms longer than by store.search(), top 10 (goal: p50).

    And of 20 threads that ask at once, the slowest hundredth of the queries takes at most 10 times the p50 of one thread.
    """
    ready = make_documents(documents)
    asked = {f"consulta {number}": vector.prune(max_terms=QUERY_TERMS) for number, (_, vector, _) in enumerate(ready[:queries])}
    results: dict[str, Any] = {}
    crowds: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for engine in engines.split(","):
            with open_store(f"{engine}:{Path(folder) / engine}", encoder=KnownQueries(asked), max_batch_documents=1000) as store:
                store.upsert_vectors(ready)
                store.finish_loading()
                results[engine] = overheads(_measured(_faces(store), list(asked), rounds))
                one_thread = results[engine]["store.search"]["p50"]
                crowds[f"{engine}, {threads} threads"] = crowd(_crowded(store, list(asked), threads), one_thread)
                results[f"{engine}, async"] = overheads(asyncio.run(_ameasured(_async_faces(store), list(asked), rounds)))
    settings = {"documents": documents, "queries": len(asked), "rounds": rounds, "top_k": TOP_K}
    if as_json:
        content = {
            "benchmark": "faces",
            "settings": settings,
            "machine": machine(),
            "goal_ms": GOAL_MS,
            "faces": results,
            "threads": crowds,
        }
        typer.echo(json.dumps(content, indent=2))
        return
    typer.echo(f"faces: {', '.join(f'{key} {value}' for key, value in (settings | machine()).items())}\n")
    typer.echo(f"{'milliseconds':50}     p50     p95     longer than the store: p50     p95")
    for where, measured in results.items():
        for face, of in measured.items():
            extra = f"{of['extra_p50']:30.3f}  {of['extra_p95']:6.3f}   {of['verdict']}" if "extra_p50" in of else ""
            typer.echo(f"{f'{where}: {face}':50}  {of['p50']:6.3f}  {of['p95']:6.3f}  {extra}".rstrip())
    typer.echo(f"\n{'at once':50}     p50     p99     p99 by the p50 of one thread")
    for where, of in crowds.items():
        typer.echo(f"{f'{where}: store.search':50}  {of['p50']:6.3f}  {of['p99']:6.3f}  {of['times']:30.1f}   {of['verdict']}")


def overheads(measured: Milliseconds) -> dict[str, dict[str, Any]]:
    """Per face p50 and p95, and those of what each query took longer than by the first face, which is the store itself."""
    (name, own), *others = measured.items()
    found: dict[str, dict[str, Any]] = {name: _percentiles("", own)}
    for face, each in others:
        extra = _percentiles("extra_", [mine - stores for mine, stores in zip(each, own, strict=True)])
        found[face] = _percentiles("", each) | extra | {"verdict": "ok" if extra["extra_p50"] <= GOAL_MS else "missed"}
    return found


def crowd(milliseconds: list[float], one_thread: float) -> dict[str, Any]:
    """p50 and p99 of queries asked at once, and how many times the p50 of one thread the latter is."""
    found = _percentiles("", milliseconds, (50, 99))
    return found | {"times": found["p99"] / one_thread, "verdict": "ok" if found["p99"] <= GOAL_TIMES * one_thread else "missed"}


def _percentiles(prefix: str, milliseconds: list[float], shares: tuple[int, ...] = (50, 95)) -> dict[str, Any]:
    return {f"{prefix}p{share}": round(float(np.percentile(milliseconds, share)), 4) for share in shares}


def _faces(store: Store) -> dict[str, Ask]:
    vectors, nodes = SpladeVectorStore(store), LlamaIndexVectorStore(store)
    return {
        "store.search": lambda query: store.search(query, TOP_K),
        "LangChain retriever": SpladeRetriever(store=store, k=TOP_K).invoke,
        "LangChain vector store": lambda query: vectors.similarity_search_with_score(query, TOP_K),
        "LangChain vector store's retriever": vectors.as_retriever(search_kwargs={"k": TOP_K}).invoke,
        "LlamaIndex retriever": LlamaIndexRetriever(store, TOP_K).retrieve,
        "LlamaIndex vector store": lambda query: nodes.query(VectorStoreQuery(query_str=query, similarity_top_k=TOP_K)),
    }


def _async_faces(store: Store) -> dict[str, Callable[[str], Awaitable[object]]]:
    vectors, nodes = SpladeVectorStore(store), LlamaIndexVectorStore(store)
    return {
        "store.asearch": lambda query: store.asearch(query, TOP_K),
        "LangChain retriever": SpladeRetriever(store=store, k=TOP_K).ainvoke,
        "LangChain vector store": lambda query: vectors.asimilarity_search_with_score(query, TOP_K),
        "LangChain vector store's retriever": vectors.as_retriever(search_kwargs={"k": TOP_K}).ainvoke,
        "LlamaIndex retriever": LlamaIndexRetriever(store, TOP_K).aretrieve,
        "LlamaIndex vector store": lambda query: nodes.aquery(VectorStoreQuery(query_str=query, similarity_top_k=TOP_K)),
    }


def _measured(asks: Mapping[str, Ask], queries: list[str], rounds: int) -> Milliseconds:
    """Every query by every face in turn, so that all meet the same neighbours on the machine."""
    found: Milliseconds = {face: [] for face in asks}
    for number, query, face in _turns(list(asks), queries, rounds):
        started = time.perf_counter()
        asks[face](query)
        if number:
            found[face].append(1000 * (time.perf_counter() - started))
    return found


async def _ameasured(asks: Mapping[str, Callable[[str], Awaitable[object]]], queries: list[str], rounds: int) -> Milliseconds:
    found: Milliseconds = {face: [] for face in asks}
    for number, query, face in _turns(list(asks), queries, rounds):
        started = time.perf_counter()
        await asks[face](query)
        if number:
            found[face].append(1000 * (time.perf_counter() - started))
    return found


def _crowded(store: Store, queries: list[str], threads: int) -> list[float]:
    """Milliseconds of each query of all threads, which begin together and each with another query."""
    together = threading.Barrier(threads)

    def ask(number: int) -> list[float]:
        found = []
        together.wait()
        for place in range(QUERIES_A_THREAD):
            started = time.perf_counter()
            store.search(queries[(number + place) % len(queries)], TOP_K)
            found.append(1000 * (time.perf_counter() - started))
        return found

    with ThreadPoolExecutor(threads) as pool:
        return [each for of in pool.map(ask, range(threads)) for each in of]


def _turns(faces: list[str], queries: list[str], rounds: int) -> Iterator[tuple[int, str, str]]:
    """(round, query, face); round 0 is not measured, and every other one goes backwards through the faces."""
    for number in range(rounds + 1):
        for query in queries:
            for face in faces if number % 2 else reversed(faces):
                yield number, query, face
