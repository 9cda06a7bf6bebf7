"""What a collection keeps of an entry, and back: points as this package, langchain-qdrant and LlamaIndex lay them out."""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qdrant_client import models

from ...errors import ConfigError, RecordError, VectorError
from ...vectors import SparseVector
from ..base import Entry, Hit
from ..passages import Point, head_stored, place_of, point_of, tail_points, tails
from ..payloads import (
    HASH_FIELD,
    ID_FIELD,
    NODE_FIELD,
    PASSAGE_FIELD,
    PASSAGES_FIELD,
    TENANT_FIELD,
    as_given,
    from_stored,
    point_id,
    to_stored,
)

PointId = models.ExtendedPointId
BYTES_PER_TERM = 18  # of a term id and a weight as JSON, mostly
_BYTES_PER_NUMBER = 22
_DECIMALS = 8
_SPARSE_FIELDS = {"indices", "values"}
_POINT_FIELDS = {"id", "vector", "payload"}


class Layout(ABC):
    """One way of keeping documents in points.

    Attributes:
        vectors: names that the sparse vector may have, the one for new collections first.
        writable: whether documents can be written in it.
        passages: whether a document may have several.
    """

    name: ClassVar[str]
    vectors: ClassVar[tuple[str, ...]]
    writable: ClassVar[bool] = True
    passages: ClassVar[bool] = False
    id_fields: ClassVar[list[str]] = [ID_FIELD, HASH_FIELD]  # enough of the payload to tell document id and content hash

    def point_id(self, doc_id: str, tenant: str | None) -> PointId:
        """Where the document is kept."""
        return point_id(doc_id, tenant)

    def field(self, path: str) -> str:
        """Where the payload's field is kept, for filters."""
        return path

    def doc_id(self, point: PointId, payload: Mapping[str, Any]) -> str:
        """The document id of a point, of whose payload at least `id_fields` is there."""
        return str(payload.get(ID_FIELD, point))

    @abstractmethod
    def read(self, point: PointId, payload: dict[str, Any]) -> tuple[str, dict[str, Any], str | None]:
        """(doc_id, payload, content_hash) of a point."""

    @abstractmethod
    def write(self, entry: Entry, tenant: str | None) -> dict[str, Any]:
        """The payload of the point. Raises RecordError, ConfigError for a document that does not fit the layout."""


class SpladeLayout(Layout):
    """The payload as it is, with this package's reserved fields beside it."""

    name: ClassVar[str] = "splade"
    vectors: ClassVar[tuple[str, ...]] = ("splade",)
    passages: ClassVar[bool] = True
    id_fields: ClassVar[list[str]] = [ID_FIELD, HASH_FIELD, PASSAGE_FIELD, PASSAGES_FIELD]

    def read(self, point: PointId, payload: dict[str, Any]) -> tuple[str, dict[str, Any], str | None]:
        if ID_FIELD not in payload:  # a point that somebody else has put here
            payload = {**payload, ID_FIELD: str(point)}
        return from_stored(payload)

    def write(self, entry: Entry, tenant: str | None) -> dict[str, Any]:
        return head_stored(entry, tenant)


class LangchainLayout(Layout):
    """langchain-qdrant: `page_content` and `metadata`; document ids are point ids.

    A document whose id is neither a UUID nor an integer is kept as in the layout "splade", under the UUID made of its id.
    """

    name: ClassVar[str] = "langchain"
    vectors: ClassVar[tuple[str, ...]] = ("langchain-sparse",)

    def point_id(self, doc_id: str, tenant: str | None) -> PointId:
        native = _as_point_id(doc_id) if tenant is None else None
        return point_id(doc_id, tenant) if native is None else native

    def field(self, path: str) -> str:
        return "page_content" if path == "text" else path

    def read(self, point: PointId, payload: dict[str, Any]) -> tuple[str, dict[str, Any], str | None]:
        doc_id, content_hash = self.doc_id(point, payload), payload.get(HASH_FIELD)
        kept = as_given({name: value for name, value in payload.items() if name not in (ID_FIELD, HASH_FIELD, TENANT_FIELD)})
        if "page_content" in kept:
            kept = {"text": kept.pop("page_content"), **kept}
        if kept.get("metadata", {}) is None:
            del kept["metadata"]
        return doc_id, kept, content_hash

    def write(self, entry: Entry, tenant: str | None) -> dict[str, Any]:
        payload = dict(entry.payload)
        taken = next((name for name in payload if name.split(".")[0] == "page_content"), None)
        if taken is not None:
            raise RecordError(f"the payload of {entry.doc_id!r} has the field {taken!r}, where this layout keeps the text: rename it.")
        if "text" in payload:
            payload["page_content"] = payload.pop("text")
        return to_stored(entry.doc_id, payload, entry.content_hash, tenant)


class LlamaIndexLayout(Layout):
    """LlamaIndex' QdrantVectorStore: the node as JSON in `_node_content`, its metadata flat beside it; node ids are point ids."""

    name: ClassVar[str] = "llama-index"
    vectors: ClassVar[tuple[str, ...]] = ("text-sparse-new", "text-sparse")
    writable: ClassVar[bool] = False
    id_fields: ClassVar[list[str]] = []
    own_fields: ClassVar[frozenset[str]] = frozenset({"_node_content", "_node_type", "document_id", "doc_id", "ref_doc_id", "text"})

    def point_id(self, doc_id: str, tenant: str | None) -> PointId:
        native = _as_point_id(doc_id)
        return point_id(doc_id, tenant) if native is None else native

    def field(self, path: str) -> str:
        return path.removeprefix("metadata.")

    def doc_id(self, point: PointId, payload: Mapping[str, Any]) -> str:
        return str(point)

    def read(self, point: PointId, payload: dict[str, Any]) -> tuple[str, dict[str, Any], str | None]:
        node = _node(payload.get("_node_content"))
        metadata = {name: value for name, value in payload.items() if name not in self.own_fields}
        read: dict[str, Any] = {"text": _text(payload, node), "metadata": node.get("metadata") or metadata}
        if payload.get("ref_doc_id") not in (None, "None"):
            read["ref_doc_id"] = payload["ref_doc_id"]
        if "id_" in node:
            read[NODE_FIELD] = {"id": str(point), "class": payload.get("_node_type"), "json": payload["_node_content"]}
        return str(point), read, None

    def write(self, entry: Entry, tenant: str | None) -> dict[str, Any]:
        raise ConfigError("the layout 'llama-index' can be read only: write with LlamaIndex itself, or into a store of another layout.")


LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (SpladeLayout(), LangchainLayout(), LlamaIndexLayout())}


def _as_point_id(doc_id: str) -> PointId | None:
    """The point id that this text is, written as Qdrant writes it; None when it is not one."""
    if doc_id.isascii() and doc_id.isdigit() and str(int(doc_id[:20])) == doc_id and int(doc_id) < 2**64:
        return int(doc_id)
    try:
        return doc_id if str(uuid.UUID(doc_id)) == doc_id else None
    except ValueError:
        return None


def _node(content: object) -> dict[str, Any]:
    try:
        node = json.loads(content) if isinstance(content, str) else {}
    except (ValueError, RecursionError):
        node = {}
    return node if isinstance(node, dict) else {}


def _text(payload: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    resource = node.get("text_resource")
    inside = resource.get("text") if isinstance(resource, Mapping) else None
    return str(payload.get("text") or node.get("text") or inside or "")


# -- points ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """How the points of a collection are laid out, and whose they are.

    Attributes:
        vector, dense_vector: names of the vectors; dense_size None: there is none.
    """

    layout: Layout
    vector: str
    datatype: str
    dense_vector: str
    dense_size: int | None
    tenant: str | None

    def point_ids(self, doc_ids: Iterable[str]) -> list[PointId]:
        """The point ids of these documents, each once."""
        return [self.layout.point_id(doc_id, self.tenant) for doc_id in dict.fromkeys(doc_ids)]


def check_dense(entries: Sequence[Entry], shape: Shape, url: str) -> None:
    """Raise VectorError for a dense vector that the collection has no place for."""
    for entry in entries:
        if entry.dense is not None and len(entry.dense) != shape.dense_size:
            raise VectorError(wrong_dense(f"the dense vector of {entry.doc_id!r}", len(entry.dense), shape.dense_size, url))


def wrong_dense(what: str, length: int, wanted: int | None, url: str) -> str:
    """The message about a dense vector of a wrong length."""
    if wanted is None:
        return f"{what} has nowhere to go: {url} was created without dense vectors (setting dense_size)."
    return f"{what} has {length} numbers: {url} keeps dense vectors of {wanted}."


class NewPoint(NamedTuple):
    """A point to be written: a document, or one of its further passages."""

    doc_id: str
    point: PointId
    vector: SparseVector
    payload: Mapping[str, Any]
    dense: tuple[float, ...] | None = None


def new_points(entries: Sequence[Entry], shape: Shape) -> list[NewPoint]:
    """The points of documents, without those of further passages. Raises RecordError, ConfigError."""
    layout, tenant = shape.layout, shape.tenant
    return [
        NewPoint(entry.doc_id, layout.point_id(entry.doc_id, tenant), entry.vector, layout.write(entry, tenant), entry.dense)
        for entry in entries
    ]


def new_tails(entries: Sequence[Entry], shape: Shape) -> list[NewPoint]:
    """The points of the further passages of documents."""
    heads = zip(entries, new_points(entries, shape), strict=True)
    found = [tail for entry, head in heads for tail in tails(entry, head.payload, str(head.point), shape.tenant)]
    return [NewPoint(tail.doc_id, tail.point, tail.vector, tail.stored) for tail in found]


def to_points(new: Sequence[NewPoint], shape: Shape) -> list[models.PointStruct]:
    """As the client takes them. Not validated again by pydantic (model_construct): Entry and SparseVector are checked already."""
    term_ids = np.concatenate([point.vector.term_ids for point in new]).tolist()
    weights = _short(np.concatenate([point.vector.weights for point in new])).tolist()
    points, start = [], 0
    for point in new:
        end = start + len(point.vector)
        points.append(_to_point(point, term_ids[start:end], weights[start:end], shape))
        start = end
    return points


def _to_point(new: NewPoint, term_ids: list[int], weights: list[float], shape: Shape) -> models.PointStruct:
    vectors: dict[str, Any] = {}
    if term_ids:  # an empty vector is none at all: nothing finds it, and not every server takes it
        vectors[shape.vector] = models.SparseVector.model_construct(_SPARSE_FIELDS, indices=term_ids, values=weights)
    if new.dense is not None:
        vectors[shape.dense_vector] = list(new.dense)
    return models.PointStruct.model_construct(_POINT_FIELDS, id=new.point, vector=vectors, payload=new.payload)


def _short(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """The same float32 values as float64 with few decimal digits where there are such: a third less to write and to read."""
    exact = weights.astype(np.float64)
    with np.errstate(over="ignore"):
        rounded = np.round(exact, _DECIMALS)
        return np.where(rounded.astype(np.float32) == weights, rounded, exact)


def to_entry(record: Any, shape: Shape) -> Entry:
    """The entry of a record; without vectors in the answer its vector is empty."""
    doc_id, payload, content_hash = shape.layout.read(record.id, dict(record.payload or {}))
    vectors: Mapping[str, Any] = record.vector if isinstance(record.vector, Mapping) else {}
    sparse, dense = vectors.get(shape.vector), vectors.get(shape.dense_vector)
    vector = SparseVector([], []) if sparse is None else SparseVector.from_qdrant(sparse)
    return Entry(doc_id, vector, payload, content_hash, None if dense is None else tuple(map(float, dense)))


def to_bare_entry(record: Any, shape: Shape) -> Entry:
    """Id and content hash of a record."""
    payload: Mapping[str, Any] = record.payload or {}
    return Entry(shape.layout.doc_id(record.id, payload), SparseVector([], []), {}, payload.get(HASH_FIELD))


def to_hit(point: Any, shape: Shape) -> Hit:
    """The hit of a scored point."""
    stored = dict(point.payload or {})
    place = place_of(stored)
    doc_id, payload, _ = shape.layout.read(point.id, stored)
    return Hit(doc_id, float(np.float32(point.score)), payload, place)  # JSON has the shortest decimals of a float32, gRPC the float32


def to_bare_hit(point: Any, shape: Shape) -> Hit:
    """The hit without its payload, of which at least the layout's `id_fields` are there."""
    stored = point.payload or {}
    return Hit(shape.layout.doc_id(point.id, stored), float(point.score), {}, place_of(stored))


def to_found(point: Any, shape: Shape) -> Point:
    """The passage of a scored point, of which at least the layout's `id_fields` are there."""
    stored = point.payload or {}
    return point_of(point_key(point.id), shape.layout.doc_id(point.id, stored), float(np.float32(point.score)), stored)


def point_key(point: PointId) -> int | str:
    """A point id as it is written: the server answers with hyphens."""
    return point if isinstance(point, int) else str(point).replace("-", "")


def tails_of(record: Any) -> list[str]:
    """The point ids of the further passages of the document whose head was read."""
    stored = record.payload or {}
    return tail_points(stored[ID_FIELD], stored[PASSAGES_FIELD], stored.get(TENANT_FIELD)) if PASSAGES_FIELD in stored else []


def request_bytes(new: NewPoint) -> int:
    """About how many bytes of a request a point takes."""
    dense = len(new.dense) if new.dense else 0
    return 128 + BYTES_PER_TERM * len(new.vector) + _BYTES_PER_NUMBER * dense + _json_bytes(new.payload)


def _json_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value) + 2 if value.isascii() else 2 * len(value) + 2
    if isinstance(value, Mapping):
        return 2 + sum([len(name) + 4 + _json_bytes(item) for name, item in value.items()])
    if isinstance(value, list | tuple):
        return 2 + sum([1 + _json_bytes(item) for item in value])
    return _BYTES_PER_NUMBER
