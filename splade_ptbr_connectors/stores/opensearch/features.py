"""How a sparse vector lies in an index: the fields, the names of its terms in them, the text of it in a bulk request."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreFormatError
from ...vectors import SparseBatch, SparseVector

FIELD = "sparse"
TERMS_PER_FIELD = 2048
ONE_FIELD = "vocabulary ids"
_SPLIT = "vocabulary ids, split by "

# One term of the usual kind is '"12"  :0.1234567890,'. Blanks are allowed between the tokens of JSON, and ten digits behind the
# point tell every float32 of this range from its neighbours, which are at least 2.3e-10 apart.
SMALLEST, LARGEST = np.float32(2**-9), np.float32(10)  # of the weights; the largest itself is not of this kind
MAX_NAMES = 100_000  # of up to five digits
VALUE_BYTES = 13


@dataclass(frozen=True)
class FeatureLayout:
    """Which field keeps which terms.

    The server reads a document's JSON with a table of the names that it has seen, which it throws away at 6,000: with every
    term id a name of its own, it spends most of a bulk load on making that table anew. So the terms are split over several
    fields in which the same few names recur: term 5000 is the feature "904" of the field "sparse.4096".

    Attributes:
        terms_per_field: 0 keeps all terms in the one field "sparse", named by their ids, as neural_sparse wants it.
    """

    terms_per_field: int = TERMS_PER_FIELD

    @property
    def scheme(self) -> str:
        """The feature scheme, as the index notes it."""
        return f"{_SPLIT}{self.terms_per_field}" if self.terms_per_field else ONE_FIELD

    @classmethod
    def of_scheme(cls, scheme: object, where: str) -> FeatureLayout:
        """Out of what an index notes. Raises StoreFormatError for a scheme that this package does not know."""
        if scheme == ONE_FIELD:
            return cls(0)
        size = scheme.removeprefix(_SPLIT) if isinstance(scheme, str) else ""
        if size.isascii() and size.isdigit() and 0 < int(size) <= MAX_NAMES:
            return cls(int(size))
        raise StoreFormatError(f"{where} names its features by {scheme!r}, this package by {ONE_FIELD}: ingest into a new index.")

    @classmethod
    def of_mapping(cls, property: Mapping[str, Any]) -> FeatureLayout:
        """Out of the mapping of an index that notes no scheme: the fields are named by the first term that they keep."""
        firsts = sorted(int(name) for name in property.get("properties") or {} if name.isdigit())
        if not firsts:
            return cls(0)
        return cls(firsts[1]) if len(firsts) > 1 else cls()

    def mapping(self, vocab_size: int, field: Mapping[str, Any]) -> dict[str, Any]:
        """The mapping of the vector, `field` being that of one field."""
        if not self.terms_per_field:
            return dict(field)
        return {"properties": {str(first): dict(field) for first in range(0, vocab_size, self.terms_per_field)}}

    def path(self, term: int) -> str:
        """The name of a term in a query."""
        if not self.terms_per_field:
            return f"{FIELD}.{term}"
        name = term % self.terms_per_field
        return f"{FIELD}.{term - name}.{name}"

    def texts(self, vectors: Sequence[SparseVector]) -> list[bytes]:
        """For each vector the inside of its JSON object, from which a reader gets back the same float32."""
        batch = SparseBatch.from_vectors(vectors)
        names = self.terms_per_field or MAX_NAMES
        firsts = batch.term_ids // names * names if self.terms_per_field else np.zeros_like(batch.term_ids)
        usual = (batch.weights >= SMALLEST) & (batch.weights < LARGEST) & (batch.term_ids - firsts < min(names, MAX_NAMES))
        unusual = np.concatenate([[0], np.cumsum(~usual)])[batch.indptr]
        rows = zip(vectors, self._of_usual_terms(batch, firsts, usual), unusual[1:] == unusual[:-1], strict=True)
        return [text if is_usual else one_by_one(self._groups(vector)) for vector, text, is_usual in rows]

    def _of_usual_terms(self, batch: SparseBatch, firsts: NDArray[Any], usual: NDArray[np.bool_]) -> Iterator[bytes]:
        """The text of each row, right for rows of usual terms only."""
        names, width = np.where(usual, batch.term_ids - firsts, 0), len(str((self.terms_per_field or MAX_NAMES) - 1)) + 3
        blob = _fixed_width(names, np.where(usual, batch.weights, 1), width).tobytes()
        size = width + VALUE_BYTES
        if not self.terms_per_field:
            yield from (blob[size * a : size * b].removesuffix(b",") for a, b in itertools.pairwise(batch.indptr.tolist()))
            return
        starts, bounds = _group_starts(batch, firsts)
        ends = (size * np.append(starts, len(names))[1:] - 1).tolist()  # without the last comma
        first_terms, begins = firsts[starts].tolist(), (size * starts).tolist()
        groups = [b'"%d":{%s}' % (term, blob[a:b]) for term, a, b in zip(first_terms, begins, ends, strict=True)]
        yield from (b",".join(groups[a:b]) for a, b in itertools.pairwise(bounds))

    def _groups(self, vector: SparseVector) -> dict[str, Any]:
        """A vector as it lies in a document."""
        flat = zip(vector.term_ids.tolist(), vector.weights.tolist(), strict=True)
        if not self.terms_per_field:
            return {str(term): weight for term, weight in flat}
        groups: dict[str, dict[str, float]] = {}
        for term, weight in flat:
            name = term % self.terms_per_field
            groups.setdefault(str(term - name), {})[str(name)] = weight
        return groups


def to_vector(stored: Mapping[str, Any]) -> SparseVector:
    """The vector out of a document, whichever way it lies there."""
    flat: dict[int, float] = {}
    for name, value in stored.items():
        if isinstance(value, Mapping):
            first = int(name)
            flat.update({first + int(inner): weight for inner, weight in value.items()})
        else:
            flat[int(name)] = value
    return SparseVector.from_dict(flat)


def one_by_one(groups: Mapping[str, Any]) -> bytes:
    """The inside of a JSON object, for any float32; nine significant digits give each of them back."""
    parts = [
        b'"%s":{%s}' % (name.encode(), one_by_one(value)) if isinstance(value, Mapping) else b'"%s":%.9g' % (name.encode(), value)
        for name, value in groups.items()
    ]
    return b",".join(parts)


def _group_starts(batch: SparseBatch, firsts: NDArray[Any]) -> tuple[NDArray[np.int64], list[int]]:
    """Where a row or a field begins among the terms of a batch, and with which of these beginnings each row starts."""
    begins = np.empty(len(firsts), bool)
    begins[:1] = True
    np.not_equal(firsts[1:], firsts[:-1], out=begins[1:])
    begins[batch.indptr[:-1][batch.indptr[:-1] < len(firsts)]] = True
    starts = np.flatnonzero(begins)
    return starts, np.searchsorted(starts, batch.indptr).tolist()


def _fixed_width(names: NDArray[Any], weights: NDArray[Any], width: int) -> NDArray[np.uint8]:
    """[N, width + 13] characters."""
    quoted, digits = _names(width), _digits()
    whole, behind = np.divmod(np.rint(weights.astype(np.float64) * 1e10).astype(np.int64), 10**10)
    texts = np.empty((len(names), width + VALUE_BYTES), np.uint8)
    texts[:, :width] = quoted[names]
    texts[:, width] = whole + ord("0")
    texts[:, width + 1] = ord(".")
    texts[:, width + 2 : width + 7] = digits[behind // 10**5]
    texts[:, width + 7 : width + 12] = digits[behind % 10**5]
    texts[:, width + 12] = ord(",")
    return texts


@functools.cache
def _names(width: int) -> NDArray[np.uint8]:
    """[10**D, width] characters: quoted numbers of up to D digits, blanks, a colon."""
    count = 10 ** (width - 3)
    text = "".join([f'"{name}"'.ljust(width - 1) + ":" for name in range(count)])
    return np.frombuffer(text.encode(), np.uint8).reshape(count, width)


@functools.cache
def _digits() -> NDArray[np.uint8]:
    """[100,000, 5] characters: numbers with leading zeros."""
    text = "".join([f"{number:05}" for number in range(10**5)])
    return np.frombuffer(text.encode(), np.uint8).reshape(10**5, 5)
