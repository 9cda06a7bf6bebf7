"""Documents and queries in files: `id<TAB>text` without a header, or JSONL, CSV or TSV with "_id" and "text"; also .gz."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError, TextError
from ...records import ID_FIELDS, Record
from ...sources import Broken, open_source
from ...text import check_text
from ..files import bad_line, read_lines
from ..queries import read_queries

_RECORDS = (".jsonl", ".ndjson", ".json", ".csv")


def read_query_texts(path: Path) -> dict[str, str]:
    """Query id -> text of a file.

    Raises:
        InputFileError: naming file and line: no tab, a blank id or text, a duplicate id.
    """
    if _has_records(path):
        return read_queries(path)
    queries: dict[str, str] = {}
    for number, query_id, text in _tab_separated(path):
        if not text.strip():
            bad_line(path, number, f"query {query_id!r} has no text.")
        if query_id in queries:
            bad_line(path, number, f"duplicate query id {query_id!r}.")
        queries[query_id] = text
    return queries


def read_documents(path: Path) -> Iterator[tuple[str, str]]:
    """(doc_id, text) of a collection, one after the other; of JSONL records, title, space and text.

    Raises:
        InputFileError: naming file and line: no tab, a blank id, a record without id or text. Repeated ids are the
            caller's to find.
    """
    return ((doc_id, text) for _, doc_id, text in numbered_documents(path))


def numbered_documents(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line number, doc_id, text) of a collection; see `read_documents`."""
    if not _has_records(path):
        yield from _tab_separated(path)
        return
    for row in open_source(path):
        if isinstance(row, Broken):
            bad_line(path, row.line, row.reason)
        try:
            record = Record.from_mapping(row.raw)
        except InputError as error:
            bad_line(path, row.line, str(error))
        yield row.line, record.doc_id, record.content


def _tab_separated(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line number, id, text): everything behind the first tab is text, further tabs included."""
    for number, line in read_lines(path):
        name, tab, text = line.partition("\t")
        if not tab or not name.strip():
            bad_line(path, number, f"expected an id, a tab and a text, got {line[:80]!r}.")
        try:
            check_text(line, max_characters=len(line))  # how long a text may be is the encoder's to say
        except TextError as error:
            bad_line(path, number, str(error))
        yield number, name.strip(), text


def _has_records(path: Path) -> bool:
    """Whether a file has named fields: by its name, or by a header line of columns."""
    if path.name.lower().removesuffix(".gz").endswith(_RECORDS):
        return True
    _, first = next(read_lines(path))
    columns = {column.strip() for column in first.split("\t")}
    return "text" in columns and bool(columns & set(ID_FIELDS))
