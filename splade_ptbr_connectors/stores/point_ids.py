"""Point ids: Qdrant takes integers and UUIDs only, so a document id becomes the uuid5 of itself."""

from __future__ import annotations

import hashlib
import uuid

NAMESPACE = uuid.UUID("6a1fd2a4-6b0e-5d0c-9c39-3f2c5f7f1b8e")  # never changes: ids of filled stores hang on it
_PREFIX = hashlib.sha1(NAMESPACE.bytes, usedforsecurity=False)


def point_id(doc_id: str) -> str:
    """The point id of a document: str(uuid5(NAMESPACE, doc_id)), at half its cost (one per document loaded)."""
    digest = _PREFIX.copy()
    digest.update(doc_id.encode())
    head = bytearray(digest.digest()[:16])
    head[6] = head[6] & 0x0F | 0x50  # version 5
    head[8] = head[8] & 0x3F | 0x80  # RFC 4122 variant
    return head.hex()
