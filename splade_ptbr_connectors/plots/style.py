"""How every picture looks: two themes, a palette that the colour-blind can tell apart, labels at the lines instead of legends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = NDArray[np.float64]
RAW_POINTS = 2000  # more are drawn as the band between their extremes
LABEL_INCHES = 0.17  # height of a label with its air
WINDOWS = 60  # smoothing windows along a whole run
FONT = "DejaVu Sans"  # comes with matplotlib and has every Portuguese letter


@dataclass(frozen=True)
class Theme:
    """Colours of one appearance. `series` are Okabe and Ito's, darkened or lightened for the background."""

    name: str
    background: str
    ink: str
    muted: str
    grid: str
    query: str
    document: str
    series: tuple[str, ...]


LIGHT = Theme(
    *("light", "#ffffff", "#1f2328", "#656d76", "#e6e8eb", "#0072b2", "#c8500a"),
    series=("#0072b2", "#c8500a", "#00856a", "#a4508b", "#8a6d00", "#2b8cc4", "#4d4d4d", "#7a3b00"),
)
DARK = Theme(
    *("dark", "#14171c", "#e6e9ee", "#99a1ad", "#2c323a", "#56b4e9", "#f0a030"),
    series=("#56b4e9", "#f0a030", "#2fc79c", "#e08fc0", "#f0e442", "#9ad0f5", "#c8c8c8", "#d9a066"),
)


def matplotlib(module: str) -> ModuleType:
    """A module of matplotlib, loaded at first use. Raises MissingExtraError: it is not installed."""
    return require(f"matplotlib.{module}" if module else "matplotlib", "drawing a picture")


@contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """Pictures made and saved within look like `theme`, whatever the user's own settings are."""
    settings = {
        "font.family": FONT,
        "font.size": 9.5,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 9.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.linewidth": 0.8,
        "xtick.major.size": 0.0,
        "ytick.major.size": 0.0,
        "ytick.minor.size": 0.0,
        "grid.linewidth": 0.8,
        "lines.linewidth": 1.8,
        "lines.solid_capstyle": "round",
        "text.parse_math": False,  # a token may hold a dollar sign
        "svg.fonttype": "path",
        "svg.hashsalt": "splade-ptbr",  # the same log gives the same bytes
    }
    colours = {
        "figure.facecolor": theme.background,
        "axes.facecolor": theme.background,
        "savefig.facecolor": theme.background,
        "text.color": theme.ink,
        "axes.titlecolor": theme.ink,
        "axes.labelcolor": theme.muted,
        "axes.edgecolor": theme.grid,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "grid.color": theme.grid,
    }
    library = matplotlib("")
    with library.rc_context():
        library.rcdefaults()
        library.rcParams.update(settings | colours)
        yield


def new_figure(width: float, height: float, title: str, subtitle: str = "") -> Figure:
    """An empty figure, inches, without any display; its title says what is shown, the subtitle whose it is."""
    layout = matplotlib("layout_engine").ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.10, wspace=0.04, hspace=0.06)
    figure: Figure = matplotlib("figure").Figure(figsize=(width, height), layout=layout)
    heading = printable(f"{title}   {subtitle}".rstrip())
    figure.suptitle(heading, x=0.012, ha="left", fontsize=12.5, fontweight="bold")
    return figure


# -- text -----------------------------------------------------------------------------------------------------------------


@cache
def _glyphs() -> frozenset[int]:
    manager = matplotlib("font_manager")
    return frozenset(manager.get_font(manager.findfont(FONT)).get_charmap())


def printable(text: str) -> str:
    """The text with what the font cannot show written as U+XXXX."""
    return "".join(c if ord(c) in _glyphs() or c == "\n" else f"U+{ord(c):04X}" for c in text)


def _tick(value: float, largest: float) -> str:
    if largest >= 1e6 and value:
        return f"{value / 1e6:.6g}M"
    if largest >= 1e5 and value:
        return f"{value / 1e3:.6g}k"
    return f"{value:,.10g}" if abs(value) >= 1e-3 or not value else f"{value:.3g}".replace("e-0", "e-")


def plain_numbers(axis: Any) -> None:
    """Tick labels without exponents or offsets, all of an axis in the same unit."""
    ticker = matplotlib("ticker")
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _tick(value, max(map(abs, axis.get_view_interval())))))
    axis.set_minor_formatter(ticker.NullFormatter())


# -- axes -----------------------------------------------------------------------------------------------------------------


def step_axis(axes: Axes, last: int, *, label: bool = True) -> None:
    """x: optimiser steps, with room on the right for labels at the lines."""
    axes.set_xlim(0, max(1, last))
    axes.xaxis.grid(False)
    axes.locator_params(axis="x", nbins=5, integer=True)
    plain_numbers(axes.xaxis)
    if label:
        axes.set_xlabel("optimiser steps")


def clip_outliers(axes: Axes, columns: Sequence[Numbers]) -> None:
    """Ends a logarithmic axis where single values would stretch it: at the thousandth smallest and largest of a thousand."""
    values = np.concatenate([column[np.isfinite(column) & (column > 0)] for column in columns])
    if len(values):
        low, high = np.quantile(values, [0.001, 0.999])
        axes.set_ylim(low / 1.3, high * 1.3)


def value_axis(axes: Axes, label: str, *, log: bool = False, from_zero: bool = False) -> None:
    """y: what is measured and in which unit."""
    if log:
        axes.set_yscale("log")
    elif from_zero:
        axes.set_ylim(0, 1.08 * axes.dataLim.y1 if 0 < axes.dataLim.y1 < math.inf else 1)
    axes.set_ylabel(label)
    plain_numbers(axes.yaxis)


def spans_decades(columns: Sequence[Numbers]) -> bool:
    """Whether values are positive and so far apart that a linear axis would hide the smaller ones."""
    values = np.concatenate([column[np.isfinite(column)] for column in columns]) if columns else np.array([])
    positive = values[values > 0]
    return len(positive) > 0 and len(positive) == len(values) and bool(np.quantile(positive, 0.98) / np.quantile(positive, 0.02) > 50)


def note(axes: Axes, text: str, theme: Theme) -> None:
    """An empty panel that says why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, printable(text), transform=axes.transAxes, ha="center", va="center", color=theme.muted, wrap=True)


def label_ends(axes: Axes, labels: Sequence[tuple[float, str, str]], *, side: float = 1.025) -> None:
    """Names lines at their right end: (y, text, colour) each, moved apart where they would lie on each other."""
    figure = axes.get_figure(root=True)
    if figure is None or not labels:
        return
    axes.autoscale_view()  # limits are wanted now, not when the picture is drawn
    gap = LABEL_INCHES / max(axes.bbox.height / figure.dpi, 0.5)
    to_axes: Callable[[Any], Any] = (axes.transData + axes.transAxes.inverted()).transform
    wanted = sorted((min(1.0, max(0.0, float(to_axes((0, y))[1]))), text, colour) for y, text, colour in labels if math.isfinite(y))
    for place, (_, text, colour) in zip(spread([y for y, _, _ in wanted], gap), wanted, strict=True):
        axes.text(side, place, printable(text), transform=axes.transAxes, color=colour, va="center", ha="left", fontsize=9)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places, at least `gap` apart, each group centred where its members wanted to be."""
    groups: list[list[float]] = []
    for place in places:
        groups.append([place])
        while len(groups) > 1 and _bounds(groups[-1], gap)[0] < _bounds(groups[-2], gap)[1] + gap:
            groups[-2].extend(groups.pop())
    return [_bounds(group, gap)[0] + i * gap for group in groups for i in range(len(group))]


def _bounds(group: Sequence[float], gap: float) -> tuple[float, float]:
    middle, half = sum(group) / len(group), gap * (len(group) - 1) / 2
    return middle - half, middle + half


# -- series ---------------------------------------------------------------------------------------------------------------


def smoothed(values: Numbers) -> tuple[Numbers, int]:
    """Centred running mean over a 60th of the run, gaps left out, and the window in rows; short runs stay as they are."""
    window = max(1, len(values) // WINDOWS)
    if window == 1:
        return values, 1
    left, right = (window - 1) // 2, window // 2
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    first = np.maximum(0, np.arange(len(values)) - left)
    last = np.minimum(len(values), np.arange(len(values)) + right + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums[last] - sums[first]) / (counts[last] - counts[first]), window


def draw_series(axes: Axes, steps: NDArray[np.int64], values: Numbers, colour: str, *, exact: bool = False) -> float:
    """A smoothed line over its faint raw values, or with `exact` the values alone; the line's last value, NaN without any."""
    line, window = (values, 1) if exact else smoothed(values)
    if window > 1:
        _draw_raw(axes, steps, values, colour)
    alone = "o" if np.isfinite(values).sum() == 1 else None
    axes.plot(*thinned(steps, line), color=colour, zorder=3, marker=alone)
    finite = line[np.isfinite(line)]
    return float(finite[-1]) if len(finite) else math.nan


def _draw_raw(axes: Axes, steps: NDArray[np.int64], values: Numbers, colour: str) -> None:
    if len(values) <= RAW_POINTS:
        axes.plot(steps, values, color=colour, alpha=0.22, linewidth=0.7, zorder=2)
        return
    size = -(-len(values) // (RAW_POINTS // 2))
    padded = np.pad(values, (0, -len(values) % size), constant_values=np.nan).reshape(-1, size)
    gaps = ~np.isfinite(padded)
    low = np.where(gaps, np.inf, padded).min(axis=1)
    high = np.where(gaps, -np.inf, padded).max(axis=1)
    there = np.isfinite(low)
    axes.fill_between(steps[::size], low, high, where=there.tolist(), color=colour, alpha=0.15, linewidth=0, zorder=2)


def thinned(steps: NDArray[np.int64], line: Numbers) -> tuple[NDArray[np.int64], Numbers]:
    """At most RAW_POINTS points of a smooth line, its ends among them."""
    if len(line) <= RAW_POINTS:
        return steps, line
    chosen = np.unique(np.linspace(0, len(line) - 1, RAW_POINTS).astype(np.int64))
    return steps[chosen], line[chosen]
