"""Relevance judgments: BEIR's TSV and TREC's qrels.

BEIR   a header line, then query-id TAB corpus-id TAB score
TREC   query-id iteration doc-id relevance, separated by white space
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from .files import bad_line, read_lines, write_lines

Qrels = dict[str, dict[str, int]]  # query id -> document id -> relevance (0 and below: judged, not relevant)
BEIR_HEADER = "query-id\tcorpus-id\tscore"
EXPECTED = "BEIR's three columns between tabs or TREC's four (query-id 0 doc-id relevance)"


def read_qrels(path: str | Path) -> Qrels:
    """Read a BEIR or TREC judgment file; the first line tells which.

    Raises:
        InputFileError: naming file and line: another number of columns, a relevance that is no integer, a document
            judged twice for one query with different relevances; or a file without judgments.
    """
    qrels: Qrels = {}
    for number, query_id, doc_id, relevance in read_judgments(path):
        if qrels.setdefault(query_id, {}).setdefault(doc_id, relevance) != relevance:
            bad_line(path, number, f"document {doc_id!r} is judged again for query {query_id!r}, with another relevance.")
    if not qrels:
        bad_line(path, 1, "there is a header, but no judgment below it.")
    return qrels


def read_judgments(path: str | Path) -> Iterator[tuple[int, str, str, int]]:
    """(line number, query id, document id, relevance), one by one: files that are larger than memory.

    Raises:
        InputFileError: naming file and line: another number of columns, a relevance that is no integer.
    """
    beir = None
    for number, line in read_lines(path):
        if beir is None:
            beir = line.count("\t") == 2
            if beir and line.split("\t")[0].strip().lower() in ("query-id", "query_id", "qid"):
                continue
        yield (number, *_columns(path, number, line, beir=beir))


def _columns(path: str | Path, number: int, line: str, *, beir: bool) -> tuple[str, str, int]:
    columns = [column.strip() for column in line.split("\t")] if beir else line.split()
    if len(columns) != (3 if beir else 4) or not all(columns):
        bad_line(path, number, f"expected {'query-id, corpus-id and score between tabs' if beir else EXPECTED}, got {line[:80]!r}.")
    try:
        return columns[0], columns[-2], int(columns[-1])
    except ValueError:
        bad_line(path, number, f"relevance {columns[-1]!r} is not an integer.")


def write_qrels(path: str | Path, qrels: Mapping[str, Mapping[str, int]], *, format: Literal["beir", "trec"] = "beir") -> None:
    """Write judgments, atomically: the file is there whole or not at all."""
    separator, middle = ("\t", "") if format == "beir" else (" ", "0 ")
    lines = [
        f"{query_id}{separator}{middle}{doc_id}{separator}{relevance}\n"
        for query_id, judged in qrels.items()
        for doc_id, relevance in judged.items()
    ]
    write_lines(path, ([BEIR_HEADER + "\n"] if format == "beir" else []) + lines)
