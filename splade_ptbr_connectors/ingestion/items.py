"""Items: the records of an input, numbered, checked, and known to be new, unchanged or rejected.

A record is rejected, with its reason, when it is not valid (here), when the encoder refuses its text (item_encoder.py), or when
the store refuses the document (writer.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..batches import batched
from ..errors import InputError, ModelMismatchError, RecordError, VectorError
from ..json_values import checked_copy
from ..records import (
    DENSE_FIELD,
    FINGERPRINT_FIELD,
    VECTOR_FIELD,
    EncodedRecord,
    Record,
    brings_passages,
    check_doc_id,
    read_dense,
    read_vector,
)
from ..sources import Broken, Row
from ..splitting import Passage, Splitter
from ..stores.base import CheckedEntry, Entry, EntryPassage, Store
from ..stores.entries import as_passages, check_number_of_passages, check_passages
from ..stores.payloads import check_names
from ..vectors import SparseVector
from .dead_letter import dead_letter_line
from .seen_ids import SeenIds

REFUSED = "refused by the store"  # begins the reason of a document that only the store refused
MAX_ENTRY_FIELDS = len(Entry._fields)
_BYTES_BESIDE_TEXT = 512  # of an item, roughly


@dataclass(slots=True)
class Item:
    """One record on its way.

    Attributes:
        line: where it stands in the input, from 1.
        content_hash: of a valid record, "" of another.
        record: None once nothing more is to be done with it.
        reason: why it is rejected, "" if it is not.
        dead_letter_line: its line of the dead-letter file, "" if it is not rejected.
        replaces: the store held another version of it when it was looked up.
        nbytes: memory held by it, roughly, without vectors that were encoded here.
        pieces: passages of its text, where it has several and they are encoded here.
        vectors: those of its passages so far.
    """

    line: int
    content_hash: str
    record: Record | EncodedRecord | None = None
    reason: str = ""
    dead_letter_line: str = ""
    vector: SparseVector | None = None
    replaces: bool = False
    nbytes: int = _BYTES_BESIDE_TEXT
    pieces: Sequence[Passage] = ()
    vectors: list[SparseVector] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """What tells the record from every other one of its input, however it fared since it was read."""
        return self.content_hash or self.dead_letter_line

    @property
    def text(self) -> str | None:
        """What is yet to be encoded, whole."""
        return self.record.content if isinstance(self.record, Record) and self.vector is None else None

    def split(self, splitter: Splitter | None) -> list[str]:
        """What is yet to be encoded: the text, or each of its passages behind the title. Raises TextError, RecordError."""
        if not isinstance(self.record, Record) or self.vector is not None:
            return []
        passages = splitter.split(self.record.text, self.record.title or None) if splitter and self.record.text else []
        check_number_of_passages(self.record.doc_id, len(passages))
        self.pieces, self.vectors = passages if len(passages) > 1 else (), []
        return [self.record.content_of(passage.text) for passage in self.pieces] or [self.record.content]

    def take(self, vector: SparseVector) -> bool:
        """Take the vector of the next of these texts. Returns whether it was the last."""
        self.vectors.append(vector)
        if len(self.vectors) < len(self.pieces):
            return False
        self.vector = self.vectors[0]
        return True

    @property
    def passages(self) -> tuple[EntryPassage, ...]:
        """As a store takes them."""
        spans: Iterable[tuple[int, int, SparseVector]] = self.record.passages if isinstance(self.record, EncodedRecord) else ()
        if self.pieces:
            spans = [(piece.start, piece.end, vector) for piece, vector in zip(self.pieces, self.vectors, strict=True)]
        return tuple([EntryPassage(number, *span) for number, span in enumerate(spans)])

    def to_entry(self) -> Entry:
        """As the store takes it."""
        if self.record is None or self.vector is None:
            raise RuntimeError("an item without record and vector cannot be written")
        payload, dense = self.record.payload, self.record.dense
        return CheckedEntry(self.record.doc_id, self.vector, payload, self.content_hash, dense, self.passages)

    @property
    def lacks_dense(self) -> bool:
        """Whether it is a record without a dense vector."""
        return self.record is not None and self.record.dense is None

    @property
    def vector_bytes(self) -> int:
        """Bytes of all its vectors."""
        return sum([passage.vector.nbytes for passage in self.passages]) or (self.vector.nbytes if self.vector is not None else 0)

    def reject(self, reason: str) -> None:
        """Mark a valid record as rejected."""
        if self.record is not None:
            record = self.record.to_mapping() if isinstance(self.record, Record) else self.record.to_json()
            self.reason, self.dead_letter_line = reason, dead_letter_line(self.line, reason, record)
            self.drop()

    def drop(self) -> None:
        """Nothing more is to be done with it."""
        self.record = self.vector = None
        self.pieces, self.vectors = (), []


def read_items(records: Iterable[Any], ready: ReadyVectors | None = None, seen: SeenIds | None = None) -> Iterator[Item]:
    """Check every record. Nothing is raised for a bad one: it comes out rejected, in its place.

    Args:
        records: mappings, Record objects, or the Row and Broken of a source.
        ready: which records may bring their own vector; None takes all for texts.
        seen: remembers the ids for the caller.

    Raises:
        ModelMismatchError: a record's own vector is of another model.
    """
    seen = seen or SeenIds()
    for number, raw in enumerate(records, 1):
        row = raw if isinstance(raw, Row | Broken) else Row(number, raw)
        yield _rejected(row.line, row.reason, row.text) if isinstance(row, Broken) else _checked(row, ready, seen)


def drop_unchanged(items: Iterable[Item], store: Store, size: int) -> Iterator[Item]:
    """The same items, without the records that the store already holds with the same content; looked up `size` at a time."""
    for batch in batched(items, size):
        stored = store.content_hashes([item.record.doc_id for item in batch if item.record])
        for item in batch:
            if item.record is not None:
                known = stored.get(item.record.doc_id)
                item.replaces = known is not None
                if known == item.content_hash:
                    item.drop()
            yield item


def _checked(row: Row, ready: ReadyVectors | None, seen: SeenIds) -> Item:
    raw = _as_mapping(row.raw)
    try:
        read = ready.read if ready is not None else _text_record if isinstance(row.raw, Record) else Record.from_mapping
        record = read(raw)
        check_names(record.doc_id, record.payload)
        first = seen.first_line(record.doc_id, row.line)
        if first != row.line:
            raise RecordError(f"duplicate _id {record.doc_id!r}, first on line {first}.")
    except InputError as error:
        return _rejected(row.line, str(error), as_json(raw))
    except RecursionError:
        return _rejected(row.line, "the record is nested too deeply.", raw)
    vector = record.vector if isinstance(record, EncodedRecord) else None
    return Item(row.line, record.content_hash, record, vector=vector, nbytes=_BYTES_BESIDE_TEXT + _size(record))


def _as_mapping(raw: Any) -> Any:
    if isinstance(raw, Record):  # a dataclass checks nothing by itself
        return {"_id": raw.doc_id, "title": raw.title, "text": raw.text, **raw.fields} | ({} if raw.dense is None else {"dense": raw.dense})
    return raw


def _rejected(line: int, reason: str, record: object) -> Item:
    dead = dead_letter_line(line, reason, record)
    return Item(line, "", None, reason, dead, nbytes=_BYTES_BESIDE_TEXT + len(dead))


def _size(record: Record | EncodedRecord) -> int:
    if isinstance(record, Record):
        text = len(record.title) + len(record.text)
    else:
        text = record.vector.nbytes + sum([vector.nbytes for _, _, vector in record.passages])
    fields = record.fields if isinstance(record, Record) else record.payload
    values = sum([len(value) if isinstance(value, str) else 128 for value in fields.values()])
    return len(record.doc_id) + text + values + 32 * len(record.dense or ())


# -- ready vectors: records that were encoded elsewhere and bring their vector ------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadyVectors:
    """Reads records that may bring their own vector, which must be of the store's model.

    Attributes:
        vocab_size, fingerprint: of that model.
        required: a record without a vector is refused.
        whole: one of several passages is refused.
    """

    vocab_size: int
    fingerprint: str
    required: bool = False
    whole: bool = False

    def read(self, raw: object) -> Record | EncodedRecord:
        """One record: a mapping with "vector" (and "dense"), an Entry, a tuple (doc_id, SparseVector, payload), that in JSON, or a text.

        Raises:
            RecordError, TextError, VectorError: it is not one of these, or a part of it is not usable.
            ModelMismatchError: its "fingerprint" says that another model made the vector.
        """
        if isinstance(raw, tuple | list):
            return self._checked(_from_entry(raw))
        if isinstance(raw, Mapping) and (raw.get(VECTOR_FIELD) is not None or brings_passages(raw)):
            self._check_fingerprint(raw)
            return self._checked(EncodedRecord.from_mapping(raw))
        if self.required:
            raise RecordError('no "vector" in the record: with vectors=True every record brings its own.')
        return _text_record(raw)

    def _checked(self, record: EncodedRecord) -> EncodedRecord:
        for vector in (record.vector, *[passage[2] for passage in record.passages]):
            vector.check_vocabulary(self.vocab_size)
        if record.passages and self.whole:
            raise RecordError(f"record {record.doc_id!r} brings several passages, the store keeps whole documents: encode it as one.")
        if record.passages:
            numbered = tuple([EntryPassage(number, *span) for number, span in enumerate(record.passages)])
            check_passages(Entry(record.doc_id, record.vector, passages=numbered), record.payload)
        return record

    def _check_fingerprint(self, raw: Mapping[str, Any]) -> None:
        found = raw.get(FINGERPRINT_FIELD)
        if found is not None and found != self.fingerprint:
            raise ModelMismatchError(
                f"the vector of record {str(raw.get('_id'))[:60]!r} was made by the model with the fingerprint {str(found)[:12]}, the "
                f"store is opened with {self.fingerprint[:12]}: open it with that model, or encode the texts again."
            )


def as_json(raw: object) -> object:
    """A record as a dead-letter file keeps it, so that it can be read again: an entry becomes a mapping, or a list."""
    if not isinstance(raw, tuple | list) or not 2 <= len(raw) <= MAX_ENTRY_FIELDS or not isinstance(raw[1], SparseVector):
        return raw
    entry = Entry(*raw)
    payload = entry.payload if isinstance(entry.payload, Mapping) else {}
    if not isinstance(entry.dense, tuple | list | None):
        return raw
    try:
        passages = as_passages(str(entry.doc_id), entry.passages)
    except InputError:
        return raw
    return EncodedRecord(entry.doc_id, entry.vector, payload, entry.dense, tuple([passage[1:] for passage in passages])).to_json()


def _from_entry(raw: tuple[Any, ...] | list[Any]) -> EncodedRecord:
    if not 2 <= len(raw) <= MAX_ENTRY_FIELDS:
        raise VectorError(f"expected (doc_id, SparseVector) or (doc_id, SparseVector, payload), got {raw!r:.80}.")
    entry = _with_vectors(Entry(*raw))
    doc_id = check_doc_id(entry.doc_id)
    if not isinstance(entry.vector, SparseVector):
        raise VectorError(f"the vector of {doc_id!r} is {type(entry.vector).__name__}: it must be a SparseVector.")
    if not isinstance(entry.payload, Mapping):
        raise RecordError(f"the payload of {doc_id!r} is {type(entry.payload).__name__}: it must be a mapping of JSON values.")
    payload = checked_copy(entry.payload, f"the payload of {doc_id!r}")
    passages = tuple([passage[1:] for passage in check_passages(entry, payload)])
    return EncodedRecord(doc_id, entry.vector, payload, read_dense(entry.dense, doc_id), passages)


def _with_vectors(entry: Entry) -> Entry:
    """An entry with its vectors, which in JSON are mappings; what is wrong with it otherwise stays so."""

    def read(raw: Any) -> Any:
        return read_vector(raw, str(entry.doc_id)) if isinstance(raw, Mapping) else raw

    passages: Any = entry.passages
    if isinstance(passages, list):
        passages = [[*each[:3], *map(read, each[3:])] if isinstance(each, list) else each for each in passages]
    return entry._replace(vector=read(entry.vector), passages=passages)


def _text_record(raw: object) -> Record:
    if not isinstance(raw, Mapping) or raw.get(DENSE_FIELD) is None:
        return Record.from_mapping(raw)
    record = Record.from_mapping({name: value for name, value in raw.items() if name != DENSE_FIELD})
    return replace(record, dense=read_dense(raw[DENSE_FIELD], record.doc_id))
