"""The sparsity dashboard: what the last validation measured about the vectors, split by split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from splade_ptbr_connectors.plots.picture import Picture
from splade_ptbr_connectors.plots.style import Theme, draw_series, new_figure, note, plain_numbers, printable, step_axis, value_axis
from splade_ptbr_connectors.plots.text import number
from training.plots.runs import NamedRun
from training.plots.sparsity import limits_of
from training.runlog import SplitResult, Validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HOT_SHOWN = 10
SPLITS_SHOWN = 12
Splits = dict[str, SplitResult]


def dashboard_picture(run: NamedRun) -> Picture | None:
    """The picture of the packed model's measurement, or of the last validation; None when there is none."""
    last = measured_last(run)
    if last is None or not last.splits:
        return None
    where = "saved model" if last.packed else f"step {last.step:,}"
    splits = dict(list(last.splits.items())[:SPLITS_SHOWN])
    hidden = len(last.splits) - len(splits)
    caption = (
        f"Measured on the validation splits, {where}"
        + (f" ({hidden} more splits are in the table)" if hidden else "")
        + ". Evaluation FLOPS: expected postings that a query and a document share. Dead terms: in no query and no document of the split. "
        "Hot terms: those that most documents have."
    )

    def draw(theme: Theme) -> Figure:
        upper = max(1.9, 0.62 * len(splits) + 0.5)
        figure = new_figure(13.2, upper + 4.4, "Sparsity measured on validation", f"{run.label}, {where}")
        grid = figure.add_gridspec(2, 12, height_ratios=[upper, 2.9])
        widths = [slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12)]
        terms, zeros, flops, dead = (figure.add_subplot(grid[0, width]) for width in widths)
        _terms(terms, run, splits, theme)
        _zeros(zeros, run, splits, theme)
        _bars(flops, splits, "evaluation_flops", "Evaluation FLOPS", "postings per query and document", theme)
        _bars(dead, splits, "dead_terms", "Dead terms", "terms that nothing uses", theme, whole=vocab_size(run))
        for panel in (zeros, flops, dead):
            panel.tick_params(axis="y", labelleft=False)
        _activation(figure.add_subplot(grid[1, 0:6]), run, theme)
        _hot(figure.add_subplot(grid[1, 6:12]), last, theme)
        return figure

    return Picture("dashboard", "Sparsity measured on validation", caption, draw)


def measured_last(run: NamedRun) -> Validation | None:
    """The measurement of the saved model where the run came to its end, otherwise the last validation."""
    return run.log.packed or (run.log.validations[-1] if run.log.validations else None)


def vocab_size(run: NamedRun) -> int | None:
    """V, where the start row has it."""
    start = run.log.start
    for place in (start.extra, start.data, start.extra.get("model")):
        value = place.get("vocab_size") if isinstance(place, dict) else None
        if isinstance(value, int) and value > 0:
            return value
    return None


def _rows(axes: Axes, names: Sequence[str]) -> list[int]:
    """One row a split, the first on top."""
    places = list(range(len(names)))
    axes.set_yticks(places, [printable(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.yaxis.grid(False)
    axes.spines["left"].set_visible(False)
    return places


def _value_labels(axes: Axes, values: Sequence[float], texts: Sequence[str], colour: str, offset: float = 0.0) -> None:
    under = {"facecolor": axes.get_facecolor(), "edgecolor": "none", "pad": 0.8}
    for place, (value, text) in enumerate(zip(values, texts, strict=True)):
        label: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 9, "bbox": under}
        axes.annotate(text, (value, place + offset), color=colour, **label)


def _measured(splits: Splits, name: str) -> dict[str, float]:
    return {split: float(value) for split, result in splits.items() if (value := getattr(result, name)) is not None}


def _terms(axes: Axes, run: NamedRun, splits: Splits, theme: Theme) -> None:
    axes.set_title("Active terms, mean")
    sides = (("query", theme.query, -0.19), ("document", theme.document, 0.19))
    if not all(_measured(splits, f"terms_{side}").keys() == splits.keys() for side, _, _ in sides):
        return note(axes, "active terms: not logged", theme)
    _rows(axes, list(splits))
    for side, colour, offset in sides:
        for limit in limits_of(run, side).values():
            axes.axvline(limit, color=colour, linestyle=(0, (4, 3)), linewidth=1.0, zorder=0.9, label="limit")
        values = list(_measured(splits, f"terms_{side}").values())
        axes.barh(np.arange(len(values)) + offset, values, height=0.32, color=colour)
        texts = [f"{number(value)}{f' per {side}' * (not i)}" for i, value in enumerate(values)]
        _value_labels(axes, values, texts, colour, offset)
    _value_x(axes, "terms (dashed: target or ceiling)" if axes.get_legend_handles_labels()[0] else "terms", room=1.75)


def _value_x(axes: Axes, label: str, *, room: float = 1.28) -> None:
    axes.set_xlim(0, room * max(axes.dataLim.x1, 1e-9))
    axes.set_xlabel(label)
    axes.locator_params(axis="x", nbins=4)
    plain_numbers(axes.xaxis)


def _zeros(axes: Axes, run: NamedRun, splits: Splits, theme: Theme) -> None:
    size = vocab_size(run)
    terms = {side: _measured(splits, f"terms_{side}") for side in ("query", "document")}
    if size is None or not all(values.keys() == splits.keys() for values in terms.values()):
        axes.set_title("Zero entries of a vector")
        return note(axes, "vocabulary size: not logged", theme)
    axes.set_title(f"Zero entries of a vector, of {size:,}")
    _rows(axes, list(splits))
    lowest = 100.0
    for side, colour, offset in (("query", theme.query, -0.19), ("document", theme.document, 0.19)):
        shares = [100 * (1 - value / size) for value in terms[side].values()]
        lowest = min(lowest, *shares)
        places = np.arange(len(shares)) + offset
        axes.scatter(shares, places, s=42, color=colour, zorder=3, clip_on=False)
        for i, (share, place) in enumerate(zip(shares, places, strict=True)):
            label: dict[str, Any] = {"xytext": (-7, 0), "textcoords": "offset points", "ha": "right", "va": "center", "fontsize": 9}
            axes.annotate(f"{side}  " * (not i) + f"{share:.2f} %", (share, place), color=colour, **label)
    axes.set_xlim(100 - max(1e-6, 2.9 * (100 - lowest)), 100)
    axes.set_xlabel("% zeros, mean; axis does not start at 0")
    axes.locator_params(axis="x", nbins=4)
    plain_numbers(axes.xaxis)


def _bars(axes: Axes, splits: Splits, name: str, title: str, unit: str, theme: Theme, whole: int | None = None) -> None:
    axes.set_title(title)
    values = _measured(splits, name)
    if not values:
        return note(axes, f"{title.lower()}: not logged", theme)
    _rows(axes, list(values))
    axes.barh(range(len(values)), list(values.values()), height=0.5, color=theme.muted)
    texts = [number(value) + (f"  ({100 * value / whole:.1f} %)" if whole else "") for value in values.values()]
    _value_labels(axes, list(values.values()), texts, theme.ink)
    _value_x(axes, unit + (f", of {whole:,}" if whole else ""), room=1.85 if whole else 1.35)


def _activation(axes: Axes, run: NamedRun, theme: Theme) -> None:
    axes.set_title("Largest activation of a batch")
    column = run.column("max_activation")
    if column is None:
        return note(axes, "largest activation: not logged", theme)
    draw_series(axes, run.log.steps.step, column, theme.ink)
    step_axis(axes, run.last_step)
    value_axis(axes, "weight", from_zero=True)


def _hot(axes: Axes, last: Validation, theme: Theme) -> None:
    axes.set_title("Hot terms")
    found: dict[str, tuple[float, str]] = {}
    for name, split in last.splits.items():
        for token, share in split.hot_terms:
            found[token] = max(found.get(token, (0.0, "")), (share, name))
    hottest = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))[:HOT_SHOWN]
    if not hottest:
        return note(axes, "hot terms: none, or not logged", theme)
    _rows(axes, [token for token, _ in hottest])
    axes.tick_params(axis="y", labelcolor=theme.ink)
    shares = [100 * share for _, (share, _) in hottest]
    axes.barh(range(len(shares)), shares, height=0.6, color=theme.document)
    several = len(last.splits) > 1
    texts = [f"{100 * share:.0f} %" + (f"  {printable(where)}" if several else "") for _, (share, where) in hottest]
    _value_labels(axes, shares, texts, theme.ink)
    axes.set_xlim(0, 170 if several else 120)
    axes.set_xticks([0, 50, 100])
    axes.set_xticklabels(["0 %", "50 %", "100 %"])
    axes.set_xlabel("documents that have the term" + (", where most do" if several else ""))
