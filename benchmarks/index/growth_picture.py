"""The picture of growth: milliseconds of a query over documents, both logarithmic, one line for each engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splade_ptbr_connectors.plots.picture import Picture, rendered
from splade_ptbr_connectors.plots.style import LIGHT, Theme, label_ends, new_figure, plain_numbers, value_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = {"top 1000, ms": "top 1000", "top 10, ms": "top 10", "at least, ms": "reading its postings"}
CAPTION = "Mean time of a query on one thread by the number of documents, and how long one thread takes to read the postings of its terms."


def draw_growth(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write it; the suffix says whether as PNG or SVG."""
    picture = Picture("growth", "How the exact index grows", CAPTION, lambda theme: _draw(rows, theme))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rendered(picture, LIGHT, kind=path.suffix.removeprefix(".") or "png"))


def _draw(rows: Sequence[dict[str, Any]], theme: Theme) -> Figure:
    figure = new_figure(8.8, 5.0, "How the exact index grows")
    axes = figure.subplots()
    axes.set_xscale("log")
    rivals = dict.fromkeys(name for row in rows for name in row if name.endswith(": top 10, ms"))
    labels = []
    for place, (name, label) in enumerate([*LINES.items(), *((name, name.removesuffix(", ms")) for name in rivals)]):
        points = [(row["documents"], row[name]) for row in rows if name in row]
        colour = theme.muted if name == "at least, ms" else theme.series[place % len(theme.series)]
        axes.plot(*zip(*points, strict=True), marker="o", color=colour, linestyle="--" if name == "at least, ms" else "-")
        if len(points) == len(rows):
            labels.append((points[-1][1], label, colour))
        else:
            axes.annotate(f" {label}", points[-1], color=colour, va="center", fontsize=9)
    value_axis(axes, "ms of a query", log=True)
    axes.set_xlabel("documents")
    plain_numbers(axes.xaxis)
    label_ends(axes, labels)
    return figure
