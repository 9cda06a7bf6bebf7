"""Paragraphs of a folder of *.txt and *.txt.gz: many documents, nothing judged, for speed and size alone.

One paragraph a line; blank lines, which separate documents, are left out. Ids are FILE:LINE, lines counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ...errors import ConfigError, InputError, InputFileError
from ...records import check_doc_id
from ...text import check_text
from ..files import bad_line, read_lines
from .collection import Collection
from .locations import existing_folder, in_folder
from .texts import read_query_texts

MAX_QUERIES = 250  # as many as Robust04 has


def open_kind(where: str, data_dir: Path, *, queries_from: str | Path | None = None, max_queries: int = MAX_QUERIES) -> Collection:
    """The paragraphs of a folder, and the first queries of another collection.

    Args:
        queries_from: a BEIR folder, or a file of queries.
        max_queries: how many of them, in the order of their file.
    """
    folder = existing_folder(data_dir / Path(where).expanduser())
    if queries_from is None:
        raise ConfigError("text: nothing asks for queries here: pass queries_from=, a BEIR folder or a file of queries.")
    if max_queries < 1:
        raise ConfigError(f"max_queries is {max_queries}: it must be at least 1.")
    files = _files(folder)
    path = data_dir / Path(queries_from).expanduser()
    asked = read_query_texts(in_folder(path, "queries.jsonl"))
    queries = dict(islice(asked.items(), max_queries))
    notes = (
        f"Documents are the paragraphs of {len(files)} files.",
        f"Queries are the first {len(queries):,} of {len(asked):,} of {path.resolve().name}.",
        "Nothing is judged: speed and size are measured, not quality.",
    )
    name = f"text:{folder.resolve().name}"
    return Collection(name=name, queries=queries, read_documents=lambda: _paragraphs(files), notes=notes)


def _files(folder: Path) -> list[Path]:
    """By name. Raises InputFileError: none, or a name that cannot be part of an id."""
    files = sorted([*folder.glob("*.txt"), *folder.glob("*.txt.gz")])
    if not files:
        raise InputFileError(f"{folder} has no text: looked for *.txt and *.txt.gz.")
    for file in files:
        try:
            check_doc_id(f"{file.name}:{10**9}")
        except InputError as error:
            raise InputFileError(f"{file.name!a} in {folder} cannot be part of an id, rename it: {error}") from error
    return files


def _paragraphs(files: list[Path]) -> Iterator[tuple[str, str]]:
    for file in files:
        for number, line in read_lines(file):
            try:
                check_text(line)
            except InputError as error:
                bad_line(file, number, str(error))
            yield f"{file.name}:{number}", line
