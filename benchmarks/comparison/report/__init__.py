"""The report of a comparison: results.json for programs, table.md for reading anywhere, index.html with pictures."""

from __future__ import annotations

from pathlib import Path

from benchmarks.comparison.report import markdown as table
from benchmarks.comparison.report import page
from benchmarks.comparison.results import FILE, Results
from splade_ptbr_connectors.atomic import write_atomically
from splade_ptbr_connectors.errors import InputFileError

__all__ = ["write_report"]


def write_report(folder: Path, results: Results) -> list[Path]:
    """Write the three files, each whole or not at all; the files, index.html last.

    The figures are on the disk before anything is drawn.

    Args:
        folder: is made if need be; files of the same names are replaced.

    Raises:
        InputFileError: `folder` cannot be written.
        MissingExtraError: matplotlib is not installed; results.json and table.md are there then.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        results.write(folder)
        write_atomically(folder / table.FILE, table.markdown(results))
        write_atomically(folder / page.FILE, page.page(results))
    except OSError as error:
        raise InputFileError(f"{folder} cannot be written: {error.strerror or error}.") from error
    return [folder / FILE, folder / table.FILE, folder / page.FILE]
