"""CIFF, against the protobuf library (classes made at run time) and a scipy inversion; files that are damaged or lie."""

from __future__ import annotations

import gzip
import tempfile
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import InputError, InputFileError
from splade_ptbr_connectors.interchange import ciff, index, protobuf
from splade_ptbr_connectors.interchange.ciff import read_ciff, write_ciff
from splade_ptbr_connectors.interchange.index import Group
from splade_ptbr_connectors.interchange.protobuf import WireError, decode_varints, encode_varints
from splade_ptbr_connectors.interchange.vector_encoding import VectorEncoding
from splade_ptbr_connectors.records import EncodedRecord
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

from .collections import collections, quantised, restored, terms_of

descriptors = pytest.importorskip("google.protobuf.descriptor_pb2")
INT32, INT64, DOUBLE, TEXT, MESSAGE = 5, 3, 1, 9, 11
SCHEMA: dict[str, list[tuple[str, int]]] = {
    "Header": [
        ("version", INT32),
        ("num_postings_lists", INT32),
        ("num_docs", INT32),
        ("total_postings_lists", INT32),
        ("total_docs", INT32),
        ("total_terms_in_collection", INT64),
        ("average_doclength", DOUBLE),
        ("description", TEXT),
    ],
    "Posting": [("docid", INT32), ("tf", INT32)],
    "PostingsList": [("term", TEXT), ("df", INT64), ("cf", INT64), ("postings", MESSAGE)],
    "DocRecord": [("docid", INT32), ("collection_docid", TEXT), ("doclength", INT32)],
}


@pytest.fixture(scope="module")
def classes() -> Any:
    """Header, Posting, PostingsList and DocRecord as the library makes them of the published schema."""
    from google.protobuf import descriptor_pool, message_factory

    file = descriptors.FileDescriptorProto(name="ciff.proto", package="io.osirrc.ciff", syntax="proto3")
    for name, members in SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, (member, kind) in enumerate(members, 1):
            field = message.field.add(name=member, number=number, type=kind, label=3 if kind == MESSAGE else 1)
            if kind == MESSAGE:
                field.type_name = ".io.osirrc.ciff.Posting"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return SimpleNamespace(
        **{name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"io.osirrc.ciff.{name}")) for name in SCHEMA}
    )


def messages(data: bytes) -> list[bytes]:
    found, position = [], 0
    while position < len(data):
        size, position = protobuf.decode_varint(memoryview(data), position)
        found.append(data[position : position + size])
        position += size
    return found


def library_file(classes: Any, records: list[EncodedRecord]) -> bytes:
    """The file as the library serialises it, from an inversion by scipy."""
    impacts = [SparseVector.from_dict(quantised(one.vector)) for one in records]
    matrix = SparseBatch.from_vectors(impacts).to_scipy(16).tocsc()
    lists = []
    for term in sorted(map(str, range(16))):  # ids as names, in the order of their bytes
        start, end = matrix.indptr[int(term)], matrix.indptr[int(term) + 1]
        documents, frequencies = matrix.indices[start:end].tolist(), matrix.data[start:end].astype(int).tolist()
        if documents:
            gaps = [b - a for a, b in zip([0, *documents], documents, strict=False)]
            postings = [classes.Posting(docid=gap, tf=tf) for gap, tf in zip(gaps, frequencies, strict=True)]
            lists.append(classes.PostingsList(term=term, df=len(gaps), cf=sum(frequencies), postings=postings))
    total = int(matrix.sum())
    counts = dict(num_postings_lists=len(lists), num_docs=len(records), total_postings_lists=len(lists), total_docs=len(records))
    header = classes.Header(version=1, total_terms_in_collection=total, average_doclength=total / len(records), **counts)
    header.description = "splade-ptbr-connectors; frequency = weight * 100, rounded; terms: ids"
    lengths = [int(sum(one.weights.tolist())) for one in impacts]
    documents = [classes.DocRecord(docid=n, collection_docid=one.doc_id, doclength=lengths[n]) for n, one in enumerate(records)]
    return b"".join(protobuf.delimited(one.SerializeToString()) for one in (header, *lists, *documents))


def read_bytes(data: bytes, encoding: VectorEncoding | None = None) -> list[EncodedRecord]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.ciff"
        path.write_bytes(data)
        return list(read_ciff(path, encoding or VectorEncoding()))


def written(records: list[EncodedRecord], encoding: VectorEncoding | None = None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.ciff"
        write_ciff(path, records, encoding or VectorEncoding())
        return path.read_bytes()


@settings(max_examples=40)
@given(records=collections("ciff"))
def test_every_byte_is_the_librarys(classes: Any, records: list[EncodedRecord]) -> None:
    assert written(records) == library_file(classes, records)


@settings(max_examples=20)
@given(records=collections("ciff"), run=st.integers(1, 12))
def test_an_index_that_is_sorted_on_disk_is_the_same(records: list[EncodedRecord], run: int) -> None:
    whole = written(records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "RUN", run)
        assert written(records) == whole
        assert [one.vector for one in read_bytes(whole)] == [restored(one.vector) for one in records]


@settings(max_examples=40)
@given(records=collections("ciff"), data=st.data())
def test_any_layout_that_the_library_reads_is_read_the_same(classes: Any, records: list[EncodedRecord], data: st.DataObject) -> None:
    """Fields in another order, unknown fields, integers longer than needed: all of it is protobuf."""
    header, *others = messages(library_file(classes, records))
    parts = [protobuf.delimited(header + data.draw(UNKNOWN))]
    for message in others:
        fields = [message[start:end] for start, end in spans(message)]
        head = data.draw(st.permutations([field for field in fields if field[0] != POSTING]))
        postings, place = [field for field in fields if field[0] == POSTING], data.draw(st.integers(0, len(head)))
        parts.append(protobuf.delimited(b"".join([*head[:place], *postings, data.draw(UNKNOWN), *head[place:]])))
    assert [one.vector for one in read_bytes(b"".join(parts))] == [restored(one.vector) for one in records]


POSTING = 4 << 3 | 2  # the key of a posting in its list
UNKNOWN = st.sampled_from([b"", b"\x78\x07", b"\x7a\x02ab", b"\x79" + b"x" * 8, b"\x7d" + b"x" * 4])


def spans(message: bytes) -> list[tuple[int, int]]:
    starts = [start for _, _, start in protobuf.fields(memoryview(message))]
    return list(zip(starts, [*starts[1:], len(message)], strict=True))


def test_integers_longer_than_needed_are_read(classes: Any) -> None:
    posting = b"\x22\x06\x08\x80\x00\x10\x87\x00"  # docid 0 and tf 7, each with a byte too many
    lists = b"\x0a\x011\x10\x02\x18\x0e" + posting + b"\x22\x05\x10\x07\x08\x81\x00"
    assert [(one.docid, one.tf) for one in classes.PostingsList.FromString(lists).postings] == [(0, 7), (1, 7)]
    parts = [b"\x08\x01\x10\x01\x18\x02", lists, b"\x12\x01a", b"\x08\x01\x12\x01b"]
    assert [one.vector.to_dict() for one in read_bytes(b"".join(map(protobuf.delimited, parts)))] == [{1: np.float32(0.07)}] * 2


@settings(max_examples=20)
@given(records=collections("ciff"))
def test_terms_stand_in_the_order_of_their_bytes(classes: Any, records: list[EncodedRecord]) -> None:
    data = messages(written(records, VectorEncoding(terms_of("tokens"))))
    header = classes.Header.FromString(data[0])
    names = [classes.PostingsList.FromString(message).term.encode() for message in data[1 : 1 + header.num_postings_lists]]
    assert names == sorted(names)


@given(values=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300), max_size=30))
def test_many_integers_are_the_single_ones(values: list[int]) -> None:
    encoded = encode_varints(np.array(values, np.uint64))
    assert encoded == b"".join(map(protobuf.encode_varint, values))
    if values:
        assert decode_varints(memoryview(encoded)).tolist() == values
        with pytest.raises(WireError, match="end"):
            decode_varints(memoryview(encoded + b"\x80"))
        with pytest.raises(WireError, match="10 bytes"):
            decode_varints(memoryview(b"\xff" * 10 + b"\x01" + encoded))


RECORDS = [
    EncodedRecord("um", SparseVector([1, 3], [0.5, 2.0])),
    EncodedRecord("dois", SparseVector([], [])),
    EncodedRecord("três", SparseVector([3], [9.0])),
]


def test_a_file_cut_off_anywhere_is_refused() -> None:
    data = written(RECORDS)
    for size in range(len(data)):
        with pytest.raises(InputFileError, match=r"byte \d+: (the file ends within|.* cannot be read)"):
            read_bytes(data[:size])
    with pytest.raises(InputFileError, match="more behind the last of 3 documents"):
        read_bytes(data + b"\0")


@settings(max_examples=40)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_read_but_never_anything_else(position: int, value: int) -> None:
    data = bytearray(written(RECORDS))
    data[position % len(data)] = value
    try:
        assert len(read_bytes(bytes(data))) == 3
    except InputError as error:
        assert "\n" not in str(error)


@settings(max_examples=40)
@given(data=st.binary(max_size=60))
def test_bytes_of_any_kind_never_end_in_another_error(data: bytes) -> None:
    header = protobuf.delimited(b"\x08\x01\x10\x02\x18\x02")
    for content in (data, header + data, header + protobuf.delimited(data)):
        with pytest.raises(InputError):
            read_bytes(content)


def lying(*parts: bytes) -> bytes:
    return b"".join(map(protobuf.delimited, parts))


HEADER = b"\x08\x01\x10\x01\x18\x01"
LIES = {
    "a message of 2 GiB": (
        lying(HEADER) + protobuf.encode_varint(2**31 - 1) + b"abc",
        "posting list 1 of 1 has 2,147,483,647 bytes, at most 65,600",
    ),
    "a message of more": (lying(HEADER) + protobuf.encode_varint(2**40), "at most 65,600 are possible"),
    "a message cut off": (lying(HEADER) + protobuf.encode_varint(2**15) + b"abc", "ends within posting list 1 of 1"),
    "a header of a gibibyte": (protobuf.encode_varint(2**30), "the header has 1,073,741,824 bytes, at most 1,048,576"),
    "a document of a gibibyte": (lying(b"\x08\x01\x18\x01") + protobuf.encode_varint(2**30), "document 1 of 1 has 1,073,741,824 bytes"),
    "a term twice": (lying(b"\x08\x01\x10\x02\x18\x01", *[b"\x0a\x011\x10\x01\x22\x02\x10\x01"] * 2, b"\x12\x01a"), "two posting lists"),
    "a term without postings over and over": (lying(b"\x08\x01\x10\x09", *[b"\x0a\x011"] * 9), "two posting lists"),
    "a length that does not end": (lying(HEADER) + b"\xff" * 11, "does not end"),
    "two thousand million lists": (
        lying(b"\x08\x01\x10" + protobuf.encode_varint(2**31 - 1)),
        "2,147,483,647 posting lists and 0 documents do not fit into this file",
    ),
    "two thousand million documents": (
        lying(b"\x08\x01\x18" + protobuf.encode_varint(2**31 - 1)),
        "0 posting lists and 2,147,483,647 documents do not fit into this file",
    ),
    "a negative count": (lying(b"\x08\x01\x10" + protobuf.encode_varint(2**64 - 1)), "num_postings_lists is"),
    "another version": (lying(b"\x08\x02"), "version 2"),
    "a term of 1 GiB": (lying(HEADER, b"\x0a" + protobuf.encode_varint(2**30)), "longer than its message"),
    "more postings than there are": (lying(HEADER, b"\x0a\x011\x10\x05\x22\x02\x10\x01"), "df of term '1' is 5, there are 1"),
    "a document beyond the last": (lying(HEADER, b"\x0a\x011\x10\x01\x22\x04\x08\x05\x10\x01", b"\x12\x01a"), "document 5, there are 1"),
    "a document twice": (lying(HEADER, b"\x0a\x011\x10\x02" + b"\x22\x02\x10\x01" * 2, b"\x12\x01a"), "do not ascend"),
    "an impact of 0": (lying(HEADER, b"\x0a\x011\x10\x01\x22\x00", b"\x12\x01a"), "impact outside"),
    "an impact too large": (lying(HEADER, b"\x0a\x011\x10\x01\x22\x06\x10" + protobuf.encode_varint(2**32)), "outside 0"),
    "a document number too large": (
        lying(HEADER, b"\x0a\x011\x10\x02" + b"\x22\x08\x08\xff\xff\xff\xff\x07\x10\x01" * 2),
        "above 2147483647",
    ),
    "a number twice": (lying(b"\x08\x01\x18\x02", b"\x12\x01a", b"\x12\x01b"), "document number 0 is a duplicate"),
    "a number not below the count": (lying(b"\x08\x01\x18\x01", b"\x08\x01\x12\x01a"), "document number 1 is not below 1"),
    "a term that is not text": (lying(HEADER, b"\x0a\x01\xff"), "utf-8"),
    "a group": (lying(HEADER, b"\x0b"), "unknown kind 3"),
    "a field 0": (lying(HEADER, b"\x00\x01"), "no field 0"),
    "no id": (lying(b"\x08\x01\x18\x01", b"", b"\x12\x01a"), "collection_docid is empty"),
}


def packed(path: Path, *parts: bytes | int) -> Path:
    """A .gz file of bytes, and of so many zeros."""
    with gzip.open(path, "wb") as file:
        for part in parts:
            for _ in range(part // 2**20 if isinstance(part, int) else 1):
                file.write(bytes(2**20) if isinstance(part, int) else part)
    return path


@pytest.mark.parametrize("documents", [1, 1000])
def test_no_more_is_unpacked_than_the_header_can_mean(documents: int, tmp_path: Path) -> None:
    header = lying(b"\x08\x01\x10\x01\x18" + protobuf.encode_varint(documents))
    path = packed(tmp_path / "bomb.ciff.gz", header, protobuf.encode_varint(2**27), 2**27)
    tracemalloc.start()
    try:
        with pytest.raises(InputFileError, match="has 134,217,728 bytes, at most"):
            list(read_ciff(path, VectorEncoding()))
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("documents", [20_000, 2**20, 2**31 - 1])
def test_a_packed_file_holds_no_more_documents_than_it_has_bits(documents: int, tmp_path: Path) -> None:
    header = lying(b"\x08\x01\x10\x01\x18" + protobuf.encode_varint(documents))
    path = packed(tmp_path / "bomb.ciff.gz", header, protobuf.encode_varint(2**20), 2**20)
    assert 8 * path.stat().st_size < 20_000
    with pytest.raises(InputFileError, match=f"{documents:,} documents do not fit into this file"):
        list(read_ciff(path, VectorEncoding()))


@given(st.integers(0, 300), st.integers(0, 3))
def test_what_fits_is_read_however_well_it_packs(documents: int, terms: int) -> None:
    """Short ids, one after the other, each with the same postings: as like one another as documents can be."""
    vector = SparseVector(list(range(terms)), [1.0] * terms)
    records = [EncodedRecord(str(number), vector) for number in range(documents)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.ciff.gz"
        write_ciff(path, records, VectorEncoding())
        assert [(record.doc_id, len(record.vector)) for record in read_ciff(path, VectorEncoding())] == [(r.doc_id, terms) for r in records]


def test_a_long_posting_list_takes_memory_for_its_numbers_alone() -> None:
    count = 400_000
    message = ciff._postings_list("1", Group(1, np.arange(count, dtype=np.uint32), np.full(count, 7, np.uint32)))
    tracemalloc.start()
    try:
        read = ciff._parse_postings_list(memoryview(message))
        assert tracemalloc.get_traced_memory()[1] < 8 * len(message) + 64 * ciff.BLOCK
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(read.documents, np.arange(count))
    assert set(read.impacts.tolist()) == {7}


@given(st.sets(st.integers(0, 2**31 - 1), min_size=1, max_size=40), st.integers(1, 2**31 - 1), st.integers(14, 60))
def test_a_posting_list_is_the_same_in_blocks_of_any_size(documents: set[int], impact: int, block: int) -> None:
    numbers, impacts = np.array(sorted(documents), np.uint32), np.full(len(documents), impact, np.uint32)
    message = ciff._postings_list("1", Group(1, numbers, impacts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ciff, "BLOCK", block)
        patch.setattr(ciff, "_unusual", None)
        read = ciff._parse_postings_list(memoryview(message))
    np.testing.assert_array_equal(read.documents, numbers)
    np.testing.assert_array_equal(read.impacts, impacts)


@pytest.mark.parametrize("lie", LIES)
def test_what_lies_is_refused_before_memory_is_taken(lie: str) -> None:
    data, message = LIES[lie]
    tracemalloc.start()
    try:
        with pytest.raises(InputFileError, match=message) as error:
            read_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)
