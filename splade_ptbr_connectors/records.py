"""Record: one document as it comes in, checked once, before it is encoded or stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import RecordError
from .json_values import checked_copy
from .text import check_text

ID_FIELDS = ("_id", "id", "doc_id")
MAX_ID_BYTES = 512  # OpenSearch's limit; one limit for every store, so that a collection can move between them
_canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


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
        """Check a mapping such as {"_id": ..., "title": ..., "text": ..., ...} and copy what it holds.

        Raises:
            RecordError: not a mapping, no id or text, wrong types, or a value that JSON does not have.
            TextError: lone surrogates, NUL characters or too many characters in title or text.
        """
        if not isinstance(raw, Mapping):
            raise RecordError(f"a record must be a JSON object, got {type(raw).__name__}.")
        id_field = next((name for name in ID_FIELDS if name in raw), None)
        if id_field is None:
            raise RecordError(f'no "_id" in the record (fields: {_names(raw)}).')
        doc_id = _doc_id(raw[id_field])
        title, text = _title(raw.get("title"), doc_id), _text(raw, doc_id)
        if not (title.strip() or text.strip()):
            raise RecordError(f"record {doc_id!r} has neither title nor text: there is nothing to search for.")
        rest = {name: value for name, value in raw.items() if name not in ("title", "text", id_field)}
        return cls(doc_id, title, text, checked_copy(rest, f"record {doc_id!r}"))

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
        return hashlib.blake2b(_canonical([self.doc_id, self.payload]).encode(), digest_size=16).hexdigest()


def check_doc_id(doc_id: object) -> str:
    """Return a usable document id, or raise RecordError or TextError."""
    if not isinstance(doc_id, str):
        raise RecordError(f"document id {doc_id!r} is {type(doc_id).__name__}: ids are strings.")
    check_text(doc_id, "document id")
    if not doc_id.strip():
        raise RecordError("document id is blank: give each document an id of its own.")
    if len(doc_id) > MAX_ID_BYTES // 4 and len(doc_id.encode()) > MAX_ID_BYTES:
        raise RecordError(f"document id {doc_id[:40]!r}... has {len(doc_id.encode())} bytes: at most {MAX_ID_BYTES} are accepted.")
    return doc_id


def _doc_id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # a CSV or JSON file with plain numbers as ids
    return check_doc_id(value)


def _title(value: object, doc_id: str) -> str:
    return "" if value is None else _checked(value, "title", doc_id)


def _text(raw: Mapping[str, Any], doc_id: str) -> str:
    value = raw.get("text")
    if value is None:
        raise RecordError(f'no "text" in the record {doc_id!r}.')
    return _checked(value, "text", doc_id)


def _checked(value: object, name: str, doc_id: str) -> str:
    if not isinstance(value, str):
        raise RecordError(f'"{name}" of record {doc_id!r} is {type(value).__name__}: it must be a string.')
    return check_text(value, f'"{name}" of record {doc_id!r}')


def _names(raw: Mapping[str, Any]) -> str:
    return ", ".join(" ".join(str(name).split()) for name in raw) or "none"
