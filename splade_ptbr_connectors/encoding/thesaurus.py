"""A thesaurus as arrays: expressions of terms, gathered in senses, and the edges that lead from the words of a query to others.

An expression is a tuple of term ids ("dor de cabeça" without its stop word). A sense has one headword, its equivalents and related
words. An edge leads from an expression that the query has to another member of a sense that they share.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFormatError

Integers = NDArray[np.int64]
HEAD, EQUIVALENT, RELATED = 0, 1, 2
KIND = np.array([[-1, 0, 2], [1, 4, 5], [3, -1, -1]])
"""Kind of the edge between two roles, -1 for none: related words lead to the headword alone, not to each other."""
KINDS = 6
LONGEST = 5  # terms of an expression that is looked for in a query
PREFIX = "thesaurus."


@dataclass(frozen=True, slots=True)
class Rows:
    """Lists of numbers, one behind the other: row i is values[starts[i]:starts[i + 1]]."""

    values: Integers
    starts: Integers
    sizes: Integers
    """[R] how many values each row has."""

    @classmethod
    def of(cls, values: NDArray[Any], sizes: NDArray[Any]) -> Self:
        """From the values and the size of each row."""
        return cls(values.astype(np.int64), np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]), sizes.astype(np.int64))

    def places(self, rows: Integers) -> tuple[Integers, Integers]:
        """(which of `rows`, place in values) of every value of these rows."""
        starts, sizes = self.starts[rows], self.sizes[rows]
        of_row = np.repeat(np.arange(len(rows)), sizes)
        return of_row, np.arange(len(of_row)) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)

    def inverted(self, size: int) -> Rows:
        """For each value below `size` the rows that have it."""
        order = np.argsort(self.values, kind="stable")
        return Rows.of(np.repeat(np.arange(len(self.sizes)), self.sizes)[order], np.bincount(self.values, minlength=size))


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of one query. S sources, A arcs (a source in one of its senses), E edges.

    Attributes:
        sources: [S] expressions that the query has.
        positions: [S] where each begins among its terms.
        arc_source, arc_sense, arc_order: [A] which source, which sense, and the how-manieth sense of the source it is.
        arc: [E] the arc of each edge.
        target: [E] the expression that it leads to.
        kind, rank: [E] see KIND; place among the members of the same role.
    """

    sources: Integers
    positions: Integers
    arc_source: Integers
    arc_sense: Integers
    arc_order: Integers
    arc: Integers
    target: Integers
    kind: Integers
    rank: Integers

    def __len__(self) -> int:
        """E."""
        return len(self.arc)

    @property
    def source(self) -> Integers:
        """[E] the source of each edge; edges stand in the order of their sources."""
        return self.arc_source[self.arc]


class Thesaurus:
    """Expressions and senses.

    Args:
        expressions: terms of each expression, in their order, no two alike.
        senses: expressions of each sense, no expression twice.
        roles: of each member of `senses`: HEAD, EQUIVALENT or RELATED.
        size: V, number of terms.
    """

    def __init__(self, expressions: Rows, senses: Rows, roles: NDArray[Any], size: int) -> None:
        self.expressions, self.senses, self.roles = expressions, senses, roles.astype(np.int64)
        self.memberships = senses.inverted(len(expressions.sizes))
        self._role_at = self.roles[np.argsort(senses.values, kind="stable")]
        self._ranks = _ranks(senses, self.roles)
        self._found = _index(expressions)
        of_sense, places = expressions.places(senses.values)
        owner = np.repeat(np.arange(len(senses.sizes)), senses.sizes)[of_sense]
        pairs = np.sort(owner * size + expressions.values[places])  # np.unique hashes, and takes ten times as long
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        self.sense_terms = Rows.of(pairs % size, np.bincount(pairs // size, minlength=len(senses.sizes)))
        self.senses_of_term = self.sense_terms.inverted(size)

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[Any]], size: int) -> Self:
        """The inverse of `tensors`. Raises ModelFormatError when arrays are missing or do not belong together."""
        try:
            terms, terms_each, members, roles, members_each = (tensors[PREFIX + name] for name in _NAMES)
        except KeyError as error:
            raise ModelFormatError(f"the tensor {error} of a thesaurus is missing: download or make the model again.") from error
        if any(array.ndim != 1 or array.dtype.kind not in "iu" for array in (terms, terms_each, members, roles, members_each)):
            raise ModelFormatError("the tensors of a thesaurus must be lists of whole numbers: download or make the model again.")
        fits = terms_each.sum() == len(terms) and members_each.sum() == len(members) == len(roles)
        inside = _within(terms, size) and _within(members, len(terms_each)) and _within(roles, 3)
        if not (fits and inside and terms_each.min(initial=1) > 0):
            raise ModelFormatError("the tensors of a thesaurus do not belong together: download or make the model again.")
        return cls(Rows.of(terms, terms_each), Rows.of(members, members_each), roles, size)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As arrays to be stored."""
        arrays: tuple[NDArray[Any], ...] = (
            self.expressions.values.astype(np.int32),
            self.expressions.sizes.astype(np.uint8),
            self.senses.values.astype(np.int32),
            self.roles.astype(np.uint8),
            self.senses.sizes.astype(np.uint8),
        )
        return {PREFIX + name: array for name, array in zip(_NAMES, arrays, strict=True)}

    def edges(self, terms: Integers) -> Edges:
        """All edges from the expressions of a query, given as its terms in their order, to expressions that are not in it whole."""
        sources, positions = self._sources(terms.tolist())
        arc_source, at = self.memberships.places(sources)
        arc_sense, arc_role = self.memberships.values[at], self._role_at[at]
        arc, place = self.senses.places(arc_sense)
        target = self.senses.values[place]
        kind = KIND[arc_role[arc], self.roles[place]]
        kept = np.flatnonzero((kind >= 0) & (target != sources[arc_source[arc]]))
        kept = kept[~self._whole(target[kept], terms)]
        order = at - self.memberships.starts[sources][arc_source]
        return Edges(sources, positions, arc_source, arc_sense, order, arc[kept], target[kept], kind[kept], self._ranks[place[kept]])

    def _sources(self, terms: list[int]) -> tuple[Integers, Integers]:
        """Distinct expressions that stand in a row among the terms, and where the first of each begins."""
        found: dict[int, int] = {}
        for length in range(1, min(LONGEST, len(terms)) + 1):
            for start in range(len(terms) - length + 1):
                expression = self._found.get(tuple(terms[start : start + length]))
                if expression is not None:
                    found.setdefault(expression, start)
        return np.array(list(found), np.int64), np.array(list(found.values()), np.int64)

    def _whole(self, targets: Integers, terms: Integers) -> NDArray[np.bool_]:
        """[E] whether all terms of an expression are among `terms`."""
        of_target, places = self.expressions.places(targets)
        inside = np.bincount(of_target, is_among(self.expressions.values[places], np.unique(terms)), minlength=len(targets))
        return np.asarray(inside == self.expressions.sizes[targets])


_NAMES = ("terms", "terms_each", "members", "roles", "members_each")


def is_among(values: Integers, known: Integers) -> NDArray[np.bool_]:
    """Whether each value is in `known`, which is sorted."""
    if not len(known):
        return np.zeros(len(values), np.bool_)
    return np.asarray(known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values)


def _within(values: NDArray[Any], size: int) -> bool:
    return not len(values) or bool(0 <= values.min() and values.max() < size)


def _ranks(senses: Rows, roles: Integers) -> Integers:
    """[M] how many members of the same sense and role stand before each."""
    key = np.repeat(np.arange(len(senses.sizes)), senses.sizes) * 3 + roles
    order = np.argsort(key, kind="stable")
    counts = np.bincount(key, minlength=3 * len(senses.sizes))
    ranks = np.empty(len(key), np.int64)
    ranks[order] = np.arange(len(key)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks


def _index(expressions: Rows) -> dict[tuple[int, ...], int]:
    values, starts = expressions.values.tolist(), expressions.starts.tolist()
    return {tuple(values[start:end]): n for n, (start, end) in enumerate(pairwise(starts))}
