"""What the tables of a report hold: figures as text, the best of a column, and a line on what each column means."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from benchmarks.comparison.report.text import NONE, facts, megabytes, one_line, share
from benchmarks.comparison.results import MEASURES, THREADS, TOP_KS, EngineResult, PrunedResult, Results
from splade_ptbr_connectors.plots.text import number

Item = TypeVar("Item", contravariant=True)
PERCENTILES = ("p50", "p95", "p99")
MORE, LESS = 1, -1  # which values of a column are better
BEST = "the best of its column, where at least two are measured and differ in the digits shown"


@dataclass(frozen=True)
class Table:
    """Cells as plain text, escaped by whoever writes them.

    Attributes:
        figures: the columns that hold figures, the others hold text.
        best: (row, column) of the cells to emphasise.
        explained: columns and what they mean.
        empty: what to say in place of a table without rows.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    figures: frozenset[int]
    explained: list[tuple[str, str]]
    best: frozenset[tuple[int, int]] = frozenset()
    empty: str = ""


@dataclass(frozen=True)
class _Column(Generic[Item]):
    """A column of figures; `better` is 0 where neither more nor less is clearly better."""

    head: str
    of: Callable[[Item], float | None]
    show: Callable[[float | None], str] = number
    better: int = 0


def all_tables(results: Results) -> list[Table]:
    """The tables of a report in their order; those of failures and of pruning only if there are any."""
    tables = [quality_and_speed(results), cost(results), agreement(results)]
    tables += [failures(results)] if any(engine.failure for engine in results.engines) else []
    tables += [pruning(results)] if results.pruning else []
    return [*tables, versions(results)]


def summary(results: Results) -> list[str]:
    """What was searched, and on which machine: two lines."""
    about = results.workload
    documents = f"{about.documents:,} documents of {number(about.terms_per_document)} terms"
    queries = f"{about.queries:,} queries of {number(about.terms_per_query)} terms, {about.judged_queries:,} of them judged"
    workload = f"Workload: {one_line(about.name)}, {documents}; {queries}; model {one_line(about.model)}."
    return [workload, f"Machine: {facts(results.machine)}."]


def quality_and_speed(results: Results) -> Table:
    """How good the answers are, and how fast they come."""
    columns: list[_Column[EngineResult]] = [_quality(measure, MORE) for measure in MEASURES]
    columns += [_Column("ms query vector p50", lambda engine: engine.query_ms.p50 if engine.query_ms else None, better=LESS)]
    columns += [_latency(top_k, percentile, LESS) for top_k in TOP_KS for percentile in PERCENTILES]
    columns += [_rate(threads) for threads in THREADS]
    few, many = TOP_KS
    explained = [
        ("nDCG@10, nDCG@20", "how well the first 10 (20) hits are ordered by the judgments, 0 to 1; mean of the judged queries"),
        ("RR@10", "one by the rank of the first relevant hit among the first 10, 0 without one; mean of the judged queries"),
        ("R@1000", "share of the relevant documents among the first 1000 hits; mean of the judged queries"),
        (
            "ms query vector p50",
            "milliseconds in which half of the queries became vectors, one at a time; what the next columns say comes on top of it",
        ),
        (
            _latency_heads(few),
            f"milliseconds within which 50, 95 and 99 % of the queries are answered; {few} hits, one query at a time",
        ),
        (_latency_heads(many), f"the same with {many} hits; all on one thread, a query counts with its median over the rounds"),
        (f"queries/s, {' and '.join(map(str, THREADS))} threads", f"queries answered a second with {few} hits each, on so many threads"),
    ]
    return _of_engines("Quality and speed", results, columns, explained)


def cost(results: Results) -> Table:
    """What an index takes to make and to keep."""
    documents = results.workload.documents
    columns: list[_Column[EngineResult]] = [
        _Column("build s", _built("seconds"), better=LESS),
        _Column("documents/s", _built("documents_per_second"), better=MORE),
        _Column("disk MB", _built("bytes_on_disk"), megabytes, LESS),
        _Column("bytes/document", lambda engine: bytes_a_document(_built("bytes_on_disk")(engine), documents), better=LESS),
        _Column("build memory MB", _built("peak_memory"), megabytes, LESS),
        _Column("memory MB", lambda engine: engine.memory, megabytes, LESS),
    ]
    explained = [
        ("build s", "seconds from ready vectors (or texts) to an index on the disk, in a fresh process"),
        ("documents/s", "documents by these seconds"),
        ("disk MB, bytes/document", "size of the index on the disk in units of 1,000,000 bytes, and by the number of documents"),
        ("build memory MB", "most memory that the building process held at any time, an embedding model's too where it had to embed"),
        ("memory MB", "memory held after all queries were answered, with a server of its own; median of the rounds"),
    ]
    return _of_engines("Cost", results, columns, explained)


def agreement(results: Results) -> Table:
    """How far the hits are those of the exact ranking, and what is lost where."""
    columns = [column for top_k in TOP_KS for column in _agreement_columns(top_k)]
    explained = [
        ("agreement at k", "share of the k hits returned that belong to the exact top k by the float32 vectors; ties count as right"),
        ("engine error at k", "share of the k hits returned that are wrong even by the weights the engine keeps: what its search loses"),
        (
            "quantisation loss at k",
            "share of the exact top k by the weights it keeps that is wrong by float32: what its rounding loses",
        ),
    ]
    return _of_engines("Agreement with the exact ranking", results, columns, explained)


def failures(results: Results) -> Table:
    """Engines that did not get through, with the step and the reason."""
    failed = [(engine.name, engine.failure) for engine in results.engines if engine.failure]
    rows = [[one_line(name), one_line(failure.step), one_line(failure.message)] for name, failure in failed]
    explained = [("step", "where the engine stopped; what was measured before stays in the other tables")]
    return Table("Failures", ["engine", "step", "message"], rows, frozenset(), explained)


def pruning(results: Results) -> Table:
    """The numba index over documents with fewer and fewer terms."""
    documents = results.workload.documents
    columns: list[_Column[PrunedResult]] = [
        _Column("terms/document", lambda pruned: pruned.terms_per_document),
        _Column("disk MB", lambda pruned: pruned.bytes_on_disk, megabytes),
        _Column("bytes/document", lambda pruned: bytes_a_document(pruned.bytes_on_disk, documents)),
        *(_quality(measure) for measure in MEASURES),
        *(_latency(top_k, percentile) for top_k in TOP_KS for percentile in PERCENTILES),
        *(_Column(f"agreement at {top_k}", _at(top_k), share) for top_k in TOP_KS),
    ]
    explained = [
        ("pruning", "how terms were dropped from the documents before they were indexed; none: all are kept"),
        ("terms/document", "mean number of terms that are left in a document"),
        ("agreement at k", "share of the k hits returned that belong to the exact top k without pruning"),
        ("other columns", "as in the tables above, of the numba index"),
    ]
    names = [pruned.pruning for pruned in results.pruning]
    return _figures("Static pruning", "pruning", names, results.pruning, columns, explained)


def versions(results: Results) -> Table:
    """What a reader needs to run an engine again."""
    rows = [[one_line(engine.name), str(engine.rounds), facts(engine.facts)] for engine in results.engines]
    explained = [("rounds", "how many times everything was measured, in turn with the other engines")]
    head = ["engine", "rounds", "versions and settings"]
    return Table("Versions and settings", head, rows, frozenset({1}), explained, empty="No engine was measured.")


def bytes_a_document(size: float | None, documents: int) -> float | None:
    """Bytes of an index by the number of its documents."""
    return size / documents if size is not None and documents else None


# -- columns --------------------------------------------------------------------------------------------------------------


def _quality(measure: str, better: int = 0) -> _Column[EngineResult | PrunedResult]:
    return _Column(measure, lambda result: result.quality.get(measure), share, better)


def _latency(top_k: int, percentile: str, better: int = 0) -> _Column[EngineResult | PrunedResult]:
    def of(result: EngineResult | PrunedResult) -> float | None:
        latency = result.latency_ms.get(top_k)
        return None if latency is None else float(getattr(latency, percentile))

    return _Column(f"ms top {top_k} {percentile}", of, better=better)


def _latency_heads(top_k: int) -> str:
    return f"ms top {top_k} {', '.join(PERCENTILES)}"


def _rate(threads: int) -> _Column[EngineResult]:
    return _Column(_rate_head(threads), lambda engine: engine.queries_per_second.get(TOP_KS[0], {}).get(threads), better=MORE)


def _rate_head(threads: int) -> str:
    return f"queries/s, {threads} thread{'s' * (threads > 1)}"


def _built(field: str) -> Callable[[EngineResult], float | None]:
    return lambda engine: getattr(engine.build, field, None)


def _agreement_columns(top_k: int) -> list[_Column[EngineResult]]:
    def column(name: str, better: int) -> _Column[EngineResult]:
        def of(engine: EngineResult) -> float | None:
            return getattr(engine.agreement.get(top_k), name, None)

        return _Column(f"{name.replace('_', ' ')} at {top_k}", of, share, better)

    return [column("agreement", MORE), column("engine_error", LESS), column("quantisation_loss", LESS)]


def _at(top_k: int) -> Callable[[PrunedResult], float | None]:
    return lambda pruned: pruned.agreement.get(top_k)


# -- tables of columns ----------------------------------------------------------------------------------------------------


def _of_engines(title: str, results: Results, columns: Sequence[_Column[EngineResult]], explained: list[tuple[str, str]]) -> Table:
    names = [engine.name for engine in results.engines]
    return _figures(title, "engine", names, results.engines, columns, explained)


def _figures(
    title: str, first: str, names: list[str], items: Sequence[Any], columns: Sequence[_Column[Any]], explained: list[tuple[str, str]]
) -> Table:
    values = [[column.of(item) for item in items] for column in columns]
    shown = [list(map(column.show, each)) for column, each in zip(columns, values, strict=True)]
    rows = [[one_line(name), *(cells[row] for cells in shown)] for row, name in enumerate(names)]
    best = {(row, place) for place, column in enumerate(columns, 1) for row in _best(column, values[place - 1], shown[place - 1])}
    if best:
        explained = [*explained, ("Bold", BEST)]
    head = [first, *(column.head for column in columns)]
    return Table(title, head, rows, frozenset(range(1, len(head))), explained, frozenset(best), "No engine was measured.")


def _best(column: _Column[Any], values: list[float | None], shown: list[str]) -> list[int]:
    """Rows that show the best value, unless all that have one show the same."""
    there = [row for row, value in enumerate(values) if value is not None and math.isfinite(value) and shown[row] != NONE]
    if not column.better or len({shown[row] for row in there}) < 2:
        return []
    best = shown[max(there, key=lambda row: column.better * (values[row] or 0.0))]
    return [row for row in there if shown[row] == best]
