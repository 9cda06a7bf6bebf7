"""Two figures of every engine against each other: one labelled dot each, x logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.comparison.report.labels import Label, place_labels
from benchmarks.comparison.report.text import short
from splade_ptbr_connectors.plots.style import Theme, matplotlib, new_figure, plain_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROUND_NUMBERS = ((0.8, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)), (3.0, (1.0, 2.0, 5.0)), (4.5, (1.0, 3.0)), (math.inf, (1.0,)))  # by decades
LEAST_HEIGHT = 0.02  # of the y axis: differences in the fourth digit must not look large


class Dot(NamedTuple):
    """An engine's two figures."""

    name: str
    x: float
    y: float


def scatter(dots: Sequence[Dot], title: str, x_label: str, y_label: str, theme: Theme) -> Figure:
    """The picture; x of every dot is above 0."""
    figure = new_figure(8.8, 4.6 + 0.12 * max(0, len(dots) - 6), title)
    axes = figure.subplots()
    log_axis(axes, [dot.x for dot in dots])
    quality_axis(axes, [dot.y for dot in dots], y_label)
    axes.set_xlabel(x_label)
    labels = []
    for place, dot in enumerate(dots):
        colour = theme.series[place % len(theme.series)]
        axes.scatter([dot.x], [dot.y], s=58, color=colour, edgecolors=theme.background, linewidths=0.8, zorder=4, clip_on=False)
        labels.append(Label(dot.x, dot.y, short(dot.name), colour))
    place_labels(axes, labels)
    return figure


def log_axis(axes: Axes, values: Sequence[float]) -> None:
    """x: logarithmic over a factor of three at least, with round numbers at its ticks."""
    low, high = min(values) / 1.4, max(values) * 1.4
    wider = max(1.0, math.sqrt(3 * low / high))
    low, high = low / wider, high * wider
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    log_ticks(axes.xaxis, low, high)


def log_ticks(axis: Any, low: float, high: float) -> None:
    """1, 2, 5, 10, ... on short logarithmic axes, powers of ten on long ones."""
    decades = math.log10(high / low)
    subs = next(subs for most, subs in ROUND_NUMBERS if decades < most)
    ticker = matplotlib("ticker")
    axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=40))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.6g}"))


def quality_axis(axes: Axes, values: Sequence[float], label: str) -> None:
    """y: around the values, never magnified beyond LEAST_HEIGHT."""
    low, high = min(values), max(values)
    margin = max(0.16 * (high - low), (LEAST_HEIGHT - (high - low)) / 2)
    axes.set_ylim(low - margin, high + margin)
    axes.set_ylabel(label)
    axes.locator_params(axis="y", nbins=6)
    plain_numbers(axes.yaxis)
