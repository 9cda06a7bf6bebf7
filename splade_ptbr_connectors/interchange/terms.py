"""What a term is called in a file: its id in decimal, or the token of a model's vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import VectorError
from ..vectors import MAX_TERM_ID

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder

IDS, TOKENS = "ids", "tokens"
_MAX_DIGITS = len(str(MAX_TERM_ID))


class Terms(Protocol):
    """A two-way naming of terms; `label` says which in manifests and reports."""

    @property
    def label(self) -> str:
        """IDS or TOKENS."""
        ...

    def names(self, term_ids: NDArray[np.uint32]) -> list[str]:
        """The names of terms, in their order. Raises VectorError for a term without a name of its own."""
        ...

    def ids(self, names: Iterable[str]) -> list[int]:
        """The terms of names, in their order. Raises VectorError for an unknown name."""
        ...


class TermIds:
    """Term ids in decimal: "1234". Needs no model."""

    label = IDS

    def names(self, term_ids: NDArray[np.uint32]) -> list[str]:
        """The names of terms."""
        return list(map(str, term_ids.tolist()))

    def ids(self, names: Iterable[str]) -> list[int]:
        """The terms of names. Raises VectorError for anything but "0" or digits that do not start with 0."""
        return [self._id(name) for name in names]

    def _id(self, name: str) -> int:
        if not (name.isascii() and name.isdigit() and len(name) <= _MAX_DIGITS and (name[0] != "0" or name == "0")):
            raise VectorError(f"term {name[:60]!r} is not a term id such as 1234: give the model if terms are called by their tokens.")
        return int(name)


class Tokens:
    """The tokens of a model's vocabulary. A token that two terms share names neither: such terms cannot be written."""

    label = TOKENS

    def __init__(self, encoder: Encoder) -> None:
        self._model = encoder.name
        self._names = [encoder.token(term_id) for term_id in range(encoder.vocab_size)]
        self._shared = frozenset(name for name, count in Counter(self._names).items() if count > 1)
        self._ids = {name: term_id for term_id, name in enumerate(self._names) if name not in self._shared}

    def names(self, term_ids: NDArray[np.uint32]) -> list[str]:
        """The tokens of terms. Raises VectorError for a term outside the vocabulary, or one whose token is not its own."""
        if len(term_ids) and int(term_ids.max()) >= len(self._names):
            raise VectorError(
                f"term id {term_ids.max()} lies outside the vocabulary of {len(self._names):,} terms of {self._model}: "
                "give the model that made the vectors."
            )
        names = [self._names[term_id] for term_id in term_ids.tolist()]
        if self._shared and not self._shared.isdisjoint(names):
            name = next(name for name in names if name in self._shared)
            raise VectorError(f"token {name!r} of {self._model} is that of several terms: name terms by their ids instead.")
        return names

    def ids(self, names: Iterable[str]) -> list[int]:
        """The terms of tokens. Raises VectorError for a token that the vocabulary does not have, or has twice."""
        try:
            return [self._ids[name] for name in names]
        except KeyError as error:
            raise VectorError(
                f"{str(error.args[0])[:60]!r} is no token of {self._model}: give the model that made the vectors, "
                "or say that terms are named by ids if they are."
            ) from error
