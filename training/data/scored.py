"""Scored lines: JSONL of queries with a positive, mined negatives and the scores that a teacher gave them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from splade_ptbr_connectors.errors import ConfigError
from training.data.cache import ArrayWriter, open_cached
from training.data.line_rows import LineRows, build_lines
from training.data.rows import Row, RowBatches, RowError
from training.data.texts import TextStore
from training.recipe.sections import ScoredData

FIELDS = ("query_id", "query", "documents", "doc_ids", "positives", "scores")


class ScoredLines:
    """Parses lines; texts that a line does not hold come from the stores.

    query, query_id      the text, or an id of `queries`, or both (queries are then told apart by id)
    documents, doc_ids   texts, or ids of `collection`, or both; the positive first, then the negatives
    positives            further known positives: ids where there are doc_ids, else texts
    scores               one for each document
    """

    def __init__(self, queries: TextStore | None, documents: TextStore | None) -> None:
        self._queries, self._documents = queries, documents
        self.used = {"queries": 0, "collection": 0}
        """Lines whose query, and whose documents, were looked up."""

    def __call__(self, line: bytes) -> Row:
        """A line as a row. Raises RowError."""
        raw = _object(line)
        texts, ids = _names(raw, "documents", numbers=False), _names(raw, "doc_ids", numbers=True)
        if texts is not None and ids is not None and len(texts) != len(ids):
            raise RowError(f'{len(texts)} "documents" and {len(ids)} "doc_ids": expected one id for each.')
        if texts is None:
            self._require_texts(ids)
        keys = ids if ids is not None else texts or ()
        if not keys:
            raise RowError('no document: "documents" (or "doc_ids") begins with the positive.')
        positives = _names(raw, "positives", numbers=True) or ()
        return Row(*self._query(raw), keys, texts, frozenset((keys[0], *positives)), _scores(raw))

    def _query(self, raw: dict[str, Any]) -> tuple[str, str]:
        """(what tells it apart, text)."""
        text, query_id = raw.get("query"), raw.get("query_id")
        if query_id is not None:
            query_id = _name(query_id, "query_id", numbers=True)
        if text is not None:
            text = _name(text, "query", numbers=False)
            return query_id or text, text
        if query_id is None:
            raise RowError('expected "query", a text, or "query_id", an id of data.queries.')
        if self._queries is None:
            raise RowError(f'no "query" text, and there is no data.queries to find the id {query_id!r} in.')
        self.used["queries"] += 1
        return query_id, self._queries.text(_row(self._queries, [query_id])[0])

    def _require_texts(self, ids: tuple[str, ...] | None) -> None:
        """Every id has a text."""
        if ids is None:
            raise RowError('expected "documents", texts, or "doc_ids", ids of data.collection.')
        if self._documents is None:
            raise RowError('no "documents", and there is no data.collection to find "doc_ids" in.')
        self.used["collection"] += 1
        rows = _row(self._documents, ids)
        empty = self._documents.empty(rows)
        if empty:
            raise RowError(f"the document {ids[empty[0]]!r} is empty in {self._documents.path}.")


def _object(line: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RowError(f"not valid JSON: {error}.") from error
    if not isinstance(raw, dict):
        raise RowError(f"expected an object, it is {type(raw).__name__}.")
    for name in raw.keys() - set(FIELDS):
        meant = get_close_matches(name, FIELDS, n=1, cutoff=0.75)
        if meant:
            raise RowError(f"the field {name!r} is not known: did you mean {meant[0]!r}? Other fields are ignored.")
    return raw


def _names(raw: dict[str, Any], field: str, *, numbers: bool) -> tuple[str, ...] | None:
    """A list of texts or ids; None where there is none."""
    value = raw.get(field)
    if value is None:
        return None
    if not isinstance(value, list):
        raise RowError(f'"{field}" is {type(value).__name__}: expected a list.')
    return tuple(_name(each, field, numbers=numbers) for each in value)


def _name(value: Any, field: str, *, numbers: bool) -> str:
    """A text; an id may also be a whole number."""
    if isinstance(value, str) or (numbers and isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise RowError(f'"{field}" has {type(value).__name__} {str(value)[:40]!r}: expected {"an id" if numbers else "a text"}.')


def _scores(raw: dict[str, Any]) -> tuple[float, ...] | None:
    scores = raw.get("scores")
    if scores is None and "scores" in raw:
        raise RowError('"scores" is null: expected a list of numbers.')
    if scores is not None and not isinstance(scores, list):
        raise RowError(f'"scores" is {type(scores).__name__}: expected a list of numbers.')
    return None if scores is None else tuple(scores)


def _row(store: TextStore, ids: Sequence[str]) -> list[int]:
    rows: list[int] = store.rows(ids).tolist()
    if -1 in rows:
        raise RowError(f"{ids[rows.index(-1)]!r} is not an id of {store.path}.")
    return rows


def _build(writer: ArrayWriter, parse: ScoredLines, negatives: int) -> None:
    build_lines(writer, parse, negatives=negatives, limit=None, blank_lines=True)
    writer.facts["looked_up"] = parse.used


class ScoredBatches(RowBatches):
    """Batches of scored lines; the scores become the batch's teacher matrix.

    Known positives of a query are what any of its lines names as such. `data.negatives` of a line are drawn in every epoch.
    """

    def __init__(self, section: ScoredData, data_dir: Path, cache_dir: Path, *, batch_queries: int, seed: int) -> None:
        """Opens the file; the first time, all of it is looked at.

        Raises:
            InputFileError: naming the line: not JSON, a text or id that is not there, other counts of scores than of documents,
                a score that is missing or not finite, fewer usable negatives than data.negatives.
            ConfigError: a batch of more queries than lines.
        """
        path = data_dir / section.path
        queries, documents = (
            None if name is None else TextStore.open(data_dir / name, cache_dir) for name in (section.queries, section.collection)
        )
        parse = ScoredLines(queries, documents)
        identities = [store and store.sha256 for store in (queries, documents)]
        arrays = open_cached(
            cache_dir,
            section.kind,
            files={"lines": path},
            inputs={"variant": section.negatives, "stores": identities},
            build=lambda writer: _build(writer, parse, section.negatives),
        )
        for name in ("queries", "collection"):
            if getattr(section, name) is not None and not arrays.facts["looked_up"][name]:
                raise ConfigError(f"data.{name} has no effect: the lines of {path} hold these texts; leave it out.")
        rows = LineRows(section.kind, path, arrays, parse, documents)
        super().__init__(rows, arrays, negatives=section.negatives, batch_queries=batch_queries, seed=seed)
