"""A thesaurus file as arrays over terms: `headword<TAB>equivalents<TAB>related words`, lists by comma, a line a sense."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splade_ptbr_connectors.encoding.thesaurus import EQUIVALENT, HEAD, RELATED, Integers, Rows, Thesaurus
from splade_ptbr_connectors.evaluation.files import bad_line, read_lines

MOST_MEMBERS = 255


@dataclass(frozen=True)
class Line:
    """One sense."""

    headword: str
    equivalents: tuple[str, ...]
    related: tuple[str, ...]

    def members(self) -> Iterator[tuple[str, int]]:
        """(expression, role), the headword first."""
        yield self.headword, HEAD
        yield from ((word, EQUIVALENT) for word in self.equivalents)
        yield from ((word, RELATED) for word in self.related)


def read_thesaurus(path: Path) -> list[Line]:
    """The senses of a file. Raises InputFileError for a line without a headword or with more than three columns."""
    lines = []
    for number, text in read_lines(path):
        columns = text.split("\t")
        if not columns[0].strip() or len(columns) > 3:
            bad_line(path, number, "expected headword, equivalents and related words, separated by tabs.")
        equivalents, related = (_listed(column) for column in [*columns[1:], "", ""][:2])
        lines.append(Line(columns[0].strip(), equivalents, related))
    return lines


def build_thesaurus(lines: Iterable[Line], terms_of: Callable[[list[str]], list[Integers]], size: int) -> Thesaurus:
    """Senses over the terms of their words; expressions without a term, and those that a sense has already, are left out.

    Args:
        terms_of: the terms of each of some texts, in order.
        size: V, number of terms.
    """
    members = [list(line.members())[:MOST_MEMBERS] for line in lines]
    texts = list(dict.fromkeys(word for sense in members for word, _ in sense))
    keys = {text: tuple(dict.fromkeys(terms.tolist())) for text, terms in zip(texts, terms_of(texts), strict=True)}
    expressions: dict[tuple[int, ...], int] = {}
    senses: list[dict[int, int]] = []
    for sense in members:
        kept: dict[int, int] = {}
        for word, role in sense:
            if keys[word]:
                kept.setdefault(expressions.setdefault(keys[word], len(expressions)), role)
        if len(kept) > 1:
            senses.append(kept)
    return Thesaurus(_rows(list(expressions)), _rows([list(sense) for sense in senses]), _flat(list(map(dict.values, senses))), size)


def _listed(column: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in column.split(",") if word.strip())


def _rows(rows: list[tuple[int, ...]] | list[list[int]]) -> Rows:
    return Rows.of(_flat(rows), np.array([len(row) for row in rows], np.int64))


def _flat(rows: Iterable[Iterable[int]]) -> Integers:
    return np.array([value for row in rows for value in row], np.int64)
