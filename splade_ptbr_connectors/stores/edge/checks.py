"""A checksum in every document, and one over all documents that follows each write: the engine has neither.

Numbers with a fraction are left out of a document's checksum: the engine gives some back with another last digit.
"""

from __future__ import annotations

import hashlib
import uuid
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...errors import StoreCorruptError, VectorError
from ...vectors import SparseVector
from ..passages import are_of_one_document, tail_point
from ..payloads import CHECK_FIELD, ID_FIELD, PASSAGE_FIELD, TENANT_FIELD, point_id

ADVICE = (
    "repair it with splade_ptbr_connectors.stores.edge.repair(path), then run the last ingest again (or restore the folder from a backup)."
)
_DIGEST_BITS = 64
_HASH = hashlib.blake2b(digest_size=_DIGEST_BITS // 8)
Checks = dict[str, int]  # point id -> checksum of the document, 0 for one that was written without


class Tally(NamedTuple):
    """How many documents there are, and the sum of a hash of each (its point id and checksum), modulo 2**64."""

    documents: int = 0
    digest: int = 0

    def without(self, checks: Checks) -> Tally:
        """After these documents were removed."""
        return Tally(self.documents - len(checks), (self.digest - _sum(checks)) % 2**_DIGEST_BITS)

    def plus(self, checks: Checks) -> Tally:
        """After these documents were added."""
        return Tally(self.documents + len(checks), (self.digest + _sum(checks)) % 2**_DIGEST_BITS)


def checks_of(records: Iterable[Any]) -> Checks:
    """Of records that were read with at least the field of the checksum."""
    found = {}
    for record in records:
        check = (record.payload or {}).get(CHECK_FIELD, 0)
        found[hex_id(record.id)] = check if isinstance(check, int) else -1
    return found


def with_check(point: str, stored: dict[str, Any], vector: SparseVector) -> dict[str, Any]:
    """The payload, to which its document's checksum is added: 32 bits over point id and payload, 32 over the sparse vector."""
    stored[CHECK_FIELD] = _payload_sum(point, stored) << 32 | _vector_sum(vector)
    return stored


def checked_payload(record: Any, url: str, vector: SparseVector | None = None) -> dict[str, Any]:
    """The stored payload of a record or hit; with a vector, that of its document is checked as well.

    Raises:
        StoreCorruptError: they are not what was written.
    """
    stored = dict(record.payload or {})
    check, point = stored.pop(CHECK_FIELD, None), hex_id(record.id)
    if ID_FIELD in stored and check is None:
        return stored  # written by a version without checksums
    right = ID_FIELD in stored and isinstance(check, int) and check >> 32 == _payload_sum(point, stored)
    if not right or (vector is not None and check & 0xFFFFFFFF != _vector_sum(vector)):
        raise altered(stored.get(ID_FIELD, point), url)
    return stored


def checked_names(record: Any, url: str) -> dict[str, Any]:
    """The stored payload of a record of which only the store's own fields were read. Raises StoreCorruptError."""
    stored = dict(record.payload or {})
    doc_id = stored.get(ID_FIELD)
    if not isinstance(doc_id, str) or _point(doc_id, stored) != hex_id(record.id):
        raise altered(doc_id or record.id, url)
    return stored


def checked_owner(point: int, stored: Mapping[str, Any], url: str) -> tuple[str, str]:
    """The document id of a point, of which nothing but that and the tenant were read, and the id of its head.

    Raises StoreCorruptError: it is not a passage of this document.
    """
    doc_id = stored.get(ID_FIELD)
    if isinstance(doc_id, str):
        head = point_id(doc_id, stored.get(TENANT_FIELD))
        if are_of_one_document(int(head, 16), point):
            return doc_id, head
    raise altered(doc_id or f"{point:032x}", url)


def _point(doc_id: str, stored: Mapping[str, Any]) -> str:
    """The id that the point of these names must have."""
    tenant, tail = stored.get(TENANT_FIELD), stored.get(PASSAGE_FIELD)
    if not isinstance(tail, dict):  # as the engine gives it; asked for every hit, and faster than for a Mapping
        return point_id(doc_id, tenant)
    return tail_point(doc_id, str(tail.get("version")), int(tail.get("number", -1)), tenant)


def checked_vector(record: Any, name: str, url: str) -> SparseVector:
    """The sparse vector of a record. Raises StoreCorruptError for one that is not valid."""
    vectors = record.vector or {}
    try:
        return SparseVector.from_qdrant(vectors[name]) if name in vectors else SparseVector([], [])
    except VectorError as error:
        raise altered((record.payload or {}).get(ID_FIELD, record.id), url) from error


def altered(doc_id: object, url: str) -> StoreCorruptError:
    """The error for a document that is not what was written."""
    return StoreCorruptError(f"the document {doc_id!r} of the store {url} has changed on the disk (its checksum differs): {ADVICE}")


def hex_id(point: Any) -> str:
    """A point id as payloads.point_id() writes it."""
    return point.hex if isinstance(point, uuid.UUID) else str(point).replace("-", "")


def _sum(checks: Checks) -> int:
    hashes = bytearray()
    for point, check in checks.items():
        hash = _HASH.copy()  # at two thirds of the cost of a new one (one per document loaded)
        hash.update(f"{point} {check}".encode())
        hashes += hash.digest()
    return int(np.frombuffer(hashes, "<u8").sum(dtype=np.uint64))


def _payload_sum(point: str, stored: Mapping[str, Any]) -> int:
    pieces = [point]
    _write(stored, pieces)
    return zlib.crc32("\0".join(pieces).encode())


def _vector_sum(vector: SparseVector) -> int:
    return zlib.crc32(vector.weights.tobytes(), zlib.crc32(vector.term_ids.tobytes()))


def _write(value: Any, pieces: list[str]) -> None:
    """A payload as a list of strings, the same for equal payloads; no string of a payload holds a NUL. Called for every hit."""
    kind = type(value)
    if kind is dict or isinstance(value, Mapping):
        pieces.append("\1{")
        for name in sorted(value):
            item = value[name]
            if type(item) is str:
                pieces += name, item
            else:
                pieces.append(name)
                _write(item, pieces)
        pieces.append("\1}")
    elif kind is str:
        pieces.append(value)
    elif kind is int:
        pieces.append(f"\1{value}")
    elif isinstance(value, list | tuple):
        pieces.append("\1[")
        for item in value:
            _write(item, pieces)
        pieces.append("\1]")
    elif isinstance(value, str):
        pieces.append(value)
    else:
        pieces.append("\1." if isinstance(value, float) else f"\1{value:d}" if isinstance(value, int) else "\1-")
