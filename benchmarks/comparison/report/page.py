"""index.html: the tables of a report with pictures beside them."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from benchmarks.comparison import results as results_module
from benchmarks.comparison.report import markdown as table
from benchmarks.comparison.report import pictures as plots
from benchmarks.comparison.report import tables
from benchmarks.comparison.report.tables import Table
from benchmarks.comparison.report.text import names, one_line
from benchmarks.comparison.results import Results
from training.plots.html import document, figure
from training.plots.html import table as html_table
from training.plots.picture import Picture, shown_picture

FILE = "index.html"
PICTURES: dict[str, tuple[Callable[[Results], Picture | plots.Missing], ...]] = {
    "Quality and speed": (plots.quality_by_latency, plots.latency),
    "Cost": (plots.quality_by_size,),
    "Agreement with the exact ranking": (plots.agreement,),
    "Static pruning": (plots.pruning,),
}


def page(results: Results) -> str:
    """The text of index.html."""
    title = f"Engines compared: {one_line(results.workload.name)}"
    notes = [f"Note: {one_line(note)}" for note in results.workload.notes]
    body = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(line)}</p>" for line in (*tables.summary(results), *_failed(results), *notes))]
    body.append(f'<p>The same as <a href="{table.FILE}">Markdown</a> and as <a href="{results_module.FILE}">JSON</a>.</p>')
    shown = tables.all_tables(results)
    for each in shown:
        body += [_table(each), *(_picture(make(results)) for make in PICTURES.get(each.title, ()))]
    left_out = [make(results) for title, makers in PICTURES.items() if title not in {each.title for each in shown} for make in makers]
    return document(title, [*body, *map(_picture, left_out)])


def _failed(results: Results) -> list[str]:
    failed = [engine.name for engine in results.engines if engine.failure]
    return [f"Failed, see below: {names(failed, len(failed))}."] if failed else []


def _table(content: Table) -> str:
    title = f"<h2>{escape(content.title)}</h2>"
    if not content.rows:
        return f"{title}<p>{escape(content.empty)}</p>"
    explained = "".join(f"<li><strong>{escape(columns)}</strong>: {escape(meaning)}</li>" for columns, meaning in content.explained)
    shown = html_table(content.head, content.rows, figures=content.figures, best=content.best)
    return f"{title}{shown}<ul class=explained>{explained}</ul>"


def _picture(picture: Picture | plots.Missing) -> str:
    if isinstance(picture, plots.Missing):
        return f"<p class=explained>Not drawn, {escape(picture.title)}: {escape(picture.why)}.</p>"
    return figure(shown_picture(picture))
