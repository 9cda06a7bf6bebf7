"""How a file encodes its vectors: what terms are called, how weights become integers, which model they are of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..errors import ConfigError, InputFileError, VectorError
from ..records import EncodedRecord
from ..validation import check
from ..vectors import MAX_TERM_ID, SparseVector

if TYPE_CHECKING:
    from ..encoding.protocol import Encoder

TermNames = Literal["ids", "tokens"]
IDS: TermNames = "ids"
TOKENS: TermNames = "tokens"
_MAX_DIGITS = len(str(MAX_TERM_ID))
DEFAULT_QUANTISATION = 100
MAX_DECIMALS = 10  # tried for all weights of a vector at once, before single ones
MAX_IMPACT = 2**31 - 1  # CIFF and Lucene hold frequencies as signed 32-bit integers

TermArray = NDArray[np.uint32]
Impacts = NDArray[np.uint32]
Factor = Annotated[int, Field(ge=1, le=MAX_IMPACT, strict=True)]
Progress = Callable[[Iterable[Any], str], Iterable[Any]]  # (things, their name) -> the same things, shown as they pass


def not_shown(things: Iterable[Any], name: str) -> Iterable[Any]:
    """Progress that is shown to nobody."""
    return things


class Terms(Protocol):
    """A two-way naming of terms; `label` is its name in manifests and reports."""

    @property
    def label(self) -> TermNames:
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

    label: TermNames = IDS

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

    label: TermNames = TOKENS

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
        """The terms of tokens. Raises VectorError for a token that the vocabulary lacks or has more than once."""
        try:
            return [self._ids[name] for name in names]
        except KeyError as error:
            raise VectorError(
                f"{str(error.args[0])[:60]!r} is not a token of {self._model}: give the model that made the vectors, "
                "or say that terms are named by ids if they are."
            ) from error


@dataclass
class WriteCounts:
    """What a writer wrote.

    Attributes:
        dropped: postings left out because their weight was rounded to 0.
        empty: documents left without a posting.
    """

    documents: int = 0
    postings: int = 0
    dropped: int = 0
    empty: int = 0

    def add(self, kept: int, dropped: int = 0) -> None:
        """Count one document."""
        self.documents += 1
        self.postings += kept
        self.dropped += dropped
        self.empty += kept == 0


@dataclass(frozen=True)
class VectorEncoding:
    """How one file encodes its vectors.

    Attributes:
        terms: what the terms are called.
        quantisation: an impact is the weight times this, rounded; None where it is not known, or weights are kept as they are.
        fingerprint: of the model that made the vectors, None if not known.
        documents_per_file: for formats that spread over the files of a folder.
        progress: shows how far long loops are.
    """

    terms: Terms = field(default_factory=TermIds)
    quantisation: int | None = DEFAULT_QUANTISATION
    fingerprint: str | None = None
    documents_per_file: int = 1_000_000
    progress: Progress = not_shown

    def __post_init__(self) -> None:
        check("quantisation", self.quantisation, Factor | None)
        check("documents_per_file", self.documents_per_file, Factor)

    @property
    def factor(self) -> int:
        """The factor of a format whose weights are integers. Raises ConfigError if it is not known."""
        if self.quantisation is None:
            raise ConfigError("the file holds integers instead of weights: give the factor by which weights were multiplied, such as 100.")
        return self.quantisation

    def quantise(self, vector: SparseVector) -> tuple[TermArray, Impacts]:
        """(term ids, impacts) of a vector: round(weight * factor), half to even; impacts of 0 are left out.

        Raises:
            VectorError: an impact above 2**31 - 1.
        """
        scaled = np.rint(vector.weights.astype(np.float64) * self.factor)
        if len(scaled) and scaled.max() > MAX_IMPACT:
            raise VectorError(f"weight {vector.weights.max():g} times {self.factor} is above {MAX_IMPACT}: use a smaller quantisation.")
        kept = scaled > 0
        return vector.term_ids[kept], scaled[kept].astype(np.uint32)

    def restore(self, term_ids: Any, impacts: Any) -> SparseVector:
        """The vector with the weights impact / factor; impacts are integers > 0. Raises VectorError for anything else."""
        return SparseVector(term_ids, np.asarray(impacts, np.float64) / self.factor)

    def quantised(self, records: Iterable[EncodedRecord], counts: WriteCounts) -> Iterator[tuple[EncodedRecord, TermArray, Impacts]]:
        """Each record with its term ids and impacts, counted."""
        for record in records:
            try:
                term_ids, impacts = self.quantise(record.vector)
            except VectorError as error:
                raise VectorError(f"document {record.doc_id!r}: {error}") from error
            counts.add(len(term_ids), len(record.vector) - len(term_ids))
            yield record, term_ids, impacts


def counted(records: Iterable[EncodedRecord], counts: WriteCounts) -> Iterator[EncodedRecord]:
    """The records, counted."""
    for record in records:
        counts.add(sum(map(len, record.vectors)))
        yield record


def text_of(record: EncodedRecord) -> str:
    """What a record says: title, a space, text; "" where it brought neither. Raises InputFileError if they are not strings."""
    parts = [record.payload.get(name) or "" for name in ("title", "text")]
    for part in parts:
        if not isinstance(part, str):
            raise InputFileError(f"title or text of document {record.doc_id!r} is {type(part).__name__}: it must be a string.")
    return " ".join(filter(None, parts))


def shortest(vector: SparseVector) -> list[float]:
    """The weights as numbers with the fewest digits that are the same float32: 0.3, not 0.30000001192092896."""
    weights, exact = vector.weights, vector.weights.astype(np.float64)
    usual = weights < 2**24  # above that not even all digits before the point are needed
    exact[~usual] = 0
    found, left = exact.copy(), usual.copy()
    for decimals in range(MAX_DECIMALS):
        rounded = np.round(exact, decimals)
        hit = left & (rounded.astype(np.float32) == weights)
        found[hit] = rounded[hit]
        left &= ~hit
        if not left.any():
            break
    numbers: list[float] = found.tolist()
    for position in np.flatnonzero(left | ~usual).tolist():  # very small or very large ones singly
        numbers[position] = float(str(weights[position]))
    return numbers
