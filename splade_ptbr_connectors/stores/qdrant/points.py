"""Entries as points of a request, and points of an answer as entries and hits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import models

from ...errors import VectorError
from ...vectors import SparseVector
from ..base import Entry, Hit
from .layouts import Layout, PointId

BYTES_PER_TERM = 18  # of a term id and a weight as JSON, mostly
_BYTES_PER_NUMBER = 22
_DECIMALS = 8
_SPARSE_FIELDS = {"indices", "values"}
_POINT_FIELDS = {"id", "vector", "payload"}


@dataclass(frozen=True)
class Scope:
    """What an operation works on: one collection, how its points are laid out, and whose documents are meant."""

    url: str
    collection: str
    layout: Layout
    vector: str
    datatype: str
    dense_vector: str
    dense_size: int | None
    tenant: str | None
    max_request_bytes: int

    def point_ids(self, doc_ids: Iterable[str]) -> list[PointId]:
        """The point ids of these documents, each once."""
        return [self.layout.point_id(doc_id, self.tenant) for doc_id in dict.fromkeys(doc_ids)]


def check_dense(entries: Sequence[Entry], scope: Scope) -> None:
    """Raise VectorError for a dense vector that the collection has no place for."""
    for entry in entries:
        if entry.dense is not None and len(entry.dense) != scope.dense_size:
            raise VectorError(wrong_dense(f"the dense vector of {entry.doc_id!r}", len(entry.dense), scope.dense_size, scope.url))


def wrong_dense(what: str, length: int, wanted: int | None, url: str) -> str:
    """The message about a dense vector of a wrong length."""
    if wanted is None:
        return f"{what} has nowhere to go: {url} was created without dense vectors (setting dense_size)."
    return f"{what} has {length} numbers: {url} keeps dense vectors of {wanted}."


def to_points(entries: Sequence[Entry], scope: Scope) -> list[models.PointStruct]:
    """The points of entries. Not validated again by pydantic (model_construct): Entry and SparseVector are checked already."""
    term_ids = np.concatenate([entry.vector.term_ids for entry in entries]).tolist()
    weights = _short(np.concatenate([entry.vector.weights for entry in entries])).tolist()
    points, start = [], 0
    for entry in entries:
        end = start + len(entry.vector)
        points.append(_to_point(entry, term_ids[start:end], weights[start:end], scope))
        start = end
    return points


def _to_point(entry: Entry, term_ids: list[int], weights: list[float], scope: Scope) -> models.PointStruct:
    vectors: dict[str, Any] = {}
    if term_ids:  # an empty vector is none at all: nothing finds it, and not every server takes it
        vectors[scope.vector] = models.SparseVector.model_construct(_SPARSE_FIELDS, indices=term_ids, values=weights)
    if entry.dense is not None:
        vectors[scope.dense_vector] = list(entry.dense)
    point_id, payload = scope.layout.point_id(entry.doc_id, scope.tenant), scope.layout.write(entry, scope.tenant)
    return models.PointStruct.model_construct(_POINT_FIELDS, id=point_id, vector=vectors, payload=payload)


def _short(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """The same float32 values as float64 with few decimal digits where there are such: a third less to write and to read."""
    exact = weights.astype(np.float64)
    with np.errstate(over="ignore"):
        rounded = np.round(exact, _DECIMALS)
        return np.where(rounded.astype(np.float32) == weights, rounded, exact)


def to_entry(record: Any, scope: Scope) -> Entry:
    """The entry of a record; without vectors in the answer its vector is empty."""
    doc_id, payload, content_hash = scope.layout.read(record.id, dict(record.payload or {}))
    vectors: Mapping[str, Any] = record.vector if isinstance(record.vector, Mapping) else {}
    sparse, dense = vectors.get(scope.vector), vectors.get(scope.dense_vector)
    vector = SparseVector([], []) if sparse is None else SparseVector.from_qdrant(sparse)
    return Entry(doc_id, vector, payload, content_hash, None if dense is None else tuple(map(float, dense)))


def to_hit(point: Any, scope: Scope) -> Hit:
    """The hit of a scored point."""
    doc_id, payload, _ = scope.layout.read(point.id, dict(point.payload or {}))
    return Hit(doc_id, float(np.float32(point.score)), payload)  # JSON has the shortest decimals of a float32, gRPC the float32


def to_bare_hit(point: Any, scope: Scope) -> Hit:
    """The hit without its payload, of which at least the layout's `id_fields` are there."""
    return Hit(scope.layout.doc_id(point.id, point.payload or {}), float(point.score), {})


def in_parts(entries: Sequence[Entry], max_bytes: int) -> Iterator[list[Entry]]:
    """Cut a batch where a request would grow beyond `max_bytes` (estimated); one entry makes a part whatever its size."""
    part: list[Entry] = []
    size = 0
    for entry in entries:
        own = request_bytes(entry)
        if part and size + own > max_bytes:
            yield part
            part, size = [], 0
        part.append(entry)
        size += own
    if part:
        yield part


def request_bytes(entry: Entry) -> int:
    """About how many bytes of a request an entry takes."""
    dense = len(entry.dense) if entry.dense else 0
    return 128 + BYTES_PER_TERM * len(entry.vector) + _BYTES_PER_NUMBER * dense + _json_bytes(entry.payload)


def _json_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value) + 2 if value.isascii() else 2 * len(value) + 2
    if isinstance(value, Mapping):
        return 2 + sum([len(name) + 4 + _json_bytes(item) for name, item in value.items()])
    if isinstance(value, list | tuple):
        return 2 + sum([1 + _json_bytes(item) for item in value])
    return _BYTES_PER_NUMBER
