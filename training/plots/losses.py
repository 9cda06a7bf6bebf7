"""The loss and its terms, the price of sparsity, and what drives the optimiser, over steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from splade_ptbr_connectors.plots.picture import Picture
from splade_ptbr_connectors.plots.style import (
    Numbers,
    Theme,
    clip_outliers,
    draw_series,
    label_ends,
    new_figure,
    smoothed,
    spans_decades,
    step_axis,
    value_axis,
)
from training.plots.runs import NamedRun
from training.recipe.tables import section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANKING_LOSSES = ("contrastive", "margin_mse", "kl")
Series = tuple[str, Numbers, str]  # name, values, colour
Panel = Callable[["Axes", NamedRun, Theme], None]


def loss_picture(run: NamedRun) -> Picture | None:
    """The picture, None when the log has no step yet."""
    panels = [panel for needed, panel in _PANELS if any(run.column(name) is not None for name in needed)]
    if not panels:
        return None
    _, window = smoothed(run.log.steps.step.astype(np.float64))
    smoothing = f"lines: mean of {window:,} rows; faint: every row" if window > 1 else "every row"
    caption = f"Loss, its terms and what drives the optimiser over steps ({smoothing}). Terms are drawn as logged, penalties times lambda."

    def draw(theme: Theme) -> Figure:
        columns = min(3, len(panels))
        rows = -(-len(panels) // columns)
        figure = new_figure(1.0 + 4.2 * columns, 0.7 + 2.9 * rows, "Loss", run.label)
        for place, panel in enumerate(panels, 1):
            axes = figure.add_subplot(rows, columns, place)
            panel(axes, run, theme)
        return figure

    return Picture("loss", "Loss", caption, draw)


def _draw(
    axes: Axes, run: NamedRun, named: list[Series], label: str, *, log: bool | None = None, zero: bool = False, exact: bool = False
) -> None:
    """Series with their names at the right end. `log` None: decided by how far apart they are."""
    if log is None:
        log = spans_decades([values for _, values, _ in named])
    ends = []
    for name, values, colour in named:
        positive = np.where(values > 0, values, np.nan) if log else values
        ends.append((draw_series(axes, run.log.steps.step, positive, colour, exact=exact), name, colour))
    step_axis(axes, run.last_step)
    value_axis(axes, label, log=log, from_zero=zero and not log)
    if log and not exact:
        clip_outliers(axes, [values for _, values, _ in named])
    if len(ends) > 1:
        label_ends(axes, ends)


def _losses(axes: Axes, run: NamedRun, theme: Theme) -> None:
    names = dict.fromkeys([*section(run.log.start.recipe, "ranking", "losses"), *RANKING_LOSSES])
    terms = [(name, column) for name in names if (column := run.column(name)) is not None]
    series = [(name, column, theme.series[2 + i % 6]) for i, (name, column) in enumerate(terms)]
    total = run.column("loss")
    axes.set_title("Loss and its ranking terms" if series else "Loss")
    _draw(axes, run, series + ([("loss", total, theme.ink)] if total is not None else []), "loss")


def _penalties(axes: Axes, run: NamedRun, theme: Theme) -> None:
    axes.set_title("Price of sparsity: lambda x regulariser")
    series = []
    for side, colour in (("query", theme.query), ("document", theme.document)):
        value, weight = run.column(f"regularizer_{side}"), run.column(f"lambda_{side}")
        if value is not None and weight is not None and (value * weight > 0).any():
            series.append((side, value * weight, colour))
    _draw(axes, run, series, "added to the loss", log=_far_apart(series), zero=True)


def _lambdas(axes: Axes, run: NamedRun, theme: Theme) -> None:
    axes.set_title("Lambda")
    sides = (("query", theme.query), ("document", theme.document))
    series = [(side, column, colour) for side, colour in sides if (column := run.column(f"lambda_{side}")) is not None]
    _draw(axes, run, series, "weight of the regulariser", log=_far_apart(series), zero=True, exact=True)


def _far_apart(series: list[Series]) -> bool:
    """Whether the largest values of the series differ so much that a linear axis shows only one of them."""
    tops = [top for _, values, _ in series if (top := float(np.nanmax(values))) > 0]
    return len(tops) > 1 and max(tops) > 20 * min(tops)


def _learning_rate(axes: Axes, run: NamedRun, theme: Theme) -> None:
    axes.set_title("Learning rate")
    _draw(axes, run, _one(run, "learning_rate", theme), "learning rate", log=False, zero=True, exact=True)


def _gradient(axes: Axes, run: NamedRun, theme: Theme) -> None:
    axes.set_title("Gradient norm, before clipping")
    _draw(axes, run, _one(run, "gradient_norm", theme), "L2 norm")


def _speed(axes: Axes, run: NamedRun, theme: Theme) -> None:
    axes.set_title("Speed")
    tokens, seconds = run.column("tokens"), run.column("seconds")
    if tokens is not None and seconds is not None:
        rate = tokens / np.where(seconds > 0, seconds, np.nan)
        _draw(axes, run, [("", rate, theme.ink)], "tokens a second", log=False, zero=True)


def _one(run: NamedRun, name: str, theme: Theme) -> list[Series]:
    column = run.column(name)
    return [] if column is None else [(name, column, theme.ink)]


_PANELS: tuple[tuple[tuple[str, ...], Panel], ...] = (
    (("loss", *RANKING_LOSSES), _losses),
    (("regularizer_query", "regularizer_document"), _penalties),
    (("gradient_norm",), _gradient),
    (("learning_rate",), _learning_rate),
    (("lambda_query", "lambda_document"), _lambdas),
    (("tokens",), _speed),
)
