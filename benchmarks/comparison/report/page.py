"""index.html: the tables of a report with pictures beside them. templates/report.html says how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison import results as results_module
from benchmarks.comparison.report import markdown, pictures, tables
from benchmarks.comparison.report.tables import Table
from benchmarks.comparison.report.text import names, one_line
from benchmarks.comparison.results import Results
from splade_ptbr_connectors.plots.html import rendered_page
from splade_ptbr_connectors.plots.picture import Picture, ShownPicture, shown_picture

FILE = "index.html"
TEMPLATE = Path(__file__).parent / "templates" / "report.html"
PICTURES: dict[str, tuple[Callable[[Results], Picture | pictures.Missing], ...]] = {
    "Quality and speed": (pictures.quality_by_latency, pictures.latency),
    "Cost": (pictures.quality_by_size,),
    "Agreement with the exact ranking": (pictures.agreement,),
    "Static pruning": (pictures.pruning,),
}


@dataclass(frozen=True)
class Section:
    """A table with its pictures."""

    table: Table
    pictures: list[ShownPicture | pictures.Missing]


def page(results: Results) -> str:
    """The text of index.html."""
    notes = [f"Note: {one_line(note)}" for note in results.workload.notes]
    shown = tables.all_tables(results)
    left_out = PICTURES.keys() - {table.title for table in shown}
    return rendered_page(
        TEMPLATE,
        title=f"Engines compared: {one_line(results.workload.name)}",
        summary=[*tables.summary(results), *_failed(results), *notes],
        markdown=markdown.FILE,
        json=results_module.FILE,
        sections=[Section(table, _pictures(results, table.title)) for table in shown],
        left_out=[picture for title in PICTURES if title in left_out for picture in _pictures(results, title)],
    )


def _failed(results: Results) -> list[str]:
    failed = [engine.name for engine in results.engines if engine.failure]
    return [f"Failed, see below: {names(failed, len(failed))}."] if failed else []


def _pictures(results: Results, title: str) -> list[ShownPicture | pictures.Missing]:
    made = [make(results) for make in PICTURES.get(title, ())]
    return [each if isinstance(each, pictures.Missing) else shown_picture(each) for each in made]
