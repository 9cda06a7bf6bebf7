"""What a store keeps beside a vector: the caller's fields and, under two reserved names, what the store itself needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import RecordError
from ..text import MAX_CHARACTERS, check_text

ID_FIELD = "_id"
HASH_FIELD = "_hash"
RESERVED_FIELDS = (ID_FIELD, HASH_FIELD)
MAX_DEPTH = 20
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1  # beyond these an engine stores a rounded float


def check_payload(doc_id: str, payload: object) -> Mapping[str, Any]:
    """Return the payload if every store gives it back unchanged, else raise RecordError (or TextError for a string in it)."""
    if not (type(payload) is dict or isinstance(payload, Mapping)):
        raise RecordError(f"the payload of {doc_id!r} is {type(payload).__name__}: it must be a mapping of JSON values.")
    for name in RESERVED_FIELDS:
        if name in payload:
            raise RecordError(f"the payload of {doc_id!r} has the field {name!r}, which the store uses itself: rename it.")
    _check(payload, doc_id, 0)
    return payload


def to_stored(doc_id: str, payload: Mapping[str, Any], content_hash: str | None) -> dict[str, Any]:
    """The payload as the engine keeps it."""
    stored = {**payload, ID_FIELD: doc_id}
    if content_hash is not None:
        stored[HASH_FIELD] = content_hash
    return stored


def from_stored(stored: dict[str, Any]) -> tuple[str, dict[str, Any], str | None]:
    """(doc_id, payload, content_hash) out of what the engine kept."""
    doc_id, content_hash = stored.pop(ID_FIELD), stored.pop(HASH_FIELD, None)
    return doc_id, stored, content_hash


def _check(value: object, doc_id: str, depth: int) -> None:
    # once per value of every document loaded: plain types are asked for first, by identity
    if isinstance(value, str):
        _check_string(value, "a payload field")
    elif type(value) is dict or isinstance(value, Mapping):
        _check_depth(doc_id, depth)
        for key, item in value.items():
            if not isinstance(key, str):
                raise RecordError(f"the payload of {doc_id!r} has the field name {key!r}: field names are strings.")
            _check_string(key, "a payload field name")
            _check(item, doc_id, depth + 1)
    elif isinstance(value, (list, tuple)):
        _check_depth(doc_id, depth)
        for item in value:
            _check(item, doc_id, depth + 1)
    elif value is not None and not isinstance(value, bool):
        _check_number(value, doc_id)


def _check_string(value: str, what: str) -> None:
    if not value.isascii() or "\0" in value or len(value) > MAX_CHARACTERS:
        check_text(value, what)


def _check_depth(doc_id: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise RecordError(f"the payload of {doc_id!r} is nested more than {MAX_DEPTH} levels deep.")


def _check_number(value: object, doc_id: str) -> None:
    if isinstance(value, int):
        if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            raise RecordError(f"the payload of {doc_id!r} holds an integer of {value.bit_length()} bits: write it as a string.")
    elif not isinstance(value, float):
        raise RecordError(f"the payload of {doc_id!r} holds a {type(value).__name__}: only JSON values can be stored.")
    elif not math.isfinite(value):
        raise RecordError(f"the payload of {doc_id!r} holds {value}: JSON has no such number.")
