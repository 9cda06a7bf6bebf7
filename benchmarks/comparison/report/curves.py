"""Static pruning: what is lost and what is gained as documents keep fewer terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.comparison.report.labels import Label, place_labels
from benchmarks.comparison.report.scatter import log_axis, quality_axis
from benchmarks.comparison.report.text import one_line, short
from benchmarks.comparison.results import PrunedResult
from splade_ptbr_connectors.plots.style import Theme, new_figure, note, plain_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNPRUNED = "none"
MILLISECONDS = "milliseconds"
FEWEST = 0.1  # terms per document on a logarithmic axis: 0 has no place there
LOGARITHMIC_FROM = 8  # times as many terms in the longest documents as in the shortest
Value = Callable[[PrunedResult], float | None]
Line = list[tuple[float, float, str]]  # terms per document, value, setting; ascending


def pruning_curves(pruned: Sequence[PrunedResult], quality: Value, quality_label: str, latency: Value, theme: Theme) -> Figure:
    """Quality at the left, latency at the right; the lines of all kinds of pruning end where nothing is pruned."""
    figure = new_figure(10.6, 4.4, "Static pruning of documents")
    left, right = figure.subplots(1, 2)
    _panel(left, pruned, quality, quality_label, quality_label, theme)
    _panel(right, pruned, latency, "Latency, top 10, p50", MILLISECONDS, theme)
    return figure


def lines(pruned: Sequence[PrunedResult], value: Value) -> dict[str, Line]:
    """Kind of pruning -> its points; the unpruned one is a kind of its own."""
    found: dict[str, Line] = {}
    for each in pruned:
        y = value(each)
        if y is not None and np.isfinite([each.terms_per_document, y]).all():
            kind, _, setting = one_line(each.pruning).partition("=")
            found.setdefault(kind, []).append((each.terms_per_document, y, setting))
    return {kind: sorted(points) for kind, points in found.items()}


def _panel(axes: Axes, pruned: Sequence[PrunedResult], value: Value, title: str, label: str, theme: Theme) -> None:
    axes.set_title(title)
    found = lines(pruned, value)
    if not found:
        return note(axes, "not measured", theme)
    end = found.pop(UNPRUNED, [])[:1]
    _limits(axes, [*(point for line in found.values() for point in line), *end], label)
    names, settings, drawn = [], [], []
    for place, (kind, line) in enumerate(found.items()):
        colour = theme.series[place % len(theme.series)]
        drawn.append([(x, y) for x, y, _ in line + end])
        axes.plot(*zip(*drawn[-1], strict=True), color=colour, zorder=3)
        axes.scatter([x for x, _, _ in line], [y for _, y, _ in line], s=26, color=colour, zorder=4)
        names.append(Label(*line[0][:2], short(kind), colour))
        settings += [Label(x, y, short(setting, 12), colour, 8.0, optional=True) for x, y, setting in line if setting]
    for x, y, _ in end:
        axes.scatter([x], [y], marker="D", s=52, color=theme.ink, zorder=5)
        names.append(Label(x, y, "not pruned", theme.ink))
    place_labels(axes, names + settings, drawn)


def _limits(axes: Axes, points: Line, label: str) -> None:
    terms, values = [x for x, _, _ in points], [y for _, y, _ in points]
    axes.set_xlabel("terms per document")
    if min(terms) >= FEWEST and max(terms) / min(terms) > LOGARITHMIC_FROM:
        log_axis(axes, terms)
    else:
        axes.set_xlim(0, 1.12 * max(terms) or 1)
        plain_numbers(axes.xaxis)
    if label == MILLISECONDS:
        axes.set_ylim(0, 1.16 * max(values) or 1)
        axes.set_ylabel(label)
        plain_numbers(axes.yaxis)
    else:
        quality_axis(axes, values, label)
