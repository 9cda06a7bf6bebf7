"""What a store keeps beside a vector: the caller's fields and, under two reserved names, what the store itself needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import RecordError
from ..json_values import checked_copy

ID_FIELD = "_id"
HASH_FIELD = "_hash"
TENANT_FIELD = "_tenant"
CHECK_FIELD = "_check"
RESERVED_FIELDS = (ID_FIELD, HASH_FIELD, TENANT_FIELD, CHECK_FIELD)


def check_payload(doc_id: str, payload: object) -> dict[str, Any]:
    """Return a copy of the payload if every store gives it back unchanged, else raise RecordError or TextError."""
    if not (type(payload) is dict or isinstance(payload, Mapping)):
        raise RecordError(f"the payload of {doc_id!r} is {type(payload).__name__}: it must be a mapping of JSON values.")
    check_names(doc_id, payload)
    copied: dict[str, Any] = checked_copy(payload, f"the payload of {doc_id!r}")
    return copied


def check_names(doc_id: str, payload: Mapping[str, Any]) -> None:
    """Raise RecordError for a field that has the name of a reserved one."""
    for name in RESERVED_FIELDS:
        if name in payload:
            raise RecordError(f"the payload of {doc_id!r} has the field {name!r}, which the store uses itself: rename it.")


def to_stored(doc_id: str, payload: Mapping[str, Any], content_hash: str | None, tenant: str | None = None) -> dict[str, Any]:
    """The payload as the engine keeps it."""
    stored = {**payload, ID_FIELD: doc_id}
    if content_hash is not None:
        stored[HASH_FIELD] = content_hash
    if tenant is not None:
        stored[TENANT_FIELD] = tenant
    return stored


def from_stored(stored: dict[str, Any]) -> tuple[str, dict[str, Any], str | None]:
    """(doc_id, payload, content_hash) out of what the engine kept."""
    doc_id, content_hash = stored.pop(ID_FIELD), stored.pop(HASH_FIELD, None)
    stored.pop(TENANT_FIELD, None)
    return doc_id, stored, content_hash
