"""Batches from rows that each hold a query and its documents: text triplets, scored JSONL lines, rows of a hub dataset.

All rows are looked at once, before the first step: what is wrong with row 400,000 is known at the start, not a day later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np

from splade_ptbr_connectors.errors import TextError
from splade_ptbr_connectors.text import check_text
from training.data.batches import Batch, Example, collate
from training.data.cache import ArrayWriter, CachedArrays
from training.data.known import KnownPositives, PairCollector, text_number
from training.data.permutation import EpochOrder, Permutation

_CHUNK = 100_000
"""Rows whose numbers are held in memory while all are looked at."""
LARGEST_SCORE = float(np.finfo(np.float32).max)
Fail = Callable[[int, str], NoReturn]
"""Raises InputFileError for a row, by its number from 0."""


class RowError(ValueError):
    """What is wrong with a row; where it is, its reader adds."""


@dataclass(frozen=True)
class Row:
    """A query and its documents.

    Attributes:
        query_key: tells queries apart: an id, or the text.
        keys: of the documents, the positive first: ids, or the texts.
        texts: of the documents; None: they are found by their keys.
        positives: keys of every known positive.
        scores: the teacher's, one a document.
    """

    query_key: str
    query: str
    keys: tuple[str, ...]
    texts: tuple[str, ...] | None
    positives: frozenset[str]
    scores: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.scores is not None and len(self.scores) != len(self.keys):
            raise RowError(f"{len(self.scores)} scores for {len(self.keys)} documents: expected one for each.")
        for name, text in (("query", self.query), *((f"document {place}", text) for place, text in enumerate(self.texts or ()))):
            _check(name, text)
        for place, score in enumerate(self.scores or ()):
            if isinstance(score, bool) or not isinstance(score, int | float):
                raise RowError(f"document {place} has no score (it is {score!r}): a teacher must score every document.")
            if not abs(score) <= LARGEST_SCORE:
                raise RowError(f"the score of document {place} is {str(score)[:40]}: it must be a finite number.")


def _check(name: str, text: str) -> None:
    try:
        if not check_text(text, f"the {name}").strip():
            raise RowError(f"the {name} is empty.")
    except TextError as error:
        raise RowError(str(error)) from error


class Rows(Protocol):
    """Random access to rows."""

    kind: str

    def row(self, index: int) -> Row:
        """A row by its number, from 0. Raises InputFileError."""
        ...

    def text(self, key: str) -> str:
        """The text of a document whose row does not hold it."""
        ...


class RowBatches:
    """Batches of rows; `negatives` of each row are drawn anew in every epoch, without replacement.

    Left out, and counted: a negative that is a known positive of its query in this or any other row, and one that its row
    has twice.

    Args:
        arrays: made by `look_at`.
        negatives: drawn for each query; None: all of its row.
    """

    def __init__(self, rows: Rows, arrays: CachedArrays, *, negatives: int | None, batch_queries: int, seed: int) -> None:
        self._rows, self._arrays, self._negatives, self._seed = rows, arrays, negatives, seed
        self._order = EpochOrder(int(arrays.facts["rows"]), seed=seed, batch=batch_queries)

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        places, epochs = self._order.step(step)
        indices = self._arrays["kept"][places].tolist()
        known = KnownPositives(self._arrays["positives"])
        drawn = [self._drawn(known, index, epoch) for index, epoch in zip(indices, epochs.tolist(), strict=True)]
        return collate(_with_known(known, drawn), source=self._rows.kind)

    def _drawn(self, known: KnownPositives, index: int, epoch: int) -> tuple[str, Example]:
        """(query key, example) with the negatives of this epoch."""
        row = self._rows.row(index)
        usable = _usable(known, row)
        if self._negatives is not None:
            order = Permutation(max(1, len(usable)), key=(self._seed, epoch, index))
            usable = [usable[place] for place in order(np.arange(min(self._negatives, len(usable)), dtype=np.int64)).tolist()]
        places = [0, *usable]
        keys = tuple(row.keys[place] for place in places)
        texts = tuple(self._rows.text(key) for key in keys) if row.texts is None else tuple(row.texts[place] for place in places)
        scores = None if row.scores is None else tuple(float(row.scores[place]) for place in places)
        return row.query_key, Example(row.query, texts, keys, row.positives, scores)

    @property
    def sizes(self) -> Mapping[str, Any]:
        """Counts of rows, of different queries with their positives, and of what was left out."""
        return {**self._arrays.facts, "known_positives": len(self._arrays["positives"]), "steps_per_epoch": self._order.steps_per_epoch}

    @property
    def sha256(self) -> str:
        """Of the content of all files, or of all rows of a dataset, and of what decides which are used."""
        return self._arrays.sha256


def _usable(known: KnownPositives, row: Row) -> list[int]:
    """Places of the negatives that are left: no known positive, none twice."""
    numbers = np.array([text_number(key) for key in row.keys], dtype=np.uint32)
    right = known.contains(np.full(len(numbers), text_number(row.query_key), dtype=np.uint32), numbers)
    first = {key: place for place, key in reversed(list(enumerate(row.keys)))}
    return [place for place in range(1, len(row.keys)) if not right[place] and first[row.keys[place]] == place]


def _with_known(known: KnownPositives, drawn: list[tuple[str, Example]]) -> list[Example]:
    """Examples whose `known` has every document of the batch that is right for their query, whichever row says so."""
    key_of = {text_number(key): key for _, example in drawn for key in example.keys}
    examples = []
    for query_key, example in drawn:
        numbers = known.documents(text_number(query_key)).tolist()
        right = example.known | {key_of[number] for number in numbers if number in key_of}
        examples.append(Example(example.query, example.documents, example.keys, right, example.scores))
    return examples


# -- the first look ---------------------------------------------------------------------------------------------------


def look_at(writer: ArrayWriter, rows: Iterable[Row], *, negatives: int | None, fail: Fail) -> None:
    """Makes the arrays `positives` (KnownPositives of text numbers) and `kept` (row numbers), and counts.

    Args:
        negatives: a row with fewer usable ones is an error; None: a row that names some and has none left is left out.

    Raises:
        InputFileError: from `fail`.
    """
    look = _Look(writer)
    for index, row in enumerate(rows):
        if (row.scores is None and look.scored) or (row.scores is not None and look.scored is False):
            fail(index, "teacher scores: some rows have them and some do not; every row needs them, or none.")
        look.add(row)
    look.flush()
    writer.append("positives", look.positives.result())
    facts = _keep(writer, negatives, fail)
    queries = len(np.unique(writer["query_numbers"]))
    writer.discard("query_numbers", "document_numbers", "document_counts")
    writer.facts.update({**facts, "queries": queries, "left_out_repeated_negative": look.repeated, "scored": bool(look.scored)})


class _Look:
    """Rows as numbers: of the query, of its positive, of each of its negatives once."""

    def __init__(self, writer: ArrayWriter) -> None:
        self.positives = PairCollector()
        self.repeated = 0
        self.scored: bool | None = None
        self._writer = writer
        self._clear()

    def _clear(self) -> None:
        self._queries, self._documents, self._counts = list[int](), list[int](), list[int]()
        self._pairs: tuple[list[int], list[int]] = [], []

    def add(self, row: Row) -> None:
        self.scored = row.scores is not None
        query, negatives = text_number(row.query_key), list(dict.fromkeys(row.keys[1:]))
        self.repeated += len(row.keys) - 1 - len(negatives)
        self._queries.append(query)
        self._documents += [text_number(row.keys[0]), *map(text_number, negatives)]
        self._counts.append(1 + len(negatives))
        right = {row.keys[0], *row.positives}
        self._pairs[0].extend([query] * len(right))
        self._pairs[1].extend(map(text_number, right))
        if len(self._queries) == _CHUNK:
            self.flush()

    def flush(self) -> None:
        self._writer.append("query_numbers", np.array(self._queries, dtype=np.uint32))
        self._writer.append("document_numbers", np.array(self._documents, dtype=np.uint32))
        self._writer.append("document_counts", np.array(self._counts, dtype=np.int64))
        self.positives.add(*(np.array(side, dtype=np.uint32) for side in self._pairs))
        self._clear()


def _keep(writer: ArrayWriter, negatives: int | None, fail: Fail) -> dict[str, int]:
    """The rows that have enough negatives that are not known positives."""
    known, counts = KnownPositives(writer["positives"]), writer["document_counts"]
    begin = kept_rows = wrong_negatives = 0
    for start in range(0, len(counts), _CHUNK):
        part = counts[start : start + _CHUNK]
        places = np.cumsum(part) - part
        numbers = writer["document_numbers"][begin : begin + int(part.sum())]
        right = known.contains(np.repeat(writer["query_numbers"][start : start + _CHUNK], part), numbers)
        usable = part - np.add.reduceat(right, places, dtype=np.int64)  # the positive is a known positive
        short = np.flatnonzero(usable < (negatives or 0))
        if len(short):
            row = int(short[0])
            fail(start + row, f"{usable[row]} of {part[row] - 1} negatives can be used, and data.negatives is {negatives}.")
        kept = np.flatnonzero((usable > 0) | (part == 1) | (negatives is not None))
        writer.append("kept", kept + start)
        wrong_negatives += int(right.sum()) - len(part)
        begin, kept_rows = begin + int(part.sum()), kept_rows + len(kept)
    return {"rows": kept_rows, "left_out_rows": len(counts) - kept_rows, "left_out_negative_is_positive": wrong_negatives}
