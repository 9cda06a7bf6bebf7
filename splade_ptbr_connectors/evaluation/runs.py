"""Runs: what a system returned, as TREC run files.

query-id Q0 doc-id rank score tag
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import SupportsFloat

from ..errors import ConfigError, InputError
from ..numerals import number
from ..text import check_text
from .files import bad_line, check_name, read_lines, write_lines

Run = dict[str, dict[str, float]]  # query id -> document id -> score, best first


def read_run(path: str | Path) -> Run:
    """Read a TREC run; documents come back ordered by score (ties: as in the file), as TREC's own tools read it.

    Raises:
        InputFileError: naming file and line: not six columns, a score that is not a finite number, a document twice.
    """
    run: Run = {}
    for line_number, line in read_lines(path):
        query_id, doc_id, score = _columns(path, line_number, line)
        found = run.setdefault(query_id, {})
        if doc_id in found:
            bad_line(path, line_number, f"duplicate document id {doc_id!r} of query {query_id!r}.")
        found[doc_id] = score
    return {query_id: dict(sorted(found.items(), key=lambda pair: -pair[1])) for query_id, found in run.items()}


def _columns(path: str | Path, line_number: int, line: str) -> tuple[str, str, float]:
    columns = line.split()
    if len(columns) != 6:
        bad_line(path, line_number, f"{len(columns)} columns: expected 'query-id Q0 doc-id rank score tag'.")
    score = number(columns[4])
    if score is None:
        bad_line(path, line_number, f"score {columns[4]!r} is not a finite number.")
    return columns[0], columns[2], score


def write_run(path: str | Path, run: Mapping[str, Mapping[str, float]], *, tag: str = "splade-ptbr") -> None:
    """Write a TREC run, atomically, scores in full so that reading it back gives the same run; queries without documents have no line.

    Raises:
        InputError: a query id or document id that the format cannot hold (white space), a score that is not a finite number, or a
            run without any document. Nothing is written.
        ConfigError: a tag with white space.
    """
    if check_text(tag, "tag").split() != [tag]:
        raise ConfigError(f"tag {tag!r} cannot be written to a TREC run: its columns are separated by white space.")
    lines = []
    for query_id, found in run.items():
        for rank, (doc_id, score) in enumerate(found.items(), 1):
            query, document = check_name(query_id, "query id", blanks=False), check_name(doc_id, "document id", blanks=False)
            lines.append(f"{query} Q0 {document} {rank} {check_score(score, doc_id)!r} {tag}\n")
    if not lines:
        raise InputError(f"the run for {path} holds no document: there is nothing to write.")
    write_lines(path, lines)


def check_score(score: object, doc_id: str) -> float:
    """Return the score of a document as a float64 if it is a finite number that one holds exactly, else raise InputError."""
    try:
        value = score if type(score) is float else float(score) if isinstance(score, SupportsFloat) else math.nan
    except (OverflowError, TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value) or value != score:
        raise InputError(f"the score of document {doc_id!r} is {score!r}: it must be a finite number that a float64 holds.")
    return value
