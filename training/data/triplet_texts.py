"""Text triplets, `query<TAB>positive<TAB>negative`, read by byte offset: the file may be larger than memory."""

from __future__ import annotations

from pathlib import Path

from training.data.cache import open_cached
from training.data.line_rows import LineRows, build_lines
from training.data.rows import Row, RowBatches, RowError
from training.recipe.sections import TripletTextsData

EXPECTED = "expected query<TAB>positive<TAB>negative, and no tab within a text"


def parse_line(line: bytes) -> Row:
    """A line, with or without its end, as a row. Raises RowError."""
    columns = line.rstrip(b"\r\n").split(b"\t")
    if len(columns) != 3:
        raise RowError(f"{len(columns)} columns instead of 3: {EXPECTED}.")
    query, positive, negative = (column.decode() for column in columns)
    return Row(query, query, (positive, negative), (positive, negative), frozenset((positive,)))


class TripletTextBatches(RowBatches):
    """Batches of a file of text triplets.

    Texts are their own ids. Every positive that any line names for a query is a known positive of it; a line whose negative is
    one is left out and counted.
    """

    def __init__(self, section: TripletTextsData, data_dir: Path, cache_dir: Path, *, batch_queries: int, seed: int) -> None:
        """Opens the file; the first time, all of it is looked at.

        Raises:
            InputFileError: naming the line: other than three columns, an empty text, not UTF-8; or no line is left.
            ConfigError: fewer lines than batch_queries.
        """
        path = data_dir / section.triples
        arrays = open_cached(
            cache_dir,
            section.kind,
            files={"lines": path},
            inputs={"variant": section.limit},
            build=lambda writer: build_lines(writer, parse_line, negatives=None, limit=section.limit, blank_lines=False),
        )
        rows = LineRows(section.kind, path, arrays, parse_line)
        super().__init__(rows, arrays, negatives=None, batch_queries=batch_queries, seed=seed)
