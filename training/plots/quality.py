"""Quality over steps and against the number of terms, with the checkpoint that was chosen and those that could not be."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from splade_ptbr_connectors.plots.picture import Picture
from splade_ptbr_connectors.plots.style import Theme, label_ends, new_figure, note, plain_numbers, printable, step_axis, value_axis
from splade_ptbr_connectors.plots.text import number
from training.plots.runs import NamedRun
from training.plots.sparsity import limits_of
from training.runlog import Validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REASONS_SHOWN = 5
SPLITS_SHOWN = 8


def quality_picture(run: NamedRun) -> Picture | None:
    """The picture, None when there is no validation."""
    if not run.log.validations:
        return None
    caption = (
        f"{run.log.validations[-1].metric} on the validation splits. Ring: the checkpoint that was chosen. "
        "Crosses: checkpoints that could not be chosen."
    )

    def draw(theme: Theme) -> Figure:
        reasons = reason_lines(run.log.validations)
        figure = new_figure(12.4, 5.0 + 0.2 * len(reasons), "Quality on validation", run.label)
        left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
        _over_steps(left, run, theme)
        _against_terms(right, run, theme)
        if reasons:
            figure.supxlabel("\n".join(map(printable, reasons)), x=0.012, ha="left", fontsize=9, color=theme.muted)
        return figure

    return Picture("quality", "Quality on validation", caption, draw)


def reason_lines(validations: tuple[Validation, ...]) -> list[str]:
    """Why checkpoints could not be chosen, one line a reason."""
    steps: dict[str, list[str]] = {}
    for validation in validations:
        if not validation.eligible:
            steps.setdefault(validation.reason or "no reason logged", []).append(f"{validation.step:,}")
    lines = [f"x step {_some(where)}: {reason}" for reason, where in steps.items()]
    hidden = len(lines) - REASONS_SHOWN
    shown = [textwrap.shorten(line, 150, placeholder=" ...") for line in lines[:REASONS_SHOWN]]
    return shown + ([f"and {hidden} more checkpoints, in the table"] if hidden > 0 else [])


def _some(steps: list[str]) -> str:
    return ", ".join(steps) if len(steps) <= 4 else f"{', '.join(steps[:3])} and {len(steps) - 3} more"


def _over_steps(axes: Axes, run: NamedRun, theme: Theme) -> None:
    validations = run.log.validations
    metric = validations[-1].metric
    axes.set_title(f"{metric} over steps")
    names = list(validations[-1].splits)[:SPLITS_SHOWN]
    ends = []
    for i, name in enumerate(names):
        points = [(v.step, v.splits[name].quality) for v in validations if name in v.splits]
        colour = theme.series[i % len(theme.series)]
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, marker=".", markersize=5)
        ends.append((points[-1][1], name, colour))
    steps, means = [v.step for v in validations], [v.mean for v in validations]
    if len(validations[-1].splits) != 1:
        axes.plot(steps, means, color=theme.ink, linewidth=2.4, zorder=3)
        ends.append((means[-1], "mean", theme.ink))
    mark_checkpoints(axes, steps, means, validations, run.log.chosen, theme)
    step_axis(axes, run.last_step)
    value_axis(axes, metric)
    _mark_chosen_step(axes, run.log.chosen, theme)
    label_ends(axes, ends)


def _mark_chosen_step(axes: Axes, chosen: Validation | None, theme: Theme) -> None:
    if chosen is None:
        return
    axes.axvline(chosen.step, color=theme.muted, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    later = chosen.step > 0.6 * axes.get_xlim()[1]
    text = f"chosen: step {chosen.step:,}, {number(chosen.mean)}"
    where = {"xytext": (-6, 0) if later else (6, 0), "textcoords": "offset points", "ha": "right" if later else "left", "va": "bottom"}
    axes.annotate(text, (chosen.step, 0.015), xycoords=axes.get_xaxis_transform(), fontsize=9, color=theme.ink, **where)  # type: ignore[arg-type]


def mark_checkpoints(
    axes: Axes,
    x: list[int] | list[float],
    y: list[float],
    validations: tuple[Validation, ...],
    chosen: Validation | None,
    theme: Theme,
    *,
    colour: str | None = None,
) -> None:
    """A dot for each checkpoint, a cross for one that could not be chosen, a ring around the one that was."""
    for horizontal, vertical, validation in zip(x, y, validations, strict=True):
        if not math.isfinite(vertical):
            continue
        marker = {"marker": "o", "s": 22} if validation.eligible else {"marker": "x", "s": 42, "linewidths": 1.6}
        paint = colour or (theme.ink if validation.eligible else theme.muted)
        axes.scatter([horizontal], [vertical], color=paint, zorder=4, clip_on=False, **marker)  # type: ignore[arg-type]
        if validation is chosen:
            ring = {"s": 150, "facecolors": "none", "edgecolors": colour or theme.document, "linewidths": 2.0}
            axes.scatter([horizontal], [vertical], zorder=5, clip_on=False, **ring)  # type: ignore[arg-type]


def _against_terms(axes: Axes, run: NamedRun, theme: Theme) -> None:
    axes.set_title("Quality against size")
    measured = tuple(v for v in run.log.validations if v.largest_of("terms_document") is not None)
    if not measured:
        return note(axes, "terms per document: not logged", theme)
    x = [v.largest_of("terms_document") or 0.0 for v in measured]
    y = [v.mean for v in measured]
    axes.plot(x, y, color=theme.muted, alpha=0.5, linewidth=1.0, zorder=1)
    mark_checkpoints(axes, x, y, measured, run.log.chosen, theme)
    value_axis(axes, measured[-1].metric)
    axes.margins(0.09)
    terms_axis(axes, x)
    for name, value in limits_of(run, "document").items():
        axes.axvline(value, color=theme.muted, linestyle=(0, (4, 3)), linewidth=1.1)
        place = axes.get_xaxis_transform()
        axes.annotate(f"{name} {number(value)}", (value, 0.02), xycoords=place, xytext=(-3, 0), textcoords="offset points",
                      rotation=90, ha="right", va="bottom", fontsize=8.5, color=theme.muted)  # fmt: skip
    _label_steps(axes, x, y, measured, run.log.chosen, theme)


def terms_axis(axes: Axes, terms: list[float]) -> None:
    """x: terms per document, logarithmic where they differ by more than a factor of three."""
    axes.set_xlabel("terms per document, largest of the splits")
    if terms and min(terms) > 0 and max(terms) > 3 * min(terms):
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.set_xticks([tick for tick in _ROUND if low <= tick <= high], minor=False)
        axes.minorticks_off()
    plain_numbers(axes.xaxis)


_ROUND = [factor * 10**power for power in range(7) for factor in (1, 2, 5)]


def _label_steps(
    axes: Axes, x: list[float], y: list[float], validations: tuple[Validation, ...], chosen: Validation | None, theme: Theme
) -> None:
    """The steps of the first, the last and the chosen checkpoint; all would lie on each other."""
    named = {0, len(validations) - 1} | {i for i, v in enumerate(validations) if v is chosen}
    axes.get_xlim()  # brings the limits up to date, which the transformation below would not
    for i in sorted(named):
        if np.isfinite(y[i]):
            style = {"fontsize": 8.5, "color": theme.ink if validations[i] is chosen else theme.muted}
            left = axes.transData.transform((x[i], y[i]))[0] < axes.bbox.x0 + 0.5 * axes.bbox.width
            shift = (10 if left else -10, 7 if validations[i] is chosen else -11)
            side = {"ha": "left" if left else "right", "xytext": shift, "textcoords": "offset points"}
            axes.annotate(f"step {validations[i].step:,}", (x[i], y[i]), **side, **style)  # type: ignore[arg-type]
