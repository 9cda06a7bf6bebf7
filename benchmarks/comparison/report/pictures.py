"""The pictures of a report, each made of the results alone; in place of a picture without data, the reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.comparison.report.bars import agreement_bars, latency_bars
from benchmarks.comparison.report.curves import UNPRUNED, lines, pruning_curves
from benchmarks.comparison.report.scatter import Dot, scatter
from benchmarks.comparison.report.tables import bytes_a_document
from benchmarks.comparison.report.text import names
from benchmarks.comparison.results import TOP_KS, Agreement, EngineResult, PrunedResult, Results
from benchmarks.harness.latency import Latency
from splade_ptbr_connectors.plots.picture import Picture

MEASURE = "nDCG@10"
FEW = TOP_KS[0]
UNJUDGED = f"agreement at {FEW} (nothing is judged)"
Value = Callable[[EngineResult], float | None]


@dataclass(frozen=True)
class Missing:
    """A picture that cannot be drawn, and why."""

    title: str
    why: str


def quality_by_latency(results: Results) -> Picture | Missing:
    """Up and to the left is better."""

    def p50(engine: EngineResult) -> float | None:
        return engine.latency_ms[FEW].p50 if FEW in engine.latency_ms else None

    return _scatter(results, "latency", p50, f"milliseconds of a query, top {FEW}, p50")


def quality_by_size(results: Results) -> Picture | Missing:
    """Up and to the left is better."""
    documents = results.workload.documents

    def size(engine: EngineResult) -> float | None:
        return bytes_a_document(engine.build.bytes_on_disk, documents) if engine.build else None

    return _scatter(results, "size", size, "bytes on the disk a document")


def _scatter(results: Results, against: str, x: Value, x_label: str) -> Picture | Missing:
    y_label, y = _quality(results)
    title = f"{y_label.split(' (')[0].replace('agreement', 'Agreement')} against {against}"
    found = [(engine.name, x(engine), y(engine)) for engine in results.engines]
    dots = [Dot(name, dx, dy) for name, dx, dy in found if dx is not None and dy is not None and _finite(dx, dy) and dx > 0]
    if not dots:
        return Missing(title, f"no engine has both {y_label} and {x_label}")
    caption = f"{y_label} against {x_label}, logarithmic; better engines are further up and further left."
    caption += _without(results, [dot.name for dot in dots])
    return Picture(against, title, caption, lambda theme: scatter(dots, title, x_label, y_label, theme))


def latency(results: Results) -> Picture | Missing:
    """Medians and tails of every engine."""

    def finite(engine: EngineResult) -> dict[int, Latency]:
        return {k: found for k, found in engine.latency_ms.items() if k in TOP_KS and _finite(found.p50, found.p95, found.p99)}

    shown = [(engine.name, found) for engine in results.engines if (found := finite(engine))]
    if not shown:
        return Missing("Latency", "no engine has a latency")
    labels, latencies = [name for name, _ in shown], [found for _, found in shown]
    caption = "Milliseconds of one query at a time on one thread: 50, 95 and 99 % of the queries are answered within p50, p95 and p99."
    caption += _without(results, labels)
    return Picture("latencies", "Latency", caption, lambda theme: latency_bars(labels, latencies, TOP_KS, theme))


def agreement(results: Results) -> Picture | Missing:
    """Whether the search or the rounding loses more."""
    title = "Agreement with the exact ranking"

    def finite(engine: EngineResult) -> dict[int, Agreement]:
        return {k: found for k, found in engine.agreement.items() if k in TOP_KS and _finite(found.engine_error, found.quantisation_loss)}

    shown = [(engine.name, found) for engine in results.engines if (found := finite(engine))]
    if not shown:
        return Missing(title, "no engine was compared with the exact ranking")
    labels, agreements = [name for name, _ in shown], [found for _, found in shown]
    caption = "What the search of an engine loses (engine error) and what the rounding of its weights loses (quantisation loss)."
    caption += _without(results, labels)
    return Picture("agreement", title, caption, lambda theme: agreement_bars(labels, agreements, TOP_KS, theme))


def pruning(results: Results) -> Picture | Missing:
    """What fewer terms per document cost and save."""
    title = "Static pruning"
    judged = results.workload.judged_queries > 0

    def quality(pruned: PrunedResult) -> float | None:
        return pruned.quality.get(MEASURE) if judged else pruned.agreement.get(FEW)

    def p50(pruned: PrunedResult) -> float | None:
        return pruned.latency_ms[FEW].p50 if FEW in pruned.latency_ms else None

    if not results.pruning:
        return Missing(title, "no pruning was asked for")
    if not (lines(results.pruning, quality).keys() | lines(results.pruning, p50).keys()) - {UNPRUNED}:
        return Missing(title, "no pruned index was measured")
    label = MEASURE if judged else UNJUDGED
    caption = f"{label} and latency of the numba index by the mean number of terms left in a document, one line per kind of pruning."
    return Picture("pruning", title, caption, lambda theme: pruning_curves(results.pruning, quality, label, p50, theme))


def _quality(results: Results) -> tuple[str, Value]:
    """What y is: nDCG@10, or where nothing is judged the agreement with the exact ranking."""
    if results.workload.judged_queries:
        return MEASURE, lambda engine: engine.quality.get(MEASURE)

    def agreeing(engine: EngineResult) -> float | None:
        return engine.agreement[FEW].agreement if FEW in engine.agreement else None

    return UNJUDGED, agreeing


def _finite(*values: float) -> bool:
    return all(map(math.isfinite, values))


def _without(results: Results, shown: list[str]) -> str:
    """Which engines a picture lacks."""
    if len(shown) == len(results.engines):
        return ""
    return f" Not measured, so not shown: {names([engine.name for engine in results.engines if engine.name not in shown])}."
