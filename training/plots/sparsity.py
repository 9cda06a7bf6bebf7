"""How many terms texts have while a model learns, against the recipe's targets and ceilings, and how many have none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from splade_ptbr_connectors.plots.picture import Picture
from splade_ptbr_connectors.plots.style import Theme, draw_series, label_ends, new_figure, note, step_axis, value_axis
from splade_ptbr_connectors.plots.text import number
from training.plots.runs import NamedRun
from training.recipe.tables import section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EMPTY = {"query": "empty_queries", "document": "empty_documents"}


def sparsity_picture(run: NamedRun) -> Picture | None:
    """The picture, None when no step row counts terms."""
    if all(run.column(f"terms_{side}") is None for side in EMPTY):
        return None
    caption = (
        "Terms with a weight above 0 in the batches of training, and vectors without any term. Circles: the validation split "
        "with most terms, texts at their full length. Dashed: target or ceiling of the recipe."
    )

    def draw(theme: Theme) -> Figure:
        figure = new_figure(11.0, 6.2, "Sparsity while training", run.label)
        grid = figure.subplots(2, 2, sharex=True, height_ratios=[2.2, 1])
        for place, (side, colour) in enumerate((("query", theme.query), ("document", theme.document))):
            _terms(grid[0, place], run, side, colour, theme)
            _empty(grid[1, place], run, side, colour, theme)
        return figure

    return Picture("sparsity", "Sparsity while training", caption, draw)


def limits_of(run: NamedRun, side: str) -> dict[str, float]:
    """Target and ceiling of one side, from the recipe."""
    recipe = run.log.start.recipe
    wanted = {
        "target": section(recipe, "sparsity", side).get("target_terms"),
        "ceiling": section(recipe, "validation").get(f"max_terms_{side}"),
    }
    return {name: float(value) for name, value in wanted.items() if isinstance(value, int | float)}


def _terms(axes: Axes, run: NamedRun, side: str, colour: str, theme: Theme) -> None:
    axes.set_title(f"Terms per {side}")
    column = run.column(f"terms_{side}")
    if column is None:
        return note(axes, f"terms per {side}: not logged", theme)
    draw_series(axes, run.log.steps.step, column, colour)
    measured = {v.step: terms for v in run.log.validations if (terms := v.largest_of(f"terms_{side}")) is not None}
    circles = {"facecolors": theme.background, "edgecolors": colour, "linewidths": 1.6}
    axes.scatter(list(measured), list(measured.values()), s=34, zorder=4, clip_on=False, **circles)  # type: ignore[arg-type]
    limits = limits_of(run, side)
    for value in limits.values():
        axes.axhline(value, color=theme.muted, linestyle=(0, (4, 3)), linewidth=1.1, zorder=1.5)
    step_axis(axes, run.last_step, label=False)
    value_axis(axes, f"terms per {side}", from_zero=True)
    label_ends(axes, [(value, f"{name} {number(value)}", theme.muted) for name, value in limits.items()])


def _empty(axes: Axes, run: NamedRun, side: str, colour: str, theme: Theme) -> None:
    axes.set_title("Vectors without any term")
    column = run.column(EMPTY[side])
    if column is None:
        return note(axes, "not logged", theme)
    draw_series(axes, run.log.steps.step, column, colour)
    step_axis(axes, run.last_step)
    value_axis(axes, "per step", from_zero=True)
    axes.set_ylim(top=max(1.0, 1.08 * axes.get_ylim()[1]))
    axes.locator_params(axis="y", nbins=4, integer=True)
    total = run.log.steps.total(EMPTY[side])
    if not math.isnan(total):
        axes.text(0.99, 0.94, f"{total:,.0f} in all", transform=axes.transAxes, ha="right", va="top", color=theme.muted, fontsize=9)
