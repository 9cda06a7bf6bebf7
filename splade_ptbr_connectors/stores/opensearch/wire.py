"""What an index keeps of an entry, and back: its vector as features, its payload as it is and as terms to filter by, its `_id`.

Built by hand as bytes: a bulk load waits for this.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreFormatError
from ...filters import Scalar
from ...filters.dates import moment
from ...vectors import SparseBatch, SparseVector
from ..base import Entry
from ..dotted_names import spread
from ..passages import TEXT_FIELD, Tail, head_stored, tails
from ..payloads import PASSAGE_FIELD, PASSAGES_FIELD, point_id

SPARSE, FACETS, TENANT = "sparse", "facets", "tenant"  # fields of a document
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
        """The feature scheme, as the index records it."""
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
            return f"{SPARSE}.{term}"
        name = term % self.terms_per_field
        return f"{SPARSE}.{term - name}.{name}"

    def serialize(self, vectors: Sequence[SparseVector]) -> list[bytes]:
        """For each vector the inside of its JSON object, from which a reader gets back the same float32."""
        batch = SparseBatch.from_vectors(vectors)
        names = self.terms_per_field or MAX_NAMES
        firsts = batch.term_ids // names * names if self.terms_per_field else np.zeros_like(batch.term_ids)
        usual = (batch.weights >= SMALLEST) & (batch.weights < LARGEST) & (batch.term_ids - firsts < min(names, MAX_NAMES))
        unusual = np.concatenate([[0], np.cumsum(~usual)])[batch.indptr]
        rows = zip(vectors, self._of_usual_terms(batch, firsts, usual), unusual[1:] == unusual[:-1], strict=True)
        return [text if is_usual else serialize_slow(self._groups(vector)) for vector, text, is_usual in rows]

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


def serialize_slow(groups: Mapping[str, Any]) -> bytes:
    """The inside of a JSON object, for any float32; nine significant digits give each of them back."""
    parts = [
        b'"%s":{%s}' % (name.encode(), serialize_slow(value)) if isinstance(value, Mapping) else b'"%s":%.9g' % (name.encode(), value)
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


# -- payloads as terms: one keyword field for all paths ----------------------------------------------------------------
#
# No mapping grows with the data, no two documents can disagree about a field's type, and every comparison is exact. A term is
# PATH=s:TEXT, PATH=h:HASH (of a long text), PATH=b:true, PATH=n:KEY, PATH=d:KEY (of a text that is a date, beside the text), or PATH=e: of
# whatever exists. The order of the keys is that of the numbers and of the moments, so that a range of these is a range of terms.

MAX_TEXT_BYTES = 128  # a longer text or path is its hash: Lucene takes terms of up to 32 KB, the dictionary of terms is in memory
EXISTING = "e:"
FACET_SCHEME = "values, dates and existence"  # saved by indexes whose documents all have these terms
_ESCAPES = str.maketrans({"\\": "\\\\", ".": "\\.", "=": "\\="})


def facets(payload: Mapping[str, Any]) -> list[str]:
    """The terms of a payload: one for every field, text, number, boolean and date in it; those of a list all under the list's path.

    What stands under a name with dots has a term for that name, and one for the path that the name reads like.
    """
    return list(_terms(spread(payload, "")[0], ""))


def _terms(payload: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in payload.items():
        if value is None or value == []:
            continue
        path = prefix + escaped(name)
        start = term_start(path)
        yield start + EXISTING
        if isinstance(value, Mapping):
            yield from _terms(value, f"{path}.")
            continue
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, str | int | float):
                yield start + term_value(item)
            if isinstance(item, str) and (found := moment(item)) is not None:
                yield f"{start}d:{moment_key(found)}"


@functools.lru_cache(maxsize=4096)
def escaped(name: str) -> str:
    return name.translate(_ESCAPES)


def term_start(path: str) -> str:
    if len(path) > MAX_TEXT_BYTES // 4 and len(path.encode()) > MAX_TEXT_BYTES:
        return f"={_hash(path)}="  # no path begins with an equals sign that is not escaped
    return f"{path}="


def term_value(value: Scalar | float) -> str:
    if isinstance(value, str):
        short = len(value) <= MAX_TEXT_BYTES and (value.isascii() or len(value.encode()) <= MAX_TEXT_BYTES)
        return f"s:{value}" if short else f"h:{_hash(value)}"
    if isinstance(value, bool):
        return "b:true" if value else "b:false"
    return f"n:{number_key(value)}{'i' if isinstance(value, int) else 'f'}"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@functools.lru_cache(maxsize=4096, typed=True)
def number_key(value: float) -> str:
    """19 hex digits, ordered as the numbers are: those of the float64 at or below it, and how far an integer lies above that."""
    below = float(value)
    if isinstance(value, int) and int(below) > value:
        below = math.nextafter(below, -math.inf)
    rest = value - int(below) if isinstance(value, int) else 0
    bits: int = struct.unpack(">Q", struct.pack(">d", below + 0.0))[0]  # adding 0.0 turns -0.0 into 0.0
    return f"{bits ^ (2**64 - 1 if bits >> 63 else 2**63):016x}{rest:03x}"


def moment_key(moment: int) -> str:
    """18 hex digits, ordered as the moments are, in microseconds since 1970."""
    return f"{moment + 2**70:018x}"


# -- documents ----------------------------------------------------------------------------------------------------------

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode


def document_key(doc_id: str, tenant: str | None) -> str:
    """`_id` of a document: its own id, or with a tenant one that no other tenant can have."""
    return doc_id if tenant is None else point_id(doc_id, tenant)


def index_actions(entries: Sequence[Entry], tenant: str | None, layout: FeatureLayout) -> list[bytes]:
    """For each entry the two lines of a bulk request that insert or replace it, without its further passages."""
    owner = f',"tenant":{encode(tenant)}' if tenant is not None else ""
    texts = layout.serialize([entry.vector for entry in entries])
    return [_action(entry, features, tenant, owner) for entry, features in zip(entries, texts, strict=True)]


def _action(entry: Entry, features: bytes, tenant: str | None, owner: str) -> bytes:
    doc_id, payload = encode(entry.doc_id), entry.payload
    key = doc_id if tenant is None else f'"{point_id(entry.doc_id, tenant)}"'
    content_hash = f',"hash":{encode(entry.content_hash)}' if entry.content_hash is not None else ""
    head = f'{{"index":{{"_id":{key}}}}}\n{{"doc_id":{doc_id}{content_hash}{owner},"n_terms":{len(entry.vector)},"sparse":{{'
    several = _several(entry, tenant) if entry.passages else ""
    rest = f'}},"facets":{encode(facets(payload))}{several},"payload":{encode(payload)}}}\n'
    return b"".join((head.encode(), features, rest.encode()))


# -- documents of several passages: see stores/passages.py. The name of a passage comes with every hit, as the last key of its order ----

HEAD, PASSAGE, PASSAGES = "head", "passage", "passages"  # fields: of further passages, of these and heads, of heads


class PassageName(NamedTuple):
    """What the field `passage` says: the passage's number, the document's version, and the key of its head."""

    number: int
    version: str
    head: str

    @classmethod
    def read(cls, text: str) -> PassageName:
        """Out of what __str__() gave."""
        number, version, head = text.split(":", 2)
        return cls(int(number), version, head)

    def __str__(self) -> str:
        return f"{self.number:06}:{self.version}:{self.head}"  # ordered by number


def _several(entry: Entry, tenant: str | None) -> str:
    passages = passages_of(entry, tenant)
    name = PassageName(0, passages["version"], document_key(entry.doc_id, tenant))
    return f',"{PASSAGE}":{encode(str(name))},"{PASSAGES}":{encode(passages)}'


def passages_of(entry: Entry, tenant: str | None) -> dict[str, Any]:
    """What a head says of the passages of its document; {} where there is only one."""
    found: dict[str, Any] = head_stored(entry, tenant).get(PASSAGES_FIELD, {})
    return found


def tail_actions(entry: Entry, tenant: str | None, layout: FeatureLayout) -> list[bytes]:
    """For each further passage the two lines of a bulk request that insert it."""
    head, key = head_stored(entry, tenant), document_key(entry.doc_id, tenant)
    found = tails(entry, head, key, tenant)
    texts = layout.serialize([tail.vector for tail in found])
    owner = {} if tenant is None else {TENANT: tenant}
    terms = facets({name: value for name, value in entry.payload.items() if name != TEXT_FIELD})
    return [_tail_action(tail, {"doc_id": entry.doc_id, **owner, FACETS: terms}, text) for tail, text in zip(found, texts, strict=True)]


def _tail_action(tail: Tail, common: Mapping[str, Any], features: bytes) -> bytes:
    about = tail.stored[PASSAGE_FIELD]
    name = str(PassageName(about["number"], about["version"], about["head"]))
    fields = {**common, "n_terms": len(tail.vector), HEAD: about["head"], PASSAGE: name, "at": about["at"]}
    return b'{"index":{"_id":"%s"}}\n{"sparse":{%s},%s\n' % (tail.point.encode(), features, encode(fields)[1:].encode())


def delete_action(key: str) -> bytes:
    """The line of a bulk request that deletes a document."""
    return f'{{"delete":{{"_id":{encode(key)}}}}}\n'.encode()


def checked_doc_id(found: object, where: str) -> str:
    """Return what a document has as its id if it is one, else raise StoreFormatError."""
    if not isinstance(found, str):
        raise StoreFormatError(f"{where} holds a document without a doc_id, which this package did not write: delete it.")
    return found


def to_entry(source: Mapping[str, Any], where: str) -> Entry:
    """The entry out of a document's `_source`; parts that were not asked for are empty. Raises StoreFormatError."""
    doc_id = checked_doc_id(source.get("doc_id"), where)
    return Entry(doc_id, to_vector(source.get("sparse") or {}), source.get("payload") or {}, source.get("hash"))
