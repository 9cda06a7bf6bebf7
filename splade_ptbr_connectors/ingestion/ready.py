"""Ready vectors: records that were encoded elsewhere and bring their vector, checked against the model of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ModelMismatchError, RecordError, VectorError
from ..json_values import checked_copy
from ..records import DENSE_FIELD, FINGERPRINT_FIELD, VECTOR_FIELD, EncodedRecord, Record, check_doc_id, read_dense
from ..stores.base import Entry
from ..vectors import SparseVector

MAX_FIELDS = len(Entry._fields)


@dataclass(frozen=True, slots=True)
class ReadyVectors:
    """Reads records that may bring their own vector.

    Attributes:
        vocab_size, fingerprint: of the model that the vectors have to be of.
        required: a record without a vector is refused.
    """

    vocab_size: int
    fingerprint: str
    required: bool = False

    def read(self, raw: object) -> Record | EncodedRecord:
        """One record: a mapping with "vector" (and "dense"), an Entry, a tuple (doc_id, SparseVector, payload), or a text.

        Raises:
            RecordError, TextError, VectorError: it is none of these, or a part of it is not usable.
            ModelMismatchError: it says by "fingerprint" that another model made the vector.
        """
        if isinstance(raw, tuple | list):
            return self._checked(_from_entry(raw))
        if isinstance(raw, Mapping) and raw.get(VECTOR_FIELD) is not None:
            self._check_fingerprint(raw)
            return self._checked(EncodedRecord.from_mapping(raw))
        if self.required:
            raise RecordError('no "vector" in the record: with vectors=True every record brings its own.')
        return _text_record(raw)

    def _checked(self, record: EncodedRecord) -> EncodedRecord:
        record.vector.check_vocabulary(self.vocab_size)
        return record

    def _check_fingerprint(self, raw: Mapping[str, Any]) -> None:
        found = raw.get(FINGERPRINT_FIELD)
        if found is not None and found != self.fingerprint:
            raise ModelMismatchError(
                f"the vector of record {str(raw.get('_id'))[:60]!r} was made by the model with the fingerprint {str(found)[:12]}, the "
                f"store is opened with {self.fingerprint[:12]}: open it with that model, or encode the texts anew."
            )


def as_json(raw: object) -> object:
    """A record as a dead-letter file keeps it, so that it can be read again: an entry becomes a mapping."""
    if not isinstance(raw, tuple | list) or not 2 <= len(raw) <= MAX_FIELDS or not isinstance(raw[1], SparseVector):
        return raw
    rest = raw[2] if len(raw) > 2 and isinstance(raw[2], Mapping) else {}
    dense = {} if len(raw) < MAX_FIELDS or raw[4] is None else {DENSE_FIELD: raw[4]}
    return {"_id": raw[0], **rest, VECTOR_FIELD: raw[1].to_opensearch(), **dense}


def _from_entry(raw: tuple[Any, ...] | list[Any]) -> EncodedRecord:
    if not 2 <= len(raw) <= MAX_FIELDS:
        raise VectorError(f"expected (doc_id, SparseVector) or (doc_id, SparseVector, payload), got {raw!r:.80}.")
    entry = Entry(*raw)
    doc_id = check_doc_id(entry.doc_id)
    if not isinstance(entry.vector, SparseVector):
        raise VectorError(f"the vector of {doc_id!r} is {type(entry.vector).__name__}: it must be a SparseVector.")
    if not isinstance(entry.payload, Mapping):
        raise RecordError(f"the payload of {doc_id!r} is {type(entry.payload).__name__}: it must be a mapping of JSON values.")
    payload = checked_copy(entry.payload, f"the payload of {doc_id!r}")
    return EncodedRecord(doc_id, entry.vector, payload, read_dense(entry.dense, doc_id))


def _text_record(raw: object) -> Record:
    if not isinstance(raw, Mapping) or raw.get(DENSE_FIELD) is None:
        return Record.from_mapping(raw)
    record = Record.from_mapping({name: value for name, value in raw.items() if name != DENSE_FIELD})
    return replace(record, dense=read_dense(raw[DENSE_FIELD], record.doc_id))
