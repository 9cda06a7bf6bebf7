"""Names beside dots: each where it lies on no dot and on no other name, as near to its own dot as that allows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.plots.style import matplotlib, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Boxes = NDArray[np.float64]  # [n, 4]: left, bottom, right, top in pixels
STEP = 4.0  # pixels between the places that are tried
DOT = 7.0  # pixels from a dot's centre that stay free
LINE = 3.0  # pixels beside a line that stay free
AIR = 3.0  # pixels around a name
TRIED = 2000  # free places for a name, of which the best whose line crosses no other name is taken
NEAR = 14.0  # a name farther away than this gets a line to its dot


class Label(NamedTuple):
    """A name for the dot at (x, y) in data coordinates.

    Attributes:
        size: of the letters, in points.
        optional: is left out where it would cover something or lie far from its dot.
    """

    x: float
    y: float
    text: str
    colour: str
    size: float = 9.0
    optional: bool = False


def place_labels(axes: Axes, labels: Sequence[Label], lines: Sequence[Sequence[tuple[float, float]]] = ()) -> None:
    """Write the labels into the axes, whose limits and scales must be final; earlier ones choose first.

    Args:
        lines: what is drawn between the dots, in data coordinates; no label lies on it.
    """
    figure = axes.get_figure(root=True)
    if figure is None or not labels:
        return
    renderer = matplotlib("backends.backend_agg").FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # places the axes
    dots = np.asarray(axes.transData.transform([label[:2] for label in labels]), dtype=np.float64)
    taken = np.vstack([_around(dots, DOT), *(_around(_along(axes, line), LINE) for line in lines)])
    names: Boxes = np.empty((0, 4))
    area = (axes.bbox.x0, axes.bbox.y0, axes.bbox.x1, axes.bbox.y1)
    for label, dot in zip(labels, dots, strict=True):
        text = axes.annotate(printable(label.text), label[:2], (0, 0), textcoords="offset pixels", **_style(label))
        extent = text.get_window_extent(renderer)
        text.remove()
        box = _best_place(dot, extent.width, extent.height, area, taken, names)
        far = bool(_distance(box[None], dot)[0] > NEAR)
        if not label.optional or not (far or _overlap(box, taken)):
            _write(axes, label, box, dot, 72 / figure.dpi, line=far)
            names = np.vstack([names, box])
            taken = np.vstack([taken, box, *([_around(_between(dot, _nearest(box[None], dot)[0]), LINE)] if far else [])])


def _style(label: Label) -> dict[str, Any]:
    return {"fontsize": label.size, "color": label.colour, "linespacing": 1.05, "zorder": 6}


def _around(points: NDArray[np.float64], radius: float) -> Boxes:
    return np.concatenate([points - radius, points + radius], axis=1)


def _along(axes: Axes, line: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """[n, 2]: pixels along a line."""
    corners = np.asarray(axes.transData.transform(list(line)), dtype=np.float64)
    return np.vstack([corners, *(_between(one, other) for one, other in pairwise(corners))])


def _between(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linspace(one, other, 2 + int(np.linalg.norm(other - one) / (2 * LINE)))


def _best_place(
    dot: NDArray[np.float64], width: float, height: float, area: tuple[float, float, float, float], taken: Boxes, names: Boxes
) -> Boxes:
    """The nearest free box; where nothing is free, the one that covers least."""
    beside = [x for x in (dot[0] + DOT + AIR, dot[0] - DOT - AIR - width) if area[0] <= x <= area[2] - width]
    lefts = np.array([*beside, *np.arange(area[0], max(area[2] - width, area[0]) + 0.1, STEP)])
    bottoms = np.array([dot[1] - height / 2, *np.arange(area[1], max(area[3] - height, area[1]) + 0.1, STEP)])
    left, bottom = (grid.ravel() for grid in np.meshgrid(lefts, bottoms, indexing="ij"))
    boxes = np.stack([left, bottom, left + width, bottom + height], axis=1)
    covered = (_meet(lefts, width, taken[:, 0::2]) @ _meet(bottoms, height, taken[:, 1::2]).T).ravel()
    free = boxes[covered == covered.min()]
    best_first = free[np.argsort(_distance(free, dot) + _awkwardness(free, dot), kind="stable")][:TRIED]
    return next((box for box in best_first if not _crosses(box, dot, names)), best_first[0])


def _meet(starts: NDArray[np.float64], size: float, taken: NDArray[np.float64]) -> NDArray[np.float32]:
    """[n, m]: 1 where the stretch from a start, with AIR around it, meets a taken stretch (start, end)."""
    ends = starts[:, None] + size + AIR
    return ((starts[:, None] - AIR < taken[None, :, 1]) & (ends > taken[None, :, 0])).astype(np.float32)


def _crosses(box: Boxes, dot: NDArray[np.float64], names: Boxes) -> bool:
    """Whether the line to the dot would run through other names."""
    return any(_overlap(point, names) for point in _around(_between(dot, _nearest(box[None], dot)[0]), 0.0))


def _overlap(box: Boxes, taken: Boxes) -> bool:
    """Whether a box, with AIR around it, covers any of the taken ones."""
    return bool(((box[:2] - AIR < taken[:, 2:]) & (box[2:] + AIR > taken[:, :2])).all(axis=1).any())


def _distance(boxes: Boxes, dot: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(_nearest(boxes, dot) - dot, axis=1), dtype=np.float64)


def _nearest(boxes: Boxes, dot: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, 2]: the point of each box that is nearest to the dot."""
    return np.clip(dot, boxes[:, :2], boxes[:, 2:])


def _awkwardness(boxes: Boxes, dot: NDArray[np.float64]) -> NDArray[np.float64]:
    """Names at the height of their dot read best, and those to its right better than those to its left."""
    beside = np.abs(boxes[:, 1::2].mean(axis=1) - dot[1])
    return np.asarray(0.3 * beside + 3.0 * (boxes[:, 0] < dot[0]), dtype=np.float64)


def _write(axes: Axes, label: Label, box: Boxes, dot: NDArray[np.float64], points: float, *, line: bool) -> None:
    """`points`: of a pixel, because the picture may be saved with more of them; `line`: whether to draw one to the dot."""
    nearest = _nearest(box[None], dot)[0]
    relpos = tuple((nearest - box[:2]) / np.maximum(box[2:] - box[:2], 1.0))
    arrow = {"arrowstyle": "-", "color": label.colour, "alpha": 0.55, "linewidth": 0.8, "shrinkA": 1.5, "shrinkB": 4.0, "relpos": relpos}
    text = axes.annotate(
        printable(label.text),
        label[:2],
        tuple((box[:2] - dot) * points),
        textcoords="offset points",
        ha="left",
        va="bottom",
        annotation_clip=False,
        arrowprops=arrow if line else None,
        **_style(label),
    )
    text.set_in_layout(False)  # it lies within the axes, which must not move for it
