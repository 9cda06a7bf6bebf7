"""The exact index as it grows: latency, bytes, building and memory, beside what reading its postings costs at least, and other engines."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.engines import open_engine
from benchmarks.engines.base import Hits, Query, Settings
from benchmarks.harness.machine import machine
from benchmarks.harness.memory import status_bytes
from benchmarks.index.growth_picture import draw_growth
from benchmarks.workloads.preparation import write_ready
from benchmarks.workloads.ready_vectors import VOCABULARY
from benchmarks.workloads.synthetic import stream_collection
from splade_ptbr_connectors.atomic import write_atomically
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

TOP_KS = (10, 1000)
WARM = 20  # queries before those that are timed
POSTING_BYTES = 3  # a row within its window in 16 bits, an impact in 8
GIB = 2**30
Row = dict[str, Any]


def growth(
    documents: Annotated[str, typer.Option(help="Sizes to measure, separated by commas.")] = "500000,1000000,2000000,4000000,8800000",
    queries: Annotated[int, typer.Option(help="Queries, each measured by itself.", min=1)] = 100,
    rounds: Annotated[int, typer.Option(help="Rounds; of a query the best one counts.", min=1)] = 3,
    rivals: Annotated[str, typer.Option(help="Other engines, separated by commas, as `run` calls them, such as edge,seismic.")] = "",
    rivals_up_to: Annotated[int, typer.Option(help="Largest size that the other engines are built for.", min=1)] = 1_000_000,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the index here, and take it from here next time (default: a temporary folder).")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the curves into this file, .png or .svg.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """How the exact index grows: one is built for the largest size, and of it the first so many documents are searched."""
    sizes = _sizes(documents)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        home = folder or Path(temporary)
        windows, asked, built = _built(home, sizes[-1], queries)
        speed = _bytes_per_second()
        rows = []
        for size in sizes:
            index = _first(windows, size)
            row = _measured(index, asked, rounds, speed)
            if size <= rivals_up_to:
                for name in filter(None, rivals.split(",")):
                    row |= _rival(name, Path(temporary) / f"{name}-{size}", index, asked, rounds)
            rows.append(row)
    facts = built | {"memory read, GiB/s": speed / GIB} | _exponents(rows)
    if picture is not None:
        draw_growth(picture, rows)
    _show(rows, facts, as_json=as_json, queries=len(asked), rounds=rounds)


def _sizes(text: str) -> list[int]:
    try:
        sizes = sorted({int(size) for size in text.split(",")})
    except ValueError:
        sizes = []
    if not sizes or sizes[0] < 1:
        raise ConfigError(f"--documents {text!r}: sizes are whole numbers above 0, separated by commas, such as 500000,1000000.")
    return sizes


# -- building --------------------------------------------------------------------------------------------------------------


def _built(home: Path, size: int, queries: int) -> tuple[Sequence[Any], list[SparseVector], Row]:
    """The windows of an index of so many documents, which may be in `home` already; queries; what the building took."""
    from splade_ptbr_connectors.stores.numba import ImpactIndex

    stream, asked = stream_collection(size, queries)
    folder, told = home / f"growth-{size}", home / f"growth-{size}.json"
    if not told.exists():
        clock = _Clock(stream, size)
        started = time.perf_counter()
        index = ImpactIndex.create(folder, clock)
        seconds = time.perf_counter() - started - clock.waited
        facts = {"built, documents/s": size / seconds, "bytes a document": index.nbytes / size, "terms a document": index.postings / size}
        if clock.peak:
            facts["peak anonymous MiB while building, the drawing included"] = clock.peak / 2**20
        write_atomically(told, json.dumps(facts))
    return ImpactIndex.open(folder).searcher().windows, asked, json.loads(told.read_text(encoding="utf-8"))


class _Clock:
    """Passes batches on, and counts the seconds that drawing them takes, and the memory meanwhile."""

    def __init__(self, batches: Iterable[SparseBatch], documents: int) -> None:
        self.batches, self.documents, self.waited, self.peak = iter(batches), documents, 0.0, 0

    def __iter__(self) -> Iterator[SparseBatch]:
        with tqdm(total=self.documents, unit="document", desc="built") as bar:
            while True:
                started = time.perf_counter()
                batch = next(self.batches, None)
                self.waited += time.perf_counter() - started
                self.peak = max(self.peak, status_bytes("RssAnon") or 0)
                if batch is None:
                    return
                yield batch
                bar.update(len(batch))


# -- measurements ----------------------------------------------------------------------------------------------------------


def _first(windows: Sequence[Any], size: int) -> Any:
    """The index of the first windows, as many as hold so many documents."""
    from splade_ptbr_connectors.stores.numba import ImpactIndex
    from splade_ptbr_connectors.stores.numba.postings import WINDOW

    return ImpactIndex(Path(), windows[: -(-size // WINDOW)], exact=True)


def _measured(index: Any, asked: list[SparseVector], rounds: int, speed: float) -> Row:
    touched = _touched_bytes(index.searcher().windows, asked)
    row: Row = {"documents": len(index), "postings read, MB a query": touched / 1e6, "at least, ms": touched / speed * 1000}
    for top_k in TOP_KS:
        row[f"top {top_k}, ms"] = _mean_ms(index.search, top_k, asked, rounds)
    return row | {"top 10, by the least": row["top 10, ms"] / row["at least, ms"]}


def _rival(name: str, folder: Path, exact: Any, asked: list[SparseVector], rounds: int) -> Row:
    """Another engine with the same documents and queries."""
    from splade_ptbr_connectors.stores.numba.index import joined

    def made() -> tuple[SparseBatch, SparseBatch]:
        return joined([window.batch() for window in exact.searcher().windows]), SparseBatch.from_vectors(asked)

    workload = write_ready(folder / "workload", f"synthetic, {len(exact):,} documents", made)
    engine = open_engine(name, workload, folder / "index", Settings({}, {}, {}))
    engine.home.mkdir()
    started = time.perf_counter()
    engine.build()
    row: Row = {f"{name}: built, documents/s": len(workload.documents) / (time.perf_counter() - started)}
    row[f"{name}: bytes a document"] = (engine.bytes_on_disk() or 0) / len(workload.documents)
    engine.open()

    def search(query: SparseVector, top_k: int) -> Hits:
        return engine.search(Query("", "", query), top_k)

    for top_k in TOP_KS:
        row[f"{name}: top {top_k}, ms"] = _mean_ms(search, top_k, asked, rounds)
        pairs = [(exact.search(query, top_k)[0], search(query, top_k).rows) for query in asked]
        row[f"{name}: of the exact top {top_k}"] = statistics.mean(len(np.intersect1d(*pair)) / max(1, len(pair[0])) for pair in pairs)
    engine.close()
    return row


def _mean_ms(search: Callable[[SparseVector, int], object], top_k: int, asked: list[SparseVector], rounds: int) -> float:
    best = [float("inf")] * len(asked)
    for query in asked[:WARM]:
        search(query, top_k)
    for _ in range(rounds):
        for number, query in enumerate(asked):
            started = time.perf_counter()
            search(query, top_k)
            best[number] = min(best[number], time.perf_counter() - started)
    return statistics.mean(best) * 1000


def _touched_bytes(windows: Sequence[Any], asked: list[SparseVector]) -> float:
    """Bytes of all postings of a query's terms, on average: lists, or the columns that stand for long ones."""
    of_term = np.zeros(VOCABULARY)
    for window in windows:
        held = window.arrays
        lists = POSTING_BYTES * np.diff(held["start"])
        of_term[held["terms"]] += np.where(held["column"] >= 0, held["columns"].shape[1], lists)
    return statistics.mean(float(of_term[query.term_ids].sum()) for query in asked)


def _bytes_per_second() -> float:
    """How fast one thread reads memory: the best of some sums over a GiB."""
    array: NDArray[np.uint64] = np.ones(GIB // 8, np.uint64)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        array.sum()
        best = min(best, time.perf_counter() - started)
    return array.nbytes / best


def _exponents(rows: list[Row]) -> Row:
    """The b of ms = a * documents ** b, by least squares of the logarithms."""
    if len(rows) < 2:
        return {}
    documents = np.log([row["documents"] for row in rows])
    names = [f"top {top_k}, ms" for top_k in TOP_KS]
    return {f"exponent of {name}": float(np.polyfit(documents, np.log([row[name] for row in rows]), 1)[0]) for name in names}


def _show(rows: list[Row], facts: Row, *, as_json: bool, **settings: Any) -> None:
    if as_json:
        typer.echo(json.dumps({"benchmark": "growth", "settings": settings, "machine": machine(), "facts": facts, "rows": rows}, indent=2))
        return
    typer.echo(", ".join(f"{key} {value}" for key, value in {**settings, **machine()}.items()) + "\n")
    for row in rows:
        typer.echo(
            "\n".join(f"{name:32} {value:14,.3f}" if name != "documents" else f"{value:,} documents" for name, value in row.items()) + "\n"
        )
    for name, value in facts.items():
        typer.echo(f"{name:58} {value:12,.3f}")
