"""Layouts: how a point becomes a document and back, for this package's own points and for those of langchain-qdrant and LlamaIndex."""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from ...errors import ConfigError, RecordError
from ..base import Entry
from ..payloads import HASH_FIELD, ID_FIELD, TENANT_FIELD, as_given, from_stored, to_stored
from ..point_ids import point_id

PointId = str | int


class Layout(ABC):
    """One way of keeping documents in points.

    Attributes:
        vectors: names that the sparse vector may have, the one for new collections first.
        writable: whether documents can be written in it.
    """

    name: ClassVar[str]
    vectors: ClassVar[tuple[str, ...]]
    writable: ClassVar[bool] = True
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

    def read(self, point: PointId, payload: dict[str, Any]) -> tuple[str, dict[str, Any], str | None]:
        if ID_FIELD not in payload:  # a point that somebody else has put here
            payload = {**payload, ID_FIELD: str(point)}
        return from_stored(payload)

    def write(self, entry: Entry, tenant: str | None) -> dict[str, Any]:
        return to_stored(entry.doc_id, entry.payload, entry.content_hash, tenant)


class LangchainLayout(Layout):
    """langchain-qdrant: `page_content` and `metadata`; document ids are point ids.

    A document whose id is no UUID and no integer is kept as in the layout "splade", under the UUID made of its id.
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
        return str(point), read, None

    def write(self, entry: Entry, tenant: str | None) -> dict[str, Any]:
        raise ConfigError("the layout 'llama-index' can be read only: write with LlamaIndex itself, or into a store of another layout.")


LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (SpladeLayout(), LangchainLayout(), LlamaIndexLayout())}


def _as_point_id(doc_id: str) -> PointId | None:
    """The point id that this text is, written as Qdrant writes it; None when it is none."""
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
