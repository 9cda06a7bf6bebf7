"""Record: one incoming document, checked once before it is encoded or stored. EncodedRecord: one that brings its vector."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .errors import RecordError, VectorError
from .json_values import checked_copy
from .strict import of_numpy, shown
from .text import check_text
from .vectors import SparseVector

ID_FIELDS = ("_id", "id", "doc_id")
VECTOR_FIELD, DENSE_FIELD, FINGERPRINT_FIELD, PASSAGES_FIELD = "vector", "dense", "fingerprint", "passages"
MAX_ID_BYTES = 512  # OpenSearch's limit; one limit for every store, so that a collection can move between them
_canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Record:
    """A document: its id, its text, and whatever else it carries.

    Attributes:
        doc_id: the caller's id, 1..512 bytes of UTF-8.
        title, text: not both blank. `content` is what gets encoded.
        fields: everything else ("metadata", "url", ...), JSON values only.
        dense: a dense vector to be stored beside the sparse one; no part of the payload.
    """

    doc_id: str
    title: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    dense: tuple[float, ...] | None = None

    @classmethod
    def from_mapping(cls, raw: object) -> Record:
        """Check a mapping such as {"_id": ..., "title": ..., "text": ..., ...} and copy what it holds.

        Raises:
            RecordError: not a mapping, no id or text, wrong types, or a value that JSON does not have.
            TextError: lone surrogates, NUL characters or too many characters in title or text.
        """
        if not isinstance(raw, Mapping):
            raise RecordError(f"a record must be a JSON object, got {type(raw).__name__}.")
        id_field = next((name for name in ID_FIELDS if name in raw), None)
        if id_field is None:
            raise RecordError(f'no "_id" in the record (fields: {_names(raw)}).')
        doc_id = _doc_id(raw[id_field])
        title, text = _title(raw.get("title"), doc_id), _text(raw, doc_id)
        if not (title.strip() or text.strip()):
            raise RecordError(f"record {doc_id!r} has neither title nor text: there is nothing to search for.")
        rest = {name: value for name, value in raw.items() if name not in ("title", "text", id_field)}
        return cls(doc_id, title, text, checked_copy(rest, f"record {doc_id!r}"))

    @property
    def content(self) -> str:
        """What is encoded: title, a space, text."""
        return self.content_of(self.text)

    def content_of(self, text: str) -> str:
        """What is encoded for a passage of the text: the title stands before each."""
        return f"{self.title} {text}" if self.title else text

    @property
    def payload(self) -> dict[str, Any]:
        """What a store keeps beside the vector and a Hit returns: title, text and the other fields."""
        return {"title": self.title, "text": self.text, **self.fields}

    @property
    def content_hash(self) -> str:
        """32 hex digits over id, payload and dense vector: equal hashes mean that nothing needs to be written again."""
        return _content_hash(self.doc_id, self.payload, None, self.dense)

    def to_mapping(self) -> dict[str, Any]:
        """As from_mapping() takes it."""
        return {"_id": self.doc_id, **self.payload} | ({} if self.dense is None else {DENSE_FIELD: list(self.dense)})


def unique(records: Iterable[Record]) -> list[Record]:
    """Records of different ids: one that is given twice is there once. Raises RecordError for two different ones of one id."""
    by_id: dict[str, Record] = {}
    for record in records:
        if by_id.setdefault(record.doc_id, record) != record:
            raise RecordError(f"two different documents have the id {record.doc_id!r}: nothing was stored, give each an id of its own.")
    return list(by_id.values())


@dataclass(frozen=True, slots=True)
class EncodedRecord:
    """A document that brings its vector: nothing is encoded, and everything else it carries is kept as it is.

    Attributes:
        payload: JSON values, a text among them or not.
        dense: a dense vector to be stored beside the sparse one.
        passages: (start, end, vector) of each of several passages of its "text"; `vector` is that of the first.
    """

    doc_id: str
    vector: SparseVector
    payload: Mapping[str, Any] = field(default_factory=dict)
    dense: tuple[float, ...] | None = None
    passages: tuple[tuple[int, int, SparseVector], ...] = ()

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> EncodedRecord:
        """Check a mapping such as {"_id": ..., "vector": {"1234": 0.5, ...}, "dense": [...], ...} and copy what it holds.

        The vector is {term_id: weight} as `splade-ptbr encode` writes it, {"indices": [...], "values": [...]}, or a
        SparseVector; "dense" may be missing; every other field is payload. A document of several passages has a list
        "passages": [{"start": 0, "end": 900, "vector": ...}, ...] in the place of "vector".

        Raises:
            RecordError, TextError: no id, or a value that JSON does not have.
            VectorError: the vectors are not usable.
        """
        id_field = next((name for name in ID_FIELDS if name in raw), None)
        if id_field is None:
            raise RecordError(f'no "_id" in the record (fields: {_names(raw)}).')
        doc_id = _doc_id(raw[id_field])
        passages = read_passages(raw[PASSAGES_FIELD], doc_id) if brings_passages(raw) else ()
        taken = (id_field, PASSAGES_FIELD if passages else VECTOR_FIELD, DENSE_FIELD, FINGERPRINT_FIELD)
        payload = checked_copy({name: value for name, value in raw.items() if name not in taken}, f"record {doc_id!r}")
        vector = passages[0][2] if passages else read_vector(raw[VECTOR_FIELD], doc_id)
        return cls(doc_id, vector, payload, read_dense(raw.get(DENSE_FIELD), doc_id), passages if len(passages) > 1 else ())

    @property
    def vectors(self) -> list[SparseVector]:
        """Of all passages."""
        return [vector for _, _, vector in self.passages] or [self.vector]

    @property
    def content_hash(self) -> str:
        """32 hex digits over id, payload and vectors: equal hashes mean that nothing needs to be written again."""
        return _content_hash(self.doc_id, self.payload, self.vector, self.dense, self.passages)

    def to_mapping(self) -> dict[str, Any]:
        """As from_mapping() takes it."""
        dense = {} if self.dense is None else {DENSE_FIELD: list(self.dense)}
        vectors = {PASSAGES_FIELD: written_passages(self.passages)} if self.passages else {VECTOR_FIELD: self.vector.to_opensearch()}
        return {"_id": self.doc_id, **self.payload, **vectors, **dense}

    def to_json(self) -> dict[str, Any] | list[Any]:
        """As ingest takes it: to_mapping(), or the parts of an Entry in a list where a field of the payload is called as one of them."""
        taken = {ID_FIELDS[0], VECTOR_FIELD, DENSE_FIELD, FINGERPRINT_FIELD} | ({PASSAGES_FIELD} if self.passages else set())
        if taken.isdisjoint(self.payload):
            return self.to_mapping()
        passages = [[number, start, end, each.to_opensearch()] for number, (start, end, each) in enumerate(self.passages)]
        return [self.doc_id, self.vector.to_opensearch(), self.payload, None, self.dense, passages]


def brings_passages(raw: Mapping[str, Any]) -> bool:
    """Whether a record has the vectors of its passages in the place of one of its own."""
    found = raw.get(PASSAGES_FIELD)
    first = found[0] if isinstance(found, list | tuple) and found else None
    return raw.get(VECTOR_FIELD) is None and isinstance(first, Mapping) and VECTOR_FIELD in first


def read_passages(raw: Any, doc_id: str) -> tuple[tuple[int, int, SparseVector], ...]:
    """The passages of a record, or RecordError or VectorError; a store checks whether they fit its text."""
    found = []
    for number, passage in enumerate(raw):
        if not isinstance(passage, Mapping) or not passage.keys() >= {"start", "end", VECTOR_FIELD}:
            raise RecordError(f'passage {number} of record {doc_id!r} is not {{"start": 0, "end": 900, "vector": ...}}: encode it again.')
        found.append((passage["start"], passage["end"], read_vector(passage[VECTOR_FIELD], doc_id)))
    return tuple(found)


def written_passages(passages: Iterable[tuple[int, int, SparseVector]]) -> list[dict[str, Any]]:
    """As read_passages() takes them."""
    return [{"start": start, "end": end, VECTOR_FIELD: vector.to_opensearch()} for start, end, vector in passages]


def read_vector(raw: object, doc_id: str) -> SparseVector:
    """The vector of a record in one of the forms that EncodedRecord.from_mapping() takes, or VectorError."""
    if isinstance(raw, SparseVector):
        return raw
    if not isinstance(raw, Mapping):
        accepted = '{term_id: weight} or {"indices": [...], "values": [...]}'
        raise VectorError(f'"vector" of record {doc_id!r} is {type(raw).__name__}: it must be {accepted}.')
    if raw.keys() == {"indices", "values"}:
        return SparseVector(raw["indices"], raw["values"])
    names = "".join(map(str, raw))  # all of them at once: a vector has hundreds, and there are millions of vectors
    if names.isascii() and names.isdigit() and "" not in raw:
        return SparseVector(list(map(int, raw)), list(raw.values()))
    return SparseVector.from_opensearch({str(term): weight for term, weight in raw.items()})


def read_dense(raw: object, doc_id: str) -> tuple[float, ...] | None:
    """The dense vector of a record, None where there is none, or VectorError."""
    if raw is None:
        return None
    numbers = isinstance(raw, list | tuple) and all([isinstance(value, float | int) and not isinstance(value, bool) for value in raw])
    if not isinstance(raw, list | tuple) or not numbers or not raw or not all(map(math.isfinite, raw)):
        raise VectorError(f'"dense" of record {doc_id!r} is {str(raw)[:60]}: it must be a list of finite numbers.')
    return tuple(map(float, raw))


def _content_hash(
    doc_id: str,
    payload: Mapping[str, Any],
    vector: SparseVector | None,
    dense: tuple[float, ...] | None,
    passages: Iterable[tuple[int, int, SparseVector]] = (),
) -> str:
    digest = hashlib.blake2b(_canonical([doc_id, payload]).encode(), digest_size=16)
    if vector is not None:
        digest.update(b"\0vector" + vector.term_ids.astype("<u4").tobytes() + vector.weights.astype("<f4").tobytes())
    for start, end, each in passages:
        digest.update(f"\0passage {start} {end} ".encode() + each.term_ids.astype("<u4").tobytes() + each.weights.astype("<f4").tobytes())
    if dense is not None:
        digest.update(b"\0dense" + _canonical(dense).encode())
    return digest.hexdigest()


def check_doc_id(doc_id: object) -> str:
    """Return a usable document id, or raise RecordError or TextError."""
    if not isinstance(doc_id, str):
        stored = f"; ingest stores this one as {str(doc_id)!r}" if type(doc_id) is int and doc_id.bit_length() < 64 else ""
        raise RecordError(f"document id {shown(doc_id)} is {type(doc_id).__name__}: ids are strings{stored}{of_numpy(doc_id)}.")
    check_text(doc_id, "document id")
    if not doc_id.strip():
        raise RecordError("document id is blank: give each document an id of its own.")
    if len(doc_id) > MAX_ID_BYTES // 4 and len(doc_id.encode()) > MAX_ID_BYTES:
        raise RecordError(f"document id {doc_id[:40]!r}... has {len(doc_id.encode())} bytes: at most {MAX_ID_BYTES} are accepted.")
    return doc_id


def _doc_id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < 8 * MAX_ID_BYTES:
        value = str(value)  # a CSV or JSON file with plain numbers as ids
    return check_doc_id(value)


def _title(value: object, doc_id: str) -> str:
    return "" if value is None else _checked(value, "title", doc_id)


def _text(raw: Mapping[str, Any], doc_id: str) -> str:
    value = raw.get("text")
    if value is None:
        raise RecordError(f'no "text" in the record {doc_id!r} (fields: {_names(raw)}).')
    return _checked(value, "text", doc_id)


def _checked(value: object, name: str, doc_id: str) -> str:
    if not isinstance(value, str):
        raise RecordError(f'"{name}" of record {doc_id!r} is {type(value).__name__}: it must be a string.')
    return check_text(value, f'"{name}" of record {doc_id!r}')


def _names(raw: Mapping[str, Any]) -> str:
    return shown_names(raw) or "none"


def shown_names(names: Iterable[object]) -> str:
    """Field names for a message: in one line of at most 200 characters, all of which can be printed."""
    joined = " ".join(", ".join(map(str, islice(names, 50))).split())
    return joined.encode("utf-8", "backslashreplace").decode()[:200]
