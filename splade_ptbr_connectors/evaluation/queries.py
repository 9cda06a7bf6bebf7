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
            bad_line(path, row.line, f"query {query_id!r} is there twice.")
        queries[query_id] = text
    return queries


def read_kinds(path: str | Path) -> dict[str, str]:
    """The kind of each query whose line has a text at `metadata.kind`; errors are those of read_queries."""
    rows = [(row.raw, row.raw.get("metadata")) for row in open_source(path) if not isinstance(row, Broken) and isinstance(row.raw, dict)]
    found = [
        (Record.from_mapping(raw).doc_id, metadata["kind"]) for raw, metadata in rows if isinstance(metadata, dict) and "kind" in metadata
    ]
    return {query_id: kind for query_id, kind in found if isinstance(kind, str)}


def _query(path: str | Path, line: int, raw: object) -> tuple[str, str]:
    try:
        record = Record.from_mapping(raw)
    except InputError as error:
        bad_line(path, line, str(error))
    return record.doc_id, record.content if record.text.strip() else record.title
