"""Runs side by side on the same axes, with the keys in which their recipes differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from splade_ptbr_connectors.plots.picture import Picture
from splade_ptbr_connectors.plots.style import (
    Theme,
    clip_outliers,
    draw_series,
    label_ends,
    new_figure,
    note,
    printable,
    spans_decades,
    step_axis,
    value_axis,
)
from training.plots.quality import mark_checkpoints, terms_axis
from training.plots.runs import NamedRun
from training.recipe.tables import differences, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEYS_SHOWN = 14
TABLE_WIDTH = 96  # characters of all values of a line


def comparison_picture(runs: Sequence[NamedRun]) -> Picture:
    """The picture of two runs or more."""
    found = differences([run.log.start.recipe for run in runs])
    caption = f"{len(runs)} runs on the same axes; below, the {len(found)} keys in which their recipes differ."

    def draw(theme: Theme) -> Figure:
        lines = min(len(found), KEYS_SHOWN) + 3
        figure = new_figure(12.6, 7.4 + 0.21 * lines, "Runs compared", ", ".join(run.label for run in runs))
        parts = figure.subfigures(2, 1, height_ratios=[7.2, 0.3 + 0.21 * lines], squeeze=False)
        grid = parts[0, 0].subplots(2, 2)
        _series(grid[0, 0], runs, "loss", "Loss", "loss", theme)
        _series(grid[1, 0], runs, "terms_document", "Terms per document, training batches", "terms per document", theme)
        _quality(grid[0, 1], runs, theme)
        _size(grid[1, 1], runs, theme)
        _table(parts[1, 0].subplots(), runs, found, theme)
        return figure

    return Picture("comparison", "Runs compared", caption, draw)


def _colour(theme: Theme, place: int) -> str:
    return theme.series[place % len(theme.series)]


def _series(axes: Axes, runs: Sequence[NamedRun], name: str, title: str, label: str, theme: Theme) -> None:
    axes.set_title(title)
    columns = [(run, column, _colour(theme, i)) for i, run in enumerate(runs) if (column := run.column(name)) is not None]
    if not columns:
        return note(axes, f"{label}: not logged", theme)
    log = spans_decades([column for _, column, _ in columns])
    ends = [(run, draw_series(axes, run.log.steps.step, column, colour), colour) for run, column, colour in columns]
    step_axis(axes, max(run.last_step for run in runs))
    value_axis(axes, label, log=log, from_zero=not log and all(np.nanmin(column) >= 0 for _, column, _ in columns))
    if log:
        clip_outliers(axes, [column for _, column, _ in columns])
    _label_runs(axes, ends)


def _label_runs(axes: Axes, ends: Sequence[tuple[NamedRun, float, str]]) -> None:
    """Names at the right for runs that go that far, at their last step for shorter ones."""
    longest = max(run.last_step for run, _, _ in ends)
    label_ends(axes, [(y, run.label, colour) for run, y, colour in ends if run.last_step > 0.9 * longest])
    for run, y, colour in ends:
        if run.last_step <= 0.9 * longest and np.isfinite(y):
            style = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 9, "color": colour}
            axes.annotate(printable(run.label), (run.last_step, y), **style)  # type: ignore[arg-type]


def comparable(runs: Sequence[NamedRun]) -> str | None:
    """None when the qualities of the runs may share an axis; otherwise why not."""
    measured = [run.log.validations[-1] for run in runs if run.log.validations]
    if not measured:
        return "no validation yet"
    if len(metrics := {validation.metric for validation in measured}) > 1:
        return f"not comparable: measured as {' and '.join(sorted(metrics))}"
    if len({frozenset(validation.splits) for validation in measured}) > 1:
        return "not comparable: means over different validation splits"
    return None


def _quality(axes: Axes, runs: Sequence[NamedRun], theme: Theme) -> None:
    axes.set_title("Quality on validation, mean of the splits")
    if why := comparable(runs):
        return note(axes, why, theme)
    ends = []
    for i, run in enumerate(runs):
        if run.log.validations:
            steps, means = [v.step for v in run.log.validations], [v.mean for v in run.log.validations]
            axes.plot(steps, means, color=_colour(theme, i))
            mark_checkpoints(axes, steps, means, run.log.validations, run.log.chosen, theme, colour=_colour(theme, i))
            ends.append((run, means[-1], _colour(theme, i)))
    step_axis(axes, max(run.last_step for run in runs))
    value_axis(axes, _metric(runs))
    _label_runs(axes, ends)


def _metric(runs: Sequence[NamedRun]) -> str:
    return next(run.log.validations[-1].metric for run in runs if run.log.validations)


def _size(axes: Axes, runs: Sequence[NamedRun], theme: Theme) -> None:
    axes.set_title("Quality against size")
    if why := comparable(runs):
        return note(axes, why, theme)
    sizes: list[float] = []
    for i, run in enumerate(runs):
        measured = tuple(v for v in run.log.validations if v.largest_of("terms_document") is not None)
        x, y = [v.largest_of("terms_document") or 0.0 for v in measured], [v.mean for v in measured]
        if measured:
            axes.plot(x, y, color=_colour(theme, i), linewidth=1.1, alpha=0.7)
            mark_checkpoints(axes, x, y, measured, run.log.chosen, theme, colour=_colour(theme, i))
            sizes += x
    if not sizes:
        return note(axes, "terms per document: not logged", theme)
    value_axis(axes, _metric(runs))
    axes.margins(0.06)
    terms_axis(axes, sizes)


def _table(axes: Axes, runs: Sequence[NamedRun], found: dict[str, list[object]], theme: Theme) -> None:
    """Key and values as lines of text: a table without a grid."""
    axes.set_axis_off()
    axes.set_title("The recipes are equal" if not found else f"Where the recipes differ: {len(found)} keys")
    rows = list(found.items())[:KEYS_SHOWN]
    total = len(rows) + 2
    columns = [0.34 + 0.66 * i / len(runs) for i in range(len(runs))]
    for i, (run, x) in enumerate(zip(runs, columns, strict=True)):
        if found:
            axes.text(x, 1 - 0.5 / total, printable(run.label), color=_colour(theme, i), fontweight="bold", va="center")
    for line, (key, values) in enumerate(rows, 1):
        y = 1 - (line + 0.5) / total
        axes.text(0.0, y, printable(key), va="center", color=theme.ink)
        for x, value in zip(columns, values, strict=True):
            axes.text(x, y, printable(_cut(shown(value), TABLE_WIDTH // len(runs))), va="center", color=theme.ink)
    if len(found) > KEYS_SHOWN:
        axes.text(0.0, 0.5 / total, f"and {len(found) - KEYS_SHOWN} more, in the table of index.html", va="center", color=theme.muted)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(1, width - 4)]} ..."
