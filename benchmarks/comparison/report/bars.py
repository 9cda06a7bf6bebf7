"""One row per engine, one panel per top k: latencies with their tails, and what is lost against the exact ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.comparison.report.scatter import log_ticks
from benchmarks.comparison.report.text import short
from benchmarks.comparison.results import Agreement
from benchmarks.harness.latency import Latency
from splade_ptbr_connectors.plots.style import Theme, matplotlib, new_figure, plain_numbers, spans_decades

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.42  # inches
Latencies = Sequence[dict[int, Latency]]
Agreements = Sequence[dict[int, Agreement]]


def latency_bars(names: Sequence[str], latencies: Latencies, top_ks: Sequence[int], theme: Theme) -> Figure:
    """A bar to the median, a line on to p99 with marks at p95 and p99; dots for bars where the axis is logarithmic."""
    figure, panels = _rows(names, len(top_ks), "Latency of a query on one thread")
    for axes, top_k in zip(panels, top_ks, strict=True):
        axes.set_title(f"top {top_k}")
        axes.set_xlabel("milliseconds")
        there = [(row, latency[top_k]) for row, latency in enumerate(latencies) if top_k in latency]
        if there:
            _latencies(axes, there, theme)
        _missing(axes, [row for row, latency in enumerate(latencies) if top_k not in latency], theme)
    lines = matplotlib("lines").Line2D
    marks = [
        matplotlib("patches").Patch(color=theme.query, label="p50"),
        lines([], [], color=theme.ink, marker="|", markersize=9, markeredgewidth=1.8, linestyle="", label="p95"),
        lines([], [], color=theme.ink, marker="o", markersize=4.5, linestyle="", label="p99"),
    ]
    _key(figure, marks)
    return figure


def _latencies(axes: Axes, there: Sequence[tuple[int, Latency]], theme: Theme) -> None:
    rows = np.array([row for row, _ in there])
    p50, p95, p99 = (np.array([getattr(latency, name) for _, latency in there], dtype=np.float64) for name in ("p50", "p95", "p99"))
    log = spans_decades([np.concatenate([p50, p95, p99])])
    if log:
        low, high = float(min(p50.min(), p99.min())) / 1.6, float(max(p50.max(), p99.max())) * 1.6
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        log_ticks(axes.xaxis, low, high)
        axes.scatter(p50, rows, marker="s", s=70, color=theme.query, zorder=5)
    else:
        axes.barh(rows, p50, height=0.55, color=theme.query, zorder=2)
        axes.set_xlim(0, 1.06 * max(float(p50.max()), float(p95.max()), float(p99.max())) or 1)
        axes.locator_params(axis="x", nbins=5)
        plain_numbers(axes.xaxis)
    axes.hlines(rows, p50, p99, color=theme.ink, linewidth=1.1, zorder=3.5)
    axes.scatter(p95, rows, marker="|", s=90, linewidths=1.8, color=theme.ink, zorder=4)
    axes.scatter(p99, rows, marker="o", s=20, color=theme.ink, zorder=4, clip_on=False)


def agreement_bars(names: Sequence[str], agreements: Agreements, top_ks: Sequence[int], theme: Theme) -> Figure:
    """Engine error and quantisation loss one after the other, in per cent of the top k."""
    figure, panels = _rows(names, len(top_ks), "What is lost against the exact ranking")
    parts = (("engine error", "engine_error", theme.document), ("quantisation loss", "quantisation_loss", theme.query))
    for axes, top_k in zip(panels, top_ks, strict=True):
        axes.set_title(f"top {top_k}")
        axes.set_xlabel(f"per cent of the top {top_k}")
        there = [(row, agreement[top_k]) for row, agreement in enumerate(agreements) if top_k in agreement]
        if there:
            _losses(axes, there, parts, theme)
        _missing(axes, [row for row, agreement in enumerate(agreements) if top_k not in agreement], theme)
    _key(figure, [matplotlib("patches").Patch(color=colour, label=label) for label, _, colour in parts])
    return figure


def _losses(axes: Axes, there: Sequence[tuple[int, Agreement]], parts: Sequence[tuple[str, str, str]], theme: Theme) -> None:
    """Bars with their sum at the end; an axis over 1 % at least, so that next to nothing looks like it."""
    rows, ends = [row for row, _ in there], np.zeros(len(there))
    for _, field, colour in parts:
        widths = 100 * np.array([getattr(agreement, field) for _, agreement in there], dtype=np.float64)
        axes.barh(rows, widths, left=ends, height=0.55, color=colour, zorder=2)
        ends = ends + widths
    axes.set_xlim(0, max(1.0, 1.22 * float(ends.max())))
    axes.locator_params(axis="x", nbins=5)
    plain_numbers(axes.xaxis)
    for row, end in zip(rows, ends.tolist(), strict=True):
        text = f"{end:.2g} %" if 0 < end < 10 else f"{end:.0f} %"
        axes.annotate(text, (end, row), (5, 0), textcoords="offset points", va="center", fontsize=8.5, color=theme.muted)


def _rows(names: Sequence[str], panels: int, title: str) -> tuple[Figure, list[Axes]]:
    figure = new_figure(10.6, 1.75 + ROW * max(2, len(names)), title)
    grid = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    grid[0].set_yticks(range(len(names)), [short(name, 30) for name in names], fontsize=9, linespacing=1.0)
    grid[0].set_ylim(len(names) - 0.4, -0.6)
    for axes in grid:
        axes.yaxis.grid(False)
        axes.tick_params(labelleft=axes is grid[0])
    return figure, list(grid)


def _missing(axes: Axes, rows: Sequence[int], theme: Theme) -> None:
    if not axes.has_data():
        axes.set_xticks([])
    for row in rows:
        axes.text(0.01, row, "not measured", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5, color=theme.muted)


def _key(figure: Figure, handles: Sequence[Artist]) -> None:
    figure.legend(handles=list(handles), loc="outside upper right", ncols=len(handles), frameon=False, fontsize=9, handlelength=1.2)
