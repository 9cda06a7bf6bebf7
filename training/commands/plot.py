"""python -m training plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or their training.jsonl; several are compared.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; default RUN/plots of the first run.")] = None,
    svg: Annotated[bool, typer.Option("--svg", help="An SVG beside each PNG.")] = False,
) -> None:
    """Draw loss, sparsity and quality of runs from their logs, with one page that shows everything."""
    from training.plots import default_folder, plot_runs

    files = plot_runs(runs, out or default_folder(runs[0]), svg=svg)
    typer.echo(files[-1])
