"""From logs to a folder of pictures and a page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from splade_ptbr_connectors.atomic import write_atomically
from splade_ptbr_connectors.errors import InputFileError
from splade_ptbr_connectors.plots.picture import Picture, ShownPicture, rendered
from splade_ptbr_connectors.plots.style import DARK, LIGHT
from training.plots.comparison import comparison_picture
from training.plots.dashboard import dashboard_picture
from training.plots.losses import loss_picture
from training.plots.page import page
from training.plots.quality import quality_picture
from training.plots.runs import NamedRun, labelled
from training.plots.sparsity import sparsity_picture
from training.runlog import FILE_NAME, read_log

PAGE = "index.html"
_OF_A_RUN = (quality_picture, loss_picture, sparsity_picture, dashboard_picture)


def plot_runs(runs: Sequence[Path], out: Path, *, svg: bool = False) -> list[Path]:
    """Draws every picture of the runs into the folder `out`, with index.html; the files, index.html last.

    Args:
        runs: folders of runs, or their training.jsonl.
        out: is made if need be; files of the same names are replaced.
        svg: an SVG beside each PNG.

    Raises:
        InputFileError: not the log of a run, or one with nothing to draw yet; `out` cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    named = labelled([read_log(path) for path in runs])
    for run in named:
        if not len(run.log.steps) and not run.log.validations:
            raise InputFileError(f"{run.log.path} has no step and no validation yet: there is nothing to draw.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        return _write(named, out, svg=svg)
    except OSError as error:
        raise InputFileError(f"{out} cannot be written: {error.strerror or error}.") from error


def _write(runs: list[NamedRun], out: Path, *, svg: bool) -> list[Path]:
    files: list[Path] = []
    compared = _save(comparison_picture(runs), "", out, files, svg=svg) if len(runs) > 1 else None
    shown: list[tuple[NamedRun, list[ShownPicture]]] = []
    for number, run in enumerate(runs, 1):
        pictures = [picture for make in _OF_A_RUN if (picture := make(run)) is not None]
        prefix = f"run{number}-" if len(runs) > 1 else ""
        shown.append((run, [_save(picture, prefix, out, files, svg=svg) for picture in pictures]))
    write_atomically(out / PAGE, page(shown, compared))
    return [*files, out / PAGE]


def _save(picture: Picture, prefix: str, out: Path, files: list[Path], *, svg: bool) -> ShownPicture:
    light = rendered(picture, LIGHT)
    path = out / f"{prefix}{picture.name}.png"
    path.write_bytes(light)
    files.append(path)
    if svg:
        path = path.with_suffix(".svg")
        path.write_bytes(rendered(picture, LIGHT, kind="svg"))
        files.append(path)
    return ShownPicture(picture.title, picture.caption, light, rendered(picture, DARK))


def default_folder(run: Path) -> Path:
    """Where the pictures of a run go unless told otherwise: `plots` beside its log."""
    return (run.parent if run.name == FILE_NAME or run.is_file() else run) / "plots"
