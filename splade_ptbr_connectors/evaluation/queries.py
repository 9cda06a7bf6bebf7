"""Queries of a test collection: query id -> text."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..records import Record
from ..sources import Broken, open_source
from .files import bad_line


def read_queries(path: str | Path) -> dict[str, str]:
    """Read {"_id", "text"} queries from any file that open_source() reads: JSONL, CSV or TSV, also .gz.

    Where there is a title, it comes first, as in a document.

    Raises:
        InputFileError: naming file and line: a broken line, no id or text, an id twice.
    """
    queries: dict[str, str] = {}
    for row in open_source(path):
        if isinstance(row, Broken):
            bad_line(path, row.line, row.reason)
        query_id, text = _query(path, row.line, row.raw)
        if query_id in queries:
            bad_line(path, row.line, f"duplicate query id {query_id!r}.")
        queries[query_id] = text
    return queries


def read_kinds(path: str | Path) -> dict[str, str]:
    """The kind of each query whose line has a text at `metadata.kind`; errors are those of read_queries."""
    kinds = {}
    for row in open_source(path):
        if isinstance(row, Broken):
            bad_line(path, row.line, row.reason)
        metadata = row.raw.get("metadata") if isinstance(row.raw, dict) else None
        if isinstance(metadata, dict) and isinstance(metadata.get("kind"), str):
            kinds[_query(path, row.line, row.raw)[0]] = metadata["kind"]
    return kinds


def _query(path: str | Path, line: int, raw: object) -> tuple[str, str]:
    try:
        record = Record.from_mapping(raw)
    except InputError as error:
        bad_line(path, line, str(error))
    return record.doc_id, record.content if record.text.strip() else record.title
