"""Record: one document as it comes in, checked once, before it is encoded or stored."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import RecordError
from .text import check_text

ID_FIELDS = ("_id", "id", "doc_id")
MAX_ID_BYTES = 512  # OpenSearch's limit; one limit for every store, so that a collection can move between them
MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Record:
    """A document: its id, its text, and whatever else it carries.

    Attributes:
        doc_id: the caller's id, 1..512 bytes of UTF-8.
        title, text: not both blank. `content` is what gets encoded.
        fields: everything else ("metadata", "url", ...), JSON values only.
    """

    doc_id: str
    title: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, raw: object) -> Record:
        """Check a mapping such as {"_id": ..., "title": ..., "text": ..., ...}.

        Raises:
            RecordError: not a mapping, no id or text, wrong types, or a value that JSON does not have.
            TextError: lone surrogates, NUL characters or too many characters in title or text.
        """
        if not isinstance(raw, Mapping):
            raise RecordError(f"a record must be a JSON object, got {type(raw).__name__}.")
        doc_id = _doc_id(raw)
        title, text = _text_field(raw, "title", ""), _text_field(raw, "text", None)
        if not (title.strip() or text.strip()):
            raise RecordError(f"record {doc_id!r} has neither title nor text: there is nothing to search for.")
        fields = {key: value for key, value in raw.items() if key not in ("title", "text", _id_key(raw))}
        _check_json(fields, f"record {doc_id!r}")
        return cls(doc_id, title, text, fields)

    @property
    def content(self) -> str:
        """What is encoded: title, a space, text."""
        return f"{self.title} {self.text}" if self.title else self.text

    @property
    def payload(self) -> dict[str, Any]:
        """What a store keeps beside the vector and a Hit returns: title, text and the other fields."""
        return {"title": self.title, "text": self.text, **self.fields}

    @property
    def content_hash(self) -> str:
        """32 hex digits over id and payload: equal hashes mean that nothing needs to be written again."""
        canonical = json.dumps([self.doc_id, self.payload], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def check_doc_id(doc_id: object) -> str:
    """Return a usable document id, or raise RecordError."""
    if not isinstance(doc_id, str):
        raise RecordError(f"document id {doc_id!r} is {type(doc_id).__name__}: ids are strings.")
    check_text(doc_id, "document id")
    if not doc_id.strip():
        raise RecordError("document id is blank: give each document an id of its own.")
    if len(doc_id.encode()) > MAX_ID_BYTES:
        raise RecordError(f"document id {doc_id[:40]!r}... has {len(doc_id.encode())} bytes: at most {MAX_ID_BYTES} are accepted.")
    return doc_id


def _id_key(raw: Mapping[str, Any]) -> str | None:
    return next((key for key in ID_FIELDS if key in raw), None)


def _doc_id(raw: Mapping[str, Any]) -> str:
    key = _id_key(raw)
    if key is None:
        raise RecordError(f'no "_id" in the record (fields: {", ".join(map(str, raw)) or "none"}).')
    value = raw[key]
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # a CSV or JSON file with plain numbers as ids
    return check_doc_id(value)


def _text_field(raw: Mapping[str, Any], name: str, default: str | None) -> str:
    value = raw.get(name, default)
    if value is None and name in raw and default is not None:
        return default  # "title": null
    if value is None:
        raise RecordError(f'no "{name}" in the record {_doc_id(raw)!r}.')
    if not isinstance(value, str):
        raise RecordError(f'"{name}" of record {_doc_id(raw)!r} is {type(value).__name__}: it must be a string.')
    check_text(value, f'"{name}" of record {_doc_id(raw)!r}')
    return value


def _check_json(value: object, where: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise RecordError(f"{where} is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, str):
        check_text(value, f"a field of {where}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise RecordError(f"{where} holds {value}: JSON has no such number.")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise RecordError(f"{where} has the field name {key!r}: field names are strings.")
            check_text(key, f"a field name of {where}")
            _check_json(item, where, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_json(item, where, depth + 1)
    elif value is not None and not isinstance(value, bool | int):
        raise RecordError(f"{where} holds a {type(value).__name__}: only JSON values can be stored.")
