"""Relevance judgments: BEIR's TSV and TREC's qrels.

BEIR   a header line, then query-id TAB corpus-id TAB score
TREC   query-id iteration doc-id relevance, separated by white space
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..numerals import integer
from .files import bad_line, check_name, read_lines, write_lines

Qrels = dict[str, dict[str, int]]  # query id -> document id -> relevance (0 and below: judged, not relevant)
BEIR_HEADER = "query-id\tcorpus-id\tscore"
MAX_GRADE = 1_000_000  # trec_eval keeps a table of so many grades, and gives 0 where it has no room for it
_BEYOND = f"beyond {MAX_GRADE:,}: grades are small integers, such as 0 to 3"
EXPECTED = "BEIR's three columns between tabs or TREC's four (query-id 0 doc-id relevance)"


def read_qrels(path: str | Path) -> Qrels:
    """Read a BEIR or TREC judgment file; the first line tells which.

    Raises:
        InputFileError: naming file and line: another number of columns, a relevance that is not an integer or beyond a million, a
            document judged twice for one query with different relevances; or a file without judgments.
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
        InputFileError: naming file and line: another number of columns, a relevance that is not an integer or beyond a million.
    """
    beir = None
    for number, line in read_lines(path):
        if beir is None:
            beir = line.count("\t") == 2
            if beir and _is_header(line):
                continue
        yield (number, *_columns(path, number, line, beir=beir))


def _columns(path: str | Path, number: int, line: str, *, beir: bool) -> tuple[str, str, int]:
    columns = [column.strip() for column in line.split("\t")] if beir else line.split()
    if len(columns) != (3 if beir else 4) or not all(columns):
        bad_line(path, number, f"expected {'query-id, corpus-id and score between tabs' if beir else EXPECTED}, got {line[:80]!r}.")
    relevance = integer(columns[-1])
    if relevance is None:
        bad_line(path, number, f"relevance {columns[-1]!r} is not an integer.")
    if abs(relevance) > MAX_GRADE:
        bad_line(path, number, f"relevance {columns[-1][:40]} is {_BEYOND}.")
    return columns[0], columns[-2], relevance


def _is_header(line: str) -> bool:
    """Whether a first line names the columns: a query may be called "qid", but then its document has a relevance."""
    first, _, last = (column.strip() for column in line.split("\t"))
    return first.lower() in ("query-id", "query_id", "qid") and not any(map(str.isdigit, last))


def check_grade(grade: object, doc_id: str) -> int:
    """Return the relevance of a document as an int if it is an integer that can be measured with, else raise InputError."""
    try:
        value = operator.index(grade)  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError(f"the relevance of document {doc_id!r} is {grade!r}: it must be an integer.") from error
    if abs(value) > MAX_GRADE:
        raise InputError(f"the relevance of document {doc_id!r} is {_BEYOND}.")
    return value


def write_qrels(path: str | Path, qrels: Mapping[str, Mapping[str, int]], *, format: Literal["beir", "trec"] = "beir") -> None:
    """Write judgments, atomically: the file is there whole or not at all, and read_qrels() gives the same.

    Raises:
        InputError: an id that the format cannot hold, a relevance that is not an integer or beyond a million, a query without
            judgments, or no judgment at all. Nothing is written.
    """
    beir = format == "beir"
    separator, middle = ("\t", "") if beir else (" ", "0 ")
    lines = [BEIR_HEADER + "\n"] if beir else []
    for query_id, judged in qrels.items():
        if not judged:
            raise InputError(f"query {query_id!r} has no judgment, which {path} could not say: leave it out.")
        for doc_id, grade in judged.items():
            query, document = check_name(query_id, "query id", blanks=beir), check_name(doc_id, "document id", blanks=beir)
            lines.append(f"{query}{separator}{middle}{document}{separator}{check_grade(grade, doc_id)}\n")
    if not qrels:
        raise InputError(f"there is no judgment to write to {path}.")
    write_lines(path, lines)
