"""table.md: every table of a report as Markdown that is also readable as plain text."""

from __future__ import annotations

import re

from benchmarks.comparison.report.tables import Table, all_tables, summary
from benchmarks.comparison.report.text import one_line
from benchmarks.comparison.results import Results

FILE = "table.md"
_SPECIAL = re.compile(r"[\\`*\[\]<>|&~$]|(?<![^\W_])_|_(?![^\W_])")  # an underscore within a word is only itself


def markdown(results: Results) -> str:
    """The text of table.md."""
    notes = [f"Note: {escaped(one_line(note))}" for note in results.workload.notes]
    head = [f"# Engines compared: {escaped(one_line(results.workload.name))}", *map(escaped, summary(results)), *notes]
    return "\n\n".join([*head, *map(_section, all_tables(results))]) + "\n"


def escaped(text: str) -> str:
    """Plain text as Markdown that shows exactly it, in a line or in a cell."""
    return _SPECIAL.sub(lambda found: "\\" + found.group(), text)


def _section(table: Table) -> str:
    explained = "\n".join(f"- {escaped(columns)}: {escaped(meaning)}" for columns, meaning in table.explained)
    return "\n\n".join([f"## {table.title}", _rows(table), *([explained] if table.rows else [])])


def _rows(table: Table) -> str:
    """Columns padded to equal widths, figures to the right."""
    if not table.rows:
        return table.empty
    cells = [list(map(escaped, table.head))]
    for place, row in enumerate(table.rows):
        cells.append([f"**{escaped(cell)}**" if (place, column) in table.best else escaped(cell) for column, cell in enumerate(row)])
    widths = [max(4, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = [f"{'-' * (width - 1)}{':' if column in table.figures else '-'}" for column, width in enumerate(widths)]
    return "\n".join(_line(row, widths, table.figures) for row in (cells[0], rule, *cells[1:]))


def _line(cells: list[str], widths: list[int], figures: frozenset[int]) -> str:
    sides = (">" if column in figures else "<" for column in range(len(cells)))
    return f"| {' | '.join(f'{cell:{side}{width}}' for cell, side, width in zip(cells, sides, widths, strict=True))} |"
