"""CIFF, the Common Index File Format: posting lists that Anserini, JASS, OldDog, PISA and Terrier exchange.

Lin, Mackenzie, Kamphuis, Macdonald, Mallia, Siedlaczek, Trotman and de Vries, "Supporting Interoperability Between Open-Source
Search Engines with the Common Index File Format" (SIGIR 2020, arXiv 2003.08276); https://github.com/osirrc/ciff.

A file is a Header, its PostingsLists, its DocRecords, each a protobuf message behind its length. Postings hold the distance to
the document before (the first one its number) and the impact as frequency; a document's length is the sum of its impacts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np

from ..errors import InputFileError
from ..records import EncodedRecord
from .files import ByteReader, writing
from .index import NO_POSTINGS, U32, Group, IndexReader, IndexWriter
from .protobuf import (
    MAX_VARINT_BYTES,
    U64,
    Value,
    WireError,
    decode_varint,
    decode_varints,
    delimited,
    encode_field,
    encode_varint,
    encode_varints,
    fields,
    varint_sizes,
)
from .vector_encoding import MAX_IMPACT, VectorEncoding, WriteCounts

VERSION = 1
MAX_MESSAGE = 2**31 - 1  # bytes; protobuf's own limit
MAX_INT64 = 2**63 - 1
MAX_HEADER = 2**20  # bytes: some counts and a description
MAX_RECORD = 2**16  # bytes of a document, and of a posting list beside its postings
MAX_POSTING = 64  # bytes: 14 at most as every known writer lays it out, the others for fields of later versions
MIN_ENTRY = 4  # bytes of a posting list or a document, both of which have a name
BLOCK = 2**20  # bytes decoded at once
_POSTINGS, _DOCID, _TF = 4 << 3 | 2, 1 << 3, 2 << 3  # the keys of PostingsList.postings, Posting.docid, Posting.tf
_AVERAGE = 7 << 3 | 1  # the key of Header.average_doclength, a double

T = TypeVar("T")


class Header(NamedTuple):
    """The counts of a file that a reader needs."""

    postings_lists: int
    documents: int


class PostingsList(NamedTuple):
    """One term: its name, the numbers of its documents [df], its impacts [df]."""

    term: str
    documents: U32
    impacts: U32


# -- writing ---------------------------------------------------------------------------------------------------------


def write_ciff(path: Path, records: Iterable[EncodedRecord], encoding: VectorEncoding) -> WriteCounts:
    """Write an index of all documents; .gz by name. Memory: as IndexWriter.

    Raises:
        InputFileError, RecordError, VectorError: the file cannot be written, an id is a duplicate, a term has no name.
    """
    with IndexWriter(path, encoding) as index:
        index.add(records)
        with writing(path) as file:
            _write(file, index, encoding)
    return index.counts


def _write(file: BinaryIO, index: IndexWriter, encoding: VectorEncoding) -> None:
    terms, postings = index.postings()
    description = f"splade-ptbr-connectors; frequency = weight * {encoding.factor}, rounded; terms: {encoding.terms.label}"
    file.write(delimited(_header(terms, len(index.ids), sum(index.lengths), description)))
    for name, group in encoding.progress(postings, "posting lists"):
        file.write(delimited(_postings_list(name, group)))
    for number, (doc_id, length) in enumerate(zip(index.ids, index.lengths, strict=True)):
        file.write(delimited(encode_field(1, number) + encode_field(2, doc_id) + encode_field(3, length)))


def _header(terms: int, documents: int, total: int, description: str) -> bytes:
    counts = [VERSION, terms, documents, terms, documents, total]
    numbers = b"".join(encode_field(number, value) for number, value in enumerate(counts, 1))
    average = encode_varint(_AVERAGE) + struct.pack("<d", total / documents) if total else b""
    return numbers + average + encode_field(8, description)


def _postings_list(name: str, group: Group) -> bytes:
    head = encode_field(1, name) + encode_field(2, len(group.others)) + encode_field(3, int(group.impacts.sum(dtype=np.int64)))
    return head + encode_varints(_spelled(np.diff(group.others, prepend=np.uint32(0)), group.impacts))


def _spelled(gaps: U32, impacts: U32) -> U64:
    """All postings as one row of varints: key, length, docid key, gap, tf key, tf; a first gap of 0 is left out (proto3)."""
    table = np.empty((len(gaps), 6), np.uint64)
    table[:, 0], table[:, 2], table[:, 4] = _POSTINGS, _DOCID, _TF
    table[:, 3], table[:, 5] = gaps, impacts
    table[:, 1] = 2 + varint_sizes(table[:, 3]) + varint_sizes(table[:, 5])
    flat = table.reshape(-1)
    if len(gaps) and gaps[0] == 0:
        flat[1] -= 2
        flat = np.delete(flat, [2, 3])
    return flat


# -- reading ---------------------------------------------------------------------------------------------------------


def read_ciff(path: Path, encoding: VectorEncoding) -> Iterator[EncodedRecord]:
    """The documents of an index, in the order of their numbers. Memory: as IndexReader, and the largest posting list.

    Raises:
        InputFileError: naming the byte: not CIFF, cut off, or counts that do not fit what is there. No more is unpacked than the
            counts of the header allow.
    """
    with ByteReader(path) as reader, IndexReader(path, encoding) as index:
        header = _message(reader, "the header", _parse_header, MAX_HEADER)
        counts = f"{header.postings_lists:,} posting lists and {header.documents:,} documents"
        reader.check_room(header.postings_lists + header.documents, MIN_ENTRY, counts, distinct=True)
        largest = min(MAX_MESSAGE, MAX_RECORD + MAX_POSTING * header.documents)
        for number in encoding.progress(range(header.postings_lists), "posting lists"):
            where = f"{path}, byte {reader.position:,}"
            what = f"posting list {number + 1:,} of {header.postings_lists:,}"
            index.add(where, *_message(reader, what, _parse_postings_list, largest))
        ids = _read_ids(reader, header.documents)
        if not reader.at_end():
            reader.fail(f"there is more behind the last of {header.documents:,} documents")
        yield from index.documents(ids)


def _message(reader: ByteReader, what: str, parse: Callable[[memoryview], T], largest: int) -> T:
    """The next message, of at most `largest` bytes."""
    length = bytearray()
    while not length or length[-1] >= 0x80:
        if len(length) == MAX_VARINT_BYTES:
            reader.fail(f"the length of {what} does not end: not CIFF, or damaged")
        length += reader.take(1, f"the length of {what}")
    size, _ = decode_varint(memoryview(length), 0)
    if size > largest:
        reader.fail(f"{what} has {size:,} bytes, at most {largest:,} are possible: not CIFF, or damaged")
    start = reader.position
    data = reader.take(size, what)
    try:
        return parse(memoryview(data))
    except (WireError, UnicodeDecodeError) as error:
        raise InputFileError(f"{reader.path}, byte {start:,}: {what} cannot be read: {error}.") from error


def _parse_header(message: memoryview) -> Header:
    counts = {number: value for number, value, _ in fields(message)}
    if counts.get(1) != VERSION:
        raise WireError(f"version {counts.get(1)!r:.40}, this reader knows {VERSION}: not CIFF?")
    return Header(_number(counts.get(2, 0), "num_postings_lists"), _number(counts.get(3, 0), "num_docs"))


def _parse_postings_list(message: memoryview) -> PostingsList:
    head: dict[int, Value] = {}
    for number, value, start in fields(message):
        if number == 4:
            usual = _usual(message[start:])
            return _checked_list(*(_unusual(message) if usual is None else (head, *usual)))
        head[number] = value
    return _checked_list(head, *NO_POSTINGS)


def _checked_list(head: dict[int, Value], gaps: U32, impacts: U32) -> PostingsList:
    term, df = _text(head.get(1, b""), "term"), _number(head.get(2, 0), "df", MAX_INT64)
    if df != len(gaps):
        raise WireError(f"df of term {term!r:.60} is {df:,}, there are {len(gaps):,} postings")
    documents = np.cumsum(gaps, dtype=np.uint64)  # each below 2**31 and not 2**30 of them: the sum stays within 64 bits
    if len(gaps) and documents[-1] > MAX_IMPACT:
        raise WireError(f"term {term!r:.60} has a document number above {MAX_IMPACT}")
    return PostingsList(term, documents.astype(np.uint32), impacts)


def _usual(data: memoryview) -> tuple[U32, U32] | None:
    """(gaps, impacts) of postings as every known writer lays them out; None if these bytes are laid out otherwise.

    Memory: the result twice, and a block.
    """
    tables: list[U32] = []
    while len(data):
        ends = np.flatnonzero(np.frombuffer(data[:BLOCK], np.uint8) < 0x80) + 1
        left_out = 2 if not tables and len(ends) > 2 and data[ends[1]] == _TF else 0  # a first gap of 0, key and value
        whole = (len(ends) + left_out) // 6 * 6 - left_out
        table = _table(data[: ends[whole - 1]], left_out) if whole > 0 else None
        if table is None:
            return None
        tables.append(table)
        data = data[ends[whole - 1] :]
    return np.concatenate([table[:, 0] for table in tables]), np.concatenate([table[:, 1] for table in tables])


def _table(data: memoryview, left_out: int) -> U32 | None:
    """[N, 2] gaps and impacts of whole postings. Raises WireError for a number that is too large."""
    try:
        flat = decode_varints(data)
    except WireError:
        return None
    if left_out:
        flat = np.insert(flat, 2, [_DOCID, 0])
        flat[1] += np.uint64(2)
    table = flat.reshape(-1, 6)
    sizes = (2 + varint_sizes(table[:, 3]) + varint_sizes(table[:, 5])).astype(np.uint64)
    as_written = (table[:, 0] == _POSTINGS) & (table[:, 1] == sizes) & (table[:, 2] == _DOCID) & (table[:, 4] == _TF)
    if not as_written.all():
        return None
    numbers = table[:, [3, 5]]
    if numbers.max() > MAX_IMPACT:
        raise WireError(f"a docid or tf lies outside 0..{MAX_IMPACT}")
    return numbers.astype(np.uint32)


def _unusual(message: memoryview) -> tuple[dict[int, Value], U32, U32]:
    """(fields, gaps, impacts) of any other layout that protobuf allows: other order, fields of a later version, longer varints."""
    head: dict[int, Value] = {}
    postings = []
    for number, value, _ in fields(message):
        if number != 4:
            head[number] = value
        elif isinstance(value, int):
            raise WireError("a posting is an integer, it must be a message")
        else:
            posting = {field: one for field, one, _ in fields(value)}
            postings.append((_number(posting.get(1, 0), "docid"), _number(posting.get(2, 0), "tf")))
    gaps, impacts = np.array(postings, np.uint32).reshape(-1, 2).T
    return head, gaps, impacts


def _read_ids(reader: ByteReader, total: int) -> list[str]:
    """The ids of the documents by their numbers, which are 0 to total - 1 in any order."""
    found: dict[int, str] = {}
    for position in range(total):
        number, doc_id = _message(reader, f"document {position + 1:,} of {total:,}", _parse_document, MAX_RECORD)
        if number >= total or number in found:
            reader.fail(f"document number {number:,} is {'a duplicate' if number in found else f'not below {total:,}'}")
        found[number] = doc_id
    return [found[number] for number in range(total)]


def _parse_document(message: memoryview) -> tuple[int, str]:
    found = {number: value for number, value, _ in fields(message)}
    doc_id = _text(found.get(2, b""), "collection_docid")
    if not doc_id:
        raise WireError("collection_docid is empty")
    return _number(found.get(1, 0), "docid"), doc_id


def _number(value: Value, name: str, most: int = MAX_IMPACT) -> int:
    if not isinstance(value, int) or value > most:
        raise WireError(f"{name} is {value if isinstance(value, int) else 'no integer'}, it must be from 0 to {most}")
    return value


def _text(value: Value | bytes, name: str) -> str:
    if isinstance(value, int):
        raise WireError(f"{name} is an integer, it must be a text")
    return bytes(value).decode()
