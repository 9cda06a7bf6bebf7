"""What it costs to search documents of several passages: against as many short documents as there are passages, in the same run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.harness.machine import disk_bytes
from benchmarks.harness.rounds import Rates, Ratio, compare, measure, show
from benchmarks.stores.load import fresh_index, own_opensearch
from benchmarks.workloads.ready_vectors import ReadyVectors
from benchmarks.workloads.synthetic import make_collection
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, EntryPassage, Store
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

TOP_KS = (10, 1000)
LARGEST = 1.3  # times as long as over short documents
CHARACTERS = 600  # of a passage
TEXT = ("a multa de trânsito pode ser contestada no prazo de trinta dias " * 10)[:CHARACTERS]


def passages(
    count: Annotated[int, typer.Option("--passages", help="Passages, and short documents beside them.", min=1000)] = 90_000,
    each: Annotated[int, typer.Option(help="Passages of a document.", min=2)] = 9,
    queries: Annotated[int, typer.Option(help="Queries of a round.", min=1)] = 50,
    engines: Annotated[str, typer.Option(help="Engines in this process, separated by commas.")] = "numba,edge",
    url: Annotated[str | None, typer.Option(help="An OpenSearch beside them, such as http://127.0.0.1:9200.")] = None,
    start_opensearch: Annotated[bool, typer.Option("--start-opensearch", help="Start an OpenSearch for the measurement.")] = False,
    rounds: Annotated[int, typer.Option(help="Rounds of every measurement.", min=1)] = 5,
    folder: Annotated[Path | None, typer.Option(help="Where stores are written (default: the temporary folder).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Search over passages of long documents takes at most 1.3 times as long as over as many short documents.

    Passages of a document are alike: they share their heaviest term, so that one document has several of the best.
    """
    batch, asked = make_collection(count // each * each, queries, drawn=40)
    rates, comparisons, room = Rates(), list[Ratio](), dict[str, int]()

    def compared(engine: str, at: str, options: dict[str, Any]) -> None:
        with _filled(f"{at}-short", options, _short(batch)) as short, _filled(f"{at}-long", options, _long(batch, each)) as long:
            _measure({"short": short, "long": long}, engine, asked, rounds, rates, comparisons)

    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        for engine in engines.split(","):
            compared(engine, f"{engine}:{temporary / engine}", {})
            places = {kind: temporary / f"{engine}-{kind}" for kind in ("short", "long")}
            room |= {f"bytes a passage, {engine} {kind}": disk_bytes(place) // len(batch) for kind, place in places.items()}
        server = stack.enter_context(own_opensearch()) if start_opensearch else url
        if server is not None:
            compared("opensearch", f"opensearch+{server}/{stack.enter_context(fresh_index(server))}", {"replicas": 0})
    settings = {"passages": len(batch), "of a document": each, "queries": queries, **room}
    show("passages", settings, rates, comparisons, as_json=as_json, unit="queries")


def _measure(stores: dict[str, Store], engine: str, asked: list[SparseVector], rounds: int, rates: Rates, comparisons: list[Ratio]) -> None:
    for top_k in TOP_KS:
        for payload in (False, True):
            what = f"{engine} top {top_k:,}, {'payloads' if payload else 'ids'}"
            runners = {f"{what}, {kind}": _searching(store, asked, top_k, payload) for kind, store in stores.items()}
            found = measure(runners, rounds)
            rates |= found
            # payloads are of whole documents: of a long one there is more to read, whichever way it was found
            goal = None if payload else 1 / LARGEST
            comparisons.append(compare(what, found, f"{what}, long", f"{what}, short", goal))


def _searching(store: Store, asked: list[SparseVector], top_k: int, payload: bool) -> Callable[[], float]:
    def run() -> float:
        started = time.perf_counter()
        for query in asked:
            store.search(query, top_k, with_payload=payload)
        return len(asked) / (time.perf_counter() - started)

    return run


def _filled(url: str, settings: dict[str, Any], entries: Iterator[Entry]) -> Store:
    store = open_store(url, encoder=ReadyVectors(), max_batch_documents=1000, settings=settings)
    with store.loading():
        store.upsert_vectors(entries)
    store.finish_loading()
    return store


def _short(batch: SparseBatch) -> Iterator[Entry]:
    return (Entry(f"d{n:08}", vector, {"text": TEXT}, "0" * 32) for n, vector in enumerate(batch))


def _long(batch: SparseBatch, each: int) -> Iterator[Entry]:
    heaviest = [int(vector.term_ids[np.argmax(vector.weights)]) for vector in batch]
    order = np.argsort(heaviest, kind="stable").tolist()
    for number, begin in enumerate(range(0, len(order), each)):
        vectors = [batch[row] for row in order[begin : begin + each]]
        spans = [EntryPassage(n, n * CHARACTERS, (n + 1) * CHARACTERS, vector) for n, vector in enumerate(vectors)]
        yield Entry(f"d{number:08}", vectors[0], {"text": TEXT * each}, "0" * 32, None, tuple(spans))
