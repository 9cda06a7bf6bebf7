"""How vectors are spelled in a file: what terms are called, how weights become integers, which model they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, InputFileError, VectorError
from ..records import EncodedRecord
from ..vectors import SparseVector
from .terms import TermIds, Terms

DEFAULT_QUANTISATION = 100
MAX_DECIMALS = 10  # tried for all weights of a vector at once, before single ones
MAX_IMPACT = 2**31 - 1  # CIFF and Lucene hold frequencies as signed 32-bit integers

TermArray = NDArray[np.uint32]
Impacts = NDArray[np.uint32]
Progress = Callable[[Iterable[Any], str], Iterable[Any]]  # (things, their name) -> the same things, watched


def unwatched(things: Iterable[Any], name: str) -> Iterable[Any]:
    """The progress of nobody who watches."""
    return things


@dataclass
class Counts:
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
class Convention:
    """How one file spells its vectors.

    Attributes:
        terms: what the terms are called.
        quantisation: an impact is the weight times this, rounded; None where it is not known, or weights are kept as they are.
        fingerprint: of the model that made the vectors, None if not known.
        documents_per_file: for formats that spread over the files of a folder.
        progress: watches long loops.
    """

    terms: Terms = field(default_factory=TermIds)
    quantisation: int | None = DEFAULT_QUANTISATION
    fingerprint: str | None = None
    documents_per_file: int = 1_000_000
    progress: Progress = unwatched

    def __post_init__(self) -> None:
        for name in ("quantisation", "documents_per_file"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_IMPACT):
                raise ConfigError(f"{name} is {value!r}: it must be an integer from 1 to {MAX_IMPACT}.")

    @property
    def factor(self) -> int:
        """The factor of a format whose weights are integers. Raises ConfigError if it is not known."""
        if self.quantisation is None:
            raise ConfigError("the file holds integers in place of weights: say by which factor weights were multiplied, such as 100.")
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

    def quantised(self, records: Iterable[EncodedRecord], counts: Counts) -> Iterator[tuple[EncodedRecord, TermArray, Impacts]]:
        """Each record with its term ids and impacts, counted."""
        for record in records:
            try:
                term_ids, impacts = self.quantise(record.vector)
            except VectorError as error:
                raise VectorError(f"document {record.doc_id!r}: {error}") from error
            counts.add(len(term_ids), len(record.vector) - len(term_ids))
            yield record, term_ids, impacts


def counted(records: Iterable[EncodedRecord], counts: Counts) -> Iterator[EncodedRecord]:
    """The records, counted."""
    for record in records:
        counts.add(len(record.vector))
        yield record


def text_of(record: EncodedRecord) -> str:
    """What a record says: title, a space, text; "" where it brought neither. Raises InputFileError if they are no strings."""
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
    for position in np.flatnonzero(left | ~usual).tolist():  # very small or very large: one by one
        numbers[position] = float(str(weights[position]))
    return numbers
