"""Entries as documents of the index, and back. Built by hand as bytes: a bulk load waits for this."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import StoreFormatError
from ..base import Entry
from ..point_ids import point_id
from .features import FeatureLayout, to_vector
from .filters import facets

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode


def document_key(doc_id: str, tenant: str | None) -> str:
    """`_id` of a document: its own id, or with a tenant one that no other tenant can have."""
    return doc_id if tenant is None else point_id(doc_id, tenant)


def index_actions(entries: Sequence[Entry], tenant: str | None, layout: FeatureLayout) -> list[bytes]:
    """For each entry the two lines of a bulk request that insert or replace it."""
    owner = f',"tenant":{encode(tenant)}' if tenant is not None else ""
    texts = layout.texts([entry.vector for entry in entries])
    return [_action(entry, features, tenant, owner) for entry, features in zip(entries, texts, strict=True)]


def _action(entry: Entry, features: bytes, tenant: str | None, owner: str) -> bytes:
    doc_id, payload = encode(entry.doc_id), entry.payload
    key = doc_id if tenant is None else f'"{point_id(entry.doc_id, tenant)}"'
    content_hash = f',"hash":{encode(entry.content_hash)}' if entry.content_hash is not None else ""
    head = f'{{"index":{{"_id":{key}}}}}\n{{"doc_id":{doc_id}{content_hash}{owner},"n_terms":{len(entry.vector)},"sparse":{{'
    return b"".join((head.encode(), features, f'}},"facets":{encode(facets(payload))},"payload":{encode(payload)}}}\n'.encode()))


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
