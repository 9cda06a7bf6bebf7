"""PISA's uncompressed index: NAME.docs, NAME.freqs and NAME.sizes, with NAME.terms and NAME.documents for the names.

https://github.com/pisa-engine/pisa, docs on the inverted index format. All numbers are little-endian and have 32 bits; a sequence
stands behind its length. NAME.docs: a sequence of one number, how many documents there are, then the documents of each term;
NAME.freqs: their impacts; NAME.sizes: one sequence, the sum of the impacts of each document. Names are lines, in the same order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputFileError
from ..records import EncodedRecord
from .files import ByteReader, one_line, read_names, writing
from .index import U32, IndexReader, IndexWriter
from .vector_encoding import VectorEncoding, WriteCounts

DOCS = ".docs"
SUFFIXES = (DOCS, ".freqs", ".sizes", ".terms", ".documents")


def pisa_files(path: Path) -> list[Path]:
    """The five files of an index; `path` is NAME.docs. Raises InputFileError for another name."""
    if path.suffix != DOCS:
        raise InputFileError(f"{path}: a PISA index is named by its file that ends in {DOCS}, the others lie beside it.")
    return [path.with_suffix(suffix) for suffix in SUFFIXES]


def write_pisa(path: Path, records: Iterable[EncodedRecord], encoding: VectorEncoding) -> WriteCounts:
    """Write an index of all documents. Memory: as IndexWriter.

    Raises:
        InputFileError, RecordError, VectorError: a file cannot be written, an id is a duplicate or not a single line, a term has no name.
    """
    paths = pisa_files(path)
    with IndexWriter(path, encoding) as index, ExitStack() as stack:
        index.add(records)
        docs, freqs, sizes, terms, documents = (stack.enter_context(writing(file)) for file in paths)
        _write_sequence(docs, np.array([len(index.ids)]))
        for name, group in encoding.progress(index.postings()[1], "posting lists"):
            _write_sequence(docs, group.others)
            _write_sequence(freqs, group.impacts)
            terms.write(one_line(name, "term"))
        _write_sequence(sizes, np.array(index.lengths))
        for doc_id in index.ids:
            documents.write(one_line(doc_id, "document id"))
    return index.counts


def read_pisa(path: Path, encoding: VectorEncoding) -> Iterator[EncodedRecord]:
    """The documents of an index, in their order. Memory: as IndexReader.

    Raises:
        InputFileError: naming file and byte: a file is missing, cut off, or does not fit the others.
    """
    docs_path, freqs_path, sizes_path, terms_path, documents_path = pisa_files(path)
    with ByteReader(docs_path) as docs, ByteReader(freqs_path) as freqs, IndexReader(path, encoding) as index:
        total = _read_sequence(docs, "the number of documents", 1)
        if len(total) != 1:
            docs.fail("the first sequence has no number, it must be one, the number of documents: not PISA?")
        documents_there = int(total[0])
        with ByteReader(documents_path) as names:
            names.check_room(documents_there, 2, f"the names of {documents_there:,} documents", distinct=True)
        for name in encoding.progress(read_names(terms_path), "posting lists"):
            where = f"{docs_path}, byte {docs.position:,}"
            documents, impacts = (_read_sequence(reader, f"term {name!r:.60}", documents_there) for reader in (docs, freqs))
            if len(documents) != len(impacts):
                freqs.fail(f"term {name!r:.60} has {len(impacts):,} frequencies for {len(documents):,} documents")
            index.add(where, name, documents, impacts)
        for reader in (docs, freqs):
            if not reader.at_end():
                reader.fail(f"there is more behind the last term of {terms_path.name}")
        ids = list(read_names(documents_path))
        if len(ids) != documents_there:
            raise InputFileError(f"{documents_path} has {len(ids):,} ids for {documents_there:,} documents of {docs_path.name}.")
        _check_sizes(sizes_path, len(ids))
        yield from index.documents(ids)


def _check_sizes(path: Path, documents: int) -> None:
    with ByteReader(path) as reader:
        sizes = _read_sequence(reader, "the sizes of the documents", documents)
        if len(sizes) != documents or not reader.at_end():
            reader.fail(f"{len(sizes):,} sizes, or more behind them, for {documents:,} documents")


def _write_sequence(file: BinaryIO, numbers: NDArray[np.integer]) -> None:
    file.write(struct.pack("<I", len(numbers)) + numbers.astype("<u4").tobytes())


def _read_sequence(reader: ByteReader, what: str, most: int) -> U32:
    (length,) = struct.unpack("<I", reader.take(4, what))
    if length > most:
        reader.fail(f"{what}: {length:,} numbers, at most {most:,} are possible: damaged, or not PISA")
    return np.frombuffer(reader.take(4 * length, what), "<u4").astype(np.uint32)
