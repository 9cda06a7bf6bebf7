"""Runs: what a system returned, as TREC run files.

query-id Q0 doc-id rank score tag
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError
from .files import bad_line, read_lines, write_lines

Run = dict[str, dict[str, float]]  # query id -> document id -> score, best first


def read_run(path: str | Path) -> Run:
    """Read a TREC run; documents come back ordered by score (ties: as in the file), as TREC's own tools read it.

    Raises:
        InputFileError: naming file and line: not six columns, a score that is no finite number, a document twice.
    """
    run: Run = {}
    for number, line in read_lines(path):
        query_id, doc_id, score = _columns(path, number, line)
        found = run.setdefault(query_id, {})
        if doc_id in found:
            bad_line(path, number, f"document {doc_id!r} is there twice for query {query_id!r}.")
        found[doc_id] = score
    return {query_id: dict(sorted(found.items(), key=lambda pair: -pair[1])) for query_id, found in run.items()}


def _columns(path: str | Path, number: int, line: str) -> tuple[str, str, float]:
    columns = line.split()
    if len(columns) != 6:
        bad_line(path, number, f"{len(columns)} columns: expected 'query-id Q0 doc-id rank score tag'.")
    try:
        score = float(columns[4])
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        bad_line(path, number, f"score {columns[4]!r} is not a finite number.")
    return columns[0], columns[2], score


def write_run(path: str | Path, run: Mapping[str, Mapping[str, float]], *, tag: str = "splade-ptbr") -> None:
    """Write a TREC run, atomically, scores in full so that reading it back gives the same run.

    Raises:
        ConfigError: a tag, query id or document id with white space: the format cannot hold it.
    """
    lines = []
    for query_id, found in run.items():
        for rank, (doc_id, score) in enumerate(found.items(), 1):
            lines.append(f"{_word(query_id)} Q0 {_word(doc_id)} {rank} {score!r} {_word(tag)}\n")
    write_lines(path, lines)


def _word(value: str) -> str:
    if value.split() != [value]:
        raise ConfigError(f"{value!r} cannot be written to a TREC run: its columns are separated by white space.")
    return value
