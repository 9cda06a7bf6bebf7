"""What a store keeps beside a vector: the caller's fields, the store's own under reserved names, and the id of the point itself."""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, RecordError
from ..filters import Condition, field_path, leaves
from ..json_values import checked_copy
from .dotted_names import gathered, spread

ID_FIELD = "_id"
HASH_FIELD = "_hash"
TENANT_FIELD = "_tenant"
CHECK_FIELD = "_check"
ADDED_FIELD = "_dotted"  # where second forms of names with dots stand; see dotted_names.py
PASSAGES_FIELD = "_passages"  # of a document of several passages: {"version": ..., "spans": [[start, end], ...]}
PASSAGE_FIELD = "_passage"  # of each of its passages from the second on: {"head": point id, "number": 1, "version": ..., "at": seconds}
NODE_FIELD = "_node"  # of a node of LlamaIndex: {"id": ..., "class": ..., "json": all that is neither text nor vector}
NUMBER_PATH = f"{PASSAGE_FIELD}.number"  # indexed: what is empty there is a document
NAMESPACE = uuid.UUID("6a1fd2a4-6b0e-5d0c-9c39-3f2c5f7f1b8e")  # never changes: ids of filled stores depend on it
_PREFIX = hashlib.sha1(NAMESPACE.bytes, usedforsecurity=False)
RESERVED_FIELDS = (ID_FIELD, HASH_FIELD, TENANT_FIELD, CHECK_FIELD, ADDED_FIELD, PASSAGES_FIELD, PASSAGE_FIELD)


def check_payload(doc_id: str, payload: object) -> dict[str, Any]:
    """Return a copy of the payload if every store gives it back unchanged, else raise RecordError or TextError."""
    if not (type(payload) is dict or isinstance(payload, Mapping)):
        raise RecordError(f"the payload of {doc_id!r} is {type(payload).__name__}: it must be a mapping of JSON values.")
    copied: dict[str, Any] = checked_copy(payload, f"the payload of {doc_id!r}")
    check_names(doc_id, copied)
    return copied


def check_names(doc_id: str, payload: Mapping[str, Any]) -> None:
    """Raise RecordError for a field that has the name of a reserved one, or that a filter could not tell from another."""
    for name in payload:
        if name[:1] == "_" and name.split(".")[0] in RESERVED_FIELDS:
            raise RecordError(f"the payload of {doc_id!r} has the field {name!r}, which the store uses itself: rename it.")
    spread(payload, doc_id)


def check_filtered(conditions: tuple[Condition, ...]) -> None:
    """Raise ConfigError for a condition on a reserved name: some engines keep it within the payload, others do not."""
    for condition in leaves(conditions):
        if field_path(condition.field)[0].name.split(".")[0] in RESERVED_FIELDS:
            advice = "documents are read and deleted by id with get() and delete(), tenants are told apart by the store's own tenant"
            raise ConfigError(f"filter field {condition.field!r} is not a field of a payload but the store's own: {advice}.")


def to_stored(doc_id: str, payload: Mapping[str, Any], content_hash: str | None, tenant: str | None = None) -> dict[str, Any]:
    """The payload as the engine keeps it."""
    findable, added = spread(payload, doc_id)
    stored = {**findable, ID_FIELD: doc_id}
    if added:
        stored[ADDED_FIELD] = [list(place) for place in added]
    if content_hash is not None:
        stored[HASH_FIELD] = content_hash
    if tenant is not None:
        stored[TENANT_FIELD] = tenant
    return stored


def from_stored(stored: dict[str, Any]) -> tuple[str, dict[str, Any], str | None]:
    """(doc_id, payload, content_hash) out of what the engine kept."""
    doc_id, content_hash = stored.pop(ID_FIELD), stored.pop(HASH_FIELD, None)
    stored.pop(TENANT_FIELD, None)
    stored.pop(PASSAGES_FIELD, None)
    stored.pop(PASSAGE_FIELD, None)
    return doc_id, as_given(stored), content_hash


def as_given(stored: dict[str, Any]) -> dict[str, Any]:
    """The payload without what to_stored() added to it for filters."""
    added = stored.pop(ADDED_FIELD, None)
    return gathered(stored, added) if added else stored


# -- ids of points: Qdrant takes integers and UUIDs only, so a document id becomes the uuid5 of itself --------------------


def point_id(doc_id: str, tenant: str | None = None) -> str:
    """The point id of a document: uuid5(NAMESPACE, doc_id).hex, at half its cost (one per document loaded).

    Two tenants may use the same document ids: with a tenant it is uuid5(uuid5(NAMESPACE, tenant), doc_id).hex.
    """
    digest = _PREFIX.copy() if tenant is None else _tenant_prefix(tenant).copy()
    digest.update(doc_id.encode())
    head = bytearray(digest.digest()[:16])
    head[6] = head[6] & 0x0F | 0x50  # version 5
    head[8] = head[8] & 0x3F | 0x80  # RFC 4122 variant
    return head.hex()


@functools.lru_cache(maxsize=1024)
def _tenant_prefix(tenant: str) -> Any:
    return hashlib.sha1(uuid.uuid5(NAMESPACE, tenant).bytes, usedforsecurity=False)
