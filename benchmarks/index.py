"""The exact index against a plain scatter-add, its own ablations and the embedded engine: latency, throughput, build, size, opening."""

from __future__ import annotations

import heapq
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from splade_ptbr_connectors.extras import require
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

from .report import machine

VOCABULARY, TOPICS, TERMS_A_TOPIC = 29_794, 400, 4_000
CHUNK = 32_768  # documents made at a time
TOP_KS = (10, 1000)
SOME = 20  # queries that are asked where all would take long
Search = Callable[[SparseVector, int], tuple[NDArray[Any], NDArray[Any]]]


def index(
    documents: Annotated[int, typer.Option(help="Documents of the synthetic collection.", min=1000)] = 528_032,
    queries: Annotated[int, typer.Option(help="Queries, each measured by itself.", min=1)] = 250,
    rounds: Annotated[int, typer.Option(help="Rounds; the best time of a query counts.", min=1)] = 5,
    edge: Annotated[bool, typer.Option(help="Load and measure the embedded engine too (a minute).")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where indexes are written (default: the temporary folder).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")] = False,
) -> None:
    """Exact top 10 at least 10 times faster than a plain scatter-add, top 1000 4 times, and what that costs to build and to keep."""
    from splade_ptbr_connectors.stores.numba import ImpactIndex

    batch, asked = make_collection(documents, queries)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        home = Path(temporary)
        facts = _build(home, batch)
        exact, rounded = ImpactIndex.open(home / "exact"), ImpactIndex.open(home / "rounded")
        sides: dict[str, Search] = {
            "plain scatter-add": plain_scatter_add(batch),
            "scatter-add, heap selection": plain_scatter_add(batch, by_heap=True),
            "ours": exact.search,
            "ours, 8-bit impacts only": rounded.search,
            "ours, every document scored": lambda query, top_k: _exhaustive(exact, query, top_k),
        }
        if edge:
            sides["Edge"] = _edge(home / "edge", batch, facts)
        _check(sides, asked, facts)
        latencies = _latencies(sides, asked, rounds)
        facts |= _throughput(exact, asked, rounds) | _loss(exact, rounded, asked)
        exact.close()
        rounded.close()
    _show(facts, latencies, _goals(facts, latencies), as_json=as_json, documents=documents, queries=len(asked), rounds=rounds)


# -- the collection --------------------------------------------------------------------------------------------------------


def make_collection(documents: int, queries: int) -> tuple[SparseBatch, list[SparseVector]]:
    """The same every time: two of 400 topics each (Zipf within one) and background terms, gamma weights of at most 3.5."""
    random = np.random.default_rng(0)
    draw = _Topics(random)
    parts = [draw.vectors(min(CHUNK, documents - begin), 120, 0.6, 0.45) for begin in range(0, documents, CHUNK)]
    from splade_ptbr_connectors.stores.numba.index import joined

    return joined(parts), list(draw.vectors(queries, 35, 0.7, 0.6))


class _Topics:
    """Draws vectors: a first and a second topic, and terms that belong to all of them."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.topics = np.array([random.permutation(VOCABULARY)[:TERMS_A_TOPIC] for _ in range(TOPICS)])
        self.background = random.permutation(VOCABULARY)
        self.in_topic = _cumulative(1 / np.arange(1, TERMS_A_TOPIC + 1) ** 0.9)
        self.in_background = _cumulative(1 / (np.arange(1, VOCABULARY + 1) + 5))

    def vectors(self, rows: int, mean: float, topic_share: float, scale: float) -> SparseBatch:
        """`rows` vectors; terms that are drawn twice count once."""
        sizes = np.maximum(3, self.random.lognormal(np.log(mean), 0.35, rows).astype(np.int64))
        topical = (sizes * topic_share).astype(np.int64)
        drawn = [
            self._of_topics(np.arange(rows), (topical * 0.975).astype(np.int64)),
            self._of_topics(np.arange(rows), (topical * 0.325).astype(np.int64)),
            self._of_background(np.arange(rows), ((sizes - topical) * 1.3).astype(np.int64)),
        ]
        places = np.unique(np.concatenate(drawn))
        indptr = np.searchsorted(places, np.arange(rows + 1) * VOCABULARY)
        weights = np.minimum(self.random.gamma(1.2, scale, len(places)) + 0.01, 3.5).astype(np.float32)
        return SparseBatch(indptr, (places % VOCABULARY).astype(np.uint32), weights)

    def _of_topics(self, rows: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
        topic = np.repeat(self.random.integers(0, TOPICS, len(rows)), counts)
        ranks = np.searchsorted(self.in_topic, self.random.random(len(topic)))
        return np.repeat(rows, counts) * VOCABULARY + self.topics[topic, np.minimum(ranks, TERMS_A_TOPIC - 1)]

    def _of_background(self, rows: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
        ranks = np.searchsorted(self.in_background, self.random.random(int(counts.sum())))
        return np.repeat(rows, counts) * VOCABULARY + self.background[np.minimum(ranks, VOCABULARY - 1)]


def _cumulative(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    summed: NDArray[np.float64] = np.cumsum(shares) / shares.sum()
    return summed


# -- what is measured against ----------------------------------------------------------------------------------------------


def plain_scatter_add(batch: SparseBatch, *, by_heap: bool = False) -> Search:
    """The textbook index: for each term an array of rows and one of weights in typed dicts, scores added up in an array.

    Args:
        by_heap: choose the top k by a heap within the compiled code; otherwise all documents that score are handed to numpy,
            which partitions and sorts them.
    """
    numba = require("numba", "the benchmark")
    typed, types = require("numba.typed", "the benchmark"), require("numba.types", "the benchmark")
    rows_of = typed.Dict.empty(types.int64, types.int32[::1])
    weights_of = typed.Dict.empty(types.int64, types.float32[::1])
    order = np.argsort(batch.term_ids, kind="stable")
    rows = np.repeat(np.arange(len(batch), dtype=np.int32), np.diff(batch.indptr))[order]
    weights, ends = batch.weights[order], np.cumsum(np.bincount(batch.term_ids))
    for term, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        rows_of[term], weights_of[term] = rows[begin:end].copy(), weights[begin:end].copy()

    def add_up(rows_of: Any, weights_of: Any, terms: Any, query_weights: Any, count: Any) -> Any:
        scores = np.zeros(count, np.float32)
        for i in range(len(terms)):
            rows, weights = rows_of[np.int64(terms[i])], weights_of[np.int64(terms[i])]
            for j in range(len(rows)):
                scores[rows[j]] += query_weights[i] * weights[j]
        return scores

    summed = numba.njit(nogil=True)(add_up)

    def scoring(rows_of: Any, weights_of: Any, terms: Any, query_weights: Any, count: Any) -> Any:
        scores = summed(rows_of, weights_of, terms, query_weights, count)
        hits = np.flatnonzero(scores > 0)
        return hits, scores[hits]

    def heaped(rows_of: Any, weights_of: Any, terms: Any, query_weights: Any, count: Any, top_k: Any) -> Any:
        scores = summed(rows_of, weights_of, terms, query_weights, count)
        heap = [(np.float32(0), np.int64(0)) for _ in range(top_k)]
        for row in range(count):
            if scores[row] > heap[0][0]:
                heapq.heapreplace(heap, (scores[row], -row))
        heap.sort()
        return np.array([-entry[1] for entry in heap[::-1]]), np.array([entry[0] for entry in heap[::-1]])

    compiled, chosen = numba.njit(nogil=True)(scoring), numba.njit(nogil=True)(heaped)

    def search(query: SparseVector, top_k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        known = query.term_ids[query.term_ids < len(ends)]
        if by_heap:
            found: tuple[NDArray[Any], NDArray[Any]] = chosen(rows_of, weights_of, known, query.weights, len(batch), top_k)
            return found
        hits, scores = compiled(rows_of, weights_of, known, query.weights, len(batch))
        if len(scores) > top_k:
            best = np.argpartition(-scores, top_k)[:top_k]
            hits, scores = hits[best], scores[best]
        order = np.argsort(-scores)
        return hits[order], scores[order]

    return search


def _exhaustive(index: Any, query: SparseVector, top_k: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same arrays without bounds: every document that shares a term is scored by its own weights."""
    from splade_ptbr_connectors.stores.numba import ranking
    from splade_ptbr_connectors.stores.numba.kernels import find_slots

    searcher = index.searcher()
    space, found, by_slot = searcher._space(len(query))
    slots = np.empty((len(searcher.windows), len(query)), np.int32)
    find_slots(searcher._table, query.term_ids, slots)
    rows = found[0][: ranking.touched(searcher._table, slots, space[0], found[0])].copy()
    scores = np.empty(len(rows))
    ranking.score_rows(searcher._table, rows, scores, query.weights, slots, by_slot)
    best_rows, best = ranking.best(rows, scores, top_k)
    return searcher._numbered(best_rows)[:top_k], best[:top_k]


def _edge(home: Path, batch: SparseBatch, facts: dict[str, Any]) -> Search:
    import qdrant_edge

    from splade_ptbr_connectors import open_store

    from .load import Vocabulary

    started = time.perf_counter()
    store = open_store(f"edge:{home}", encoder=Vocabulary(), batch_size=2000)
    store.upsert_vectors((f"{row:09}", vector) for row, vector in enumerate(batch))
    store.finish_loading()
    facts["Edge: documents/s"] = len(batch) / (time.perf_counter() - started)
    facts["Edge: bytes a posting"] = sum(file.stat().st_blocks * 512 for file in home.rglob("*")) / len(batch.term_ids)
    shard = store._edge._shard  # type: ignore[attr-defined]  # the engine itself: no payloads, no ids, as ours

    def search(query: SparseVector, top_k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        vector = qdrant_edge.SparseVector(query.term_ids.tolist(), query.weights.tolist())
        request = qdrant_edge.QueryRequest(top_k, query=qdrant_edge.Query.Nearest(vector, using="splade"), with_payload=False)
        points = shard.query(request)
        return np.empty(0, np.int64), np.array([point.score for point in points])

    return search


# -- measurements ----------------------------------------------------------------------------------------------------------


def _build(home: Path, batch: SparseBatch) -> dict[str, Any]:
    from splade_ptbr_connectors.stores.numba import ImpactIndex

    parts = _parts(batch, 8192)
    ImpactIndex.create(home / "warm", parts[:1]).close()
    ImpactIndex.open(home / "warm").search(batch[0], 10)
    shutil.rmtree(home / "warm")
    facts: dict[str, Any] = {}
    for name, exact in (("exact", True), ("rounded", False)):
        started = time.perf_counter()
        ImpactIndex.create(home / name, parts, exact=exact).close()
        facts[f"{name}: built, documents/s"] = len(batch) / (time.perf_counter() - started)
        opened = []
        for _ in range(5):
            started = time.perf_counter()
            index = ImpactIndex.open(home / name)
            index.search(batch[0], 10)
            opened.append(time.perf_counter() - started)
            index.close()
        facts[f"{name}: opened, first search done, ms"] = min(opened) * 1000
        facts[f"{name}: bytes a posting on disk"] = index.nbytes / len(batch.term_ids)
    return facts


def _parts(batch: SparseBatch, size: int) -> list[SparseBatch]:
    starts = range(0, len(batch), size)
    cuts = [(begin, min(begin + size, len(batch))) for begin in starts]
    bounds = [(batch.indptr[begin], batch.indptr[end], batch.indptr[begin : end + 1]) for begin, end in cuts]
    return [SparseBatch(rows - first, batch.term_ids[first:last], batch.weights[first:last]) for first, last, rows in bounds]


def _check(sides: dict[str, Search], asked: list[SparseVector], facts: dict[str, Any]) -> None:
    """Every side once, which compiles it; scores of the exact ones agree with ours within float32."""
    for query in asked[:SOME]:
        for top_k in TOP_KS:
            _, expected = sides["ours"](query, top_k)
            for name, side in sides.items():
                _, scores = side(query, top_k)
                if "8-bit" not in name and not np.allclose(np.sort(scores)[::-1], expected, rtol=1e-4):
                    raise RuntimeError(f"{name} does not find what ours finds: the times cannot be compared")
    facts[f"first {SOME} queries"] = "scores of all exact sides agree"


def _latencies(sides: dict[str, Search], asked: list[SparseVector], rounds: int) -> dict[int, dict[str, list[float]]]:
    """Seconds of every query on every side: the best of the rounds, the sides in turn within each."""
    found: dict[int, dict[str, list[float]]] = {}
    for top_k in TOP_KS:
        best = {name: [float("inf")] * len(asked) for name in sides}
        for n, query in enumerate(asked):
            for turn in range(rounds):
                for name in list(sides) if turn % 2 else list(sides)[::-1]:
                    if "every document" in name and (turn or n >= SOME):
                        continue  # slow, and for information
                    started = time.perf_counter()
                    sides[name](query, top_k)
                    best[name][n] = min(best[name][n], time.perf_counter() - started)
        found[top_k] = {name: [seconds for seconds in each if np.isfinite(seconds)] for name, each in best.items()}
    return found


def _throughput(index: Any, asked: list[SparseVector], rounds: int) -> dict[str, Any]:
    batch, facts = SparseBatch.from_vectors(asked), dict[str, Any]()
    for top_k in TOP_KS:
        ratios, rates, work = [], {1: 0.0, 2: 0.0}, {1: float("inf"), 2: float("inf")}
        for _ in range(rounds + 1):
            seconds = {}
            for threads in (1, 2):
                started, before = time.perf_counter(), time.process_time()
                index.search_batch(batch, top_k, threads=threads)
                seconds[threads], busy = time.perf_counter() - started, time.process_time() - before
                work[threads] = min(work[threads], busy)
                rates[threads] = max(rates[threads], len(asked) / seconds[threads])
            ratios.append(seconds[1] / seconds[2])
        facts |= {f"queries/s, top {top_k}, {threads} thread{'s' * (threads > 1)}": rate for threads, rate in rates.items()}
        facts[f"two threads by one, top {top_k}"] = rates[2] / rates[1]
        facts[f"two threads by one, top {top_k}, median of rounds"] = statistics.median(ratios)
        facts[f"two threads by one, top {top_k}, by processor time"] = 2 * work[1] / work[2]  # were both cores free
    return facts


def _loss(exact: Any, rounded: Any, asked: list[SparseVector]) -> dict[str, Any]:
    """What rounding to 8 bits changes."""
    facts = {}
    for top_k in TOP_KS:
        pairs = [(exact.search(query, top_k)[0], rounded.search(query, top_k)[0]) for query in asked]
        facts[f"8-bit impacts: share of the exact top {top_k}"] = statistics.mean(
            len(np.intersect1d(mine, theirs)) / max(1, len(mine)) for mine, theirs in pairs
        )
    return facts


# -- the report ------------------------------------------------------------------------------------------------------------


def _goals(facts: dict[str, Any], latencies: dict[int, dict[str, list[float]]]) -> Iterator[tuple[str, float, str, float | None]]:
    """(what, measured, sign, goal)."""
    mean = {(top_k, name): statistics.mean(each) for top_k, sides in latencies.items() for name, each in sides.items()}
    for top_k, goal in ((10, 10.0), (1000, 4.0)):
        yield f"top {top_k}: plain scatter-add / ours", mean[top_k, "plain scatter-add"] / mean[top_k, "ours"], ">=", goal
        yield f"top {top_k}: scatter-add with a heap / ours", mean[top_k, "scatter-add, heap selection"] / mean[top_k, "ours"], ">=", None
        if (top_k, "Edge") in mean:
            yield f"top {top_k}: Edge / ours", mean[top_k, "Edge"] / mean[top_k, "ours"], ">=", 5.0 if top_k == 10 else None
        yield f"two threads by one, top {top_k}", facts[f"two threads by one, top {top_k}"], ">=", 1.8
    yield "built, documents/s", facts["exact: built, documents/s"], ">=", 200_000
    yield "opened, ms", facts["exact: opened, first search done, ms"], "<=", 50
    yield "8-bit impacts: bytes a posting", facts["rounded: bytes a posting on disk"], "<=", 4


def _show(
    facts: dict[str, Any],
    latencies: dict[int, dict[str, list[float]]],
    goals: Iterator[tuple[str, float, str, float | None]],
    *,
    as_json: bool,
    **settings: Any,
) -> None:
    rows = [(what, value, sign, goal, _met(value, sign, goal)) for what, value, sign, goal in goals]
    table = {f"top {k}": {name: _percentiles(each) for name, each in sides.items()} for k, sides in latencies.items()}
    if as_json:
        keys = ("what", "measured", "sign", "goal", "verdict")
        content = {"benchmark": "index", "settings": settings, "machine": machine(), "latency_ms": table, "facts": facts}
        typer.echo(json.dumps(content | {"goals": [dict(zip(keys, row, strict=True)) for row in rows]}, ensure_ascii=False, indent=2))
        return
    typer.echo(f"index: {', '.join(f'{key} {value}' for key, value in settings.items())}")
    typer.echo(", ".join(f"{key} {value}" for key, value in machine().items()) + "\n")
    for title, sides in table.items():
        typer.echo(f"{title:30} {'mean':>8} {'p50':>8} {'p95':>8} {'p99':>8}  ms, one thread")
        for name, each in sides.items():
            typer.echo(f"{name:30} " + " ".join(f"{each[key]:8.3f}" for key in ("mean", "p50", "p95", "p99")))
        typer.echo()
    for what, value in facts.items():
        typer.echo(f"{what:52} {value if isinstance(value, str) else f'{value:,.3f}'}")
    typer.echo()
    for what, value, sign, goal, verdict in rows:
        typer.echo(f"{what:52} {value:12,.2f}" + ("" if goal is None else f"   goal {sign} {goal:,g}: {verdict}"))


def _percentiles(seconds: list[float]) -> dict[str, float]:
    milliseconds = np.array(seconds) * 1000
    return {"mean": float(milliseconds.mean()), **{f"p{p}": float(np.percentile(milliseconds, p)) for p in (50, 95, 99)}}


def _met(value: float, sign: str, goal: float | None) -> str:
    if goal is None:
        return ""
    return "ok" if (value >= goal if sign == ">=" else value <= goal) else "missed"
