"""Seismic (pyseismic-lsr): JSONL with weights as they are, and the binary "inner format" of its raw indexes.

Bruch, Nardini, Rulli, Venturini, "Efficient Inverted Indexes for Approximate Retrieval over Learned Sparse Representations"
(SIGIR 2024, arXiv 2404.18812). https://github.com/TusKANNy/seismic, docs/PythonUsage.md and
scripts/convert_json_to_inner_format.py.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..errors import InputFileError
from ..records import EncodedRecord
from ..vectors import SparseVector
from .files import GZ, ByteReader, json_objects, located, one_line, read_names, record_of, vector_field, writing
from .vector_encoding import VectorEncoding, WriteCounts, counted, shortest, text_of

MAX_VECTORS = 2**32 - 1


def read_jsonl(path: Path, encoding: VectorEncoding) -> Iterator[EncodedRecord]:
    """{"id": string or integer, "content", "vector": {token: weight}} lines; .gz is unpacked."""
    for where, raw in json_objects(path):
        with located(where):
            vector = vector_field(raw)
            yield record_of(raw, SparseVector(encoding.terms.ids(vector), list(vector.values())), "content")


def write_jsonl(path: Path, records: Iterable[EncodedRecord], encoding: VectorEncoding) -> WriteCounts:
    """Write what SeismicIndex.build() reads; .gz by name (Seismic itself unpacks only .tar.gz)."""
    counts = WriteCounts()
    with writing(path) as file:
        for record in counted(records, counts):
            with located(f"document {record.doc_id!r}"):
                names = encoding.terms.names(record.vector.term_ids)
            vector = dict(zip(names, shortest(record.vector), strict=True))
            line = {"id": record.doc_id, "content": text_of(record), "vector": vector}
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    return counts


# -- binary: number of vectors, then of each its length, term ids, weights; all little-endian, 32 bits -----------------


def ids_path(path: Path) -> Path:
    """The path of the file of document ids, one a line: the format itself knows documents by their position alone."""
    return path.with_name(path.name + ".ids")


def bin_files(path: Path) -> list[Path]:
    """The file of the vectors, and that of their ids where there is one."""
    return [path, ids_path(path)] if ids_path(path).exists() else [path]


def read_bin(path: Path, encoding: VectorEncoding) -> Iterator[EncodedRecord]:
    """Vectors with the ids from PATH.ids, or their positions from "0" where there is no such file."""
    with ByteReader(path) as reader:
        (total,) = struct.unpack("<I", reader.take(4, "the number of vectors"))
        reader.check_room(total, 4, f"{total:,} vectors", distinct=False)
        ids = _ids(path, total)
        for position in range(total):
            what = f"vector {position:,} of {total:,}"
            where = f"{path}, byte {reader.position:,}"
            (length,) = struct.unpack("<I", reader.take(4, what))
            data = np.frombuffer(reader.take(8 * length, what), "<u4")
            with located(f"{where}, {what}"):
                vector = SparseVector(data[:length].astype(np.uint32), data[length:].view("<f4").astype(np.float32))
                yield EncodedRecord.from_mapping({"_id": next(ids), "vector": vector})
        if next(ids, None) is not None:
            raise InputFileError(f"{ids_path(path)} has more ids than the {total:,} vectors of {path.name}: they are of two conversions.")
        if not reader.at_end():
            reader.fail(f"there is more behind the last of {total:,} vectors")


def _ids(path: Path, total: int) -> Iterator[str]:
    if not ids_path(path).exists():
        yield from map(str, range(total))
        return
    number = 0
    for doc_id in read_names(ids_path(path)):
        number += 1
        yield doc_id
    if number < total:
        raise InputFileError(f"{ids_path(path)} has {number:,} ids for {total:,} vectors: they are of two conversions.")


def write_bin(path: Path, records: Iterable[EncodedRecord], encoding: VectorEncoding) -> WriteCounts:
    """Term ids and float32 weights, the ids of the documents beside them. Seismic's own classes take term ids below 2**16, or 2**32 (LV).

    Raises:
        InputFileError: the name ends in .gz, or the files cannot be written.
        RecordError: an id that is not a single line.
    """
    if path.suffix == GZ:
        raise InputFileError(f"{path}: the number of vectors stands first and is known last: write it without .gz.")
    counts = WriteCounts()
    with writing(path) as file, writing(ids_path(path)) as ids:
        file.write(bytes(4))
        for record in counted(records, counts):
            ids.write(one_line(record.doc_id, "document id"))
            term_ids, weights = record.vector.term_ids.astype("<u4"), record.vector.weights.astype("<f4")
            file.write(struct.pack("<I", len(term_ids)) + term_ids.tobytes() + weights.tobytes())
        if counts.documents > MAX_VECTORS:
            raise InputFileError(f"{path}: {counts.documents:,} vectors, the format holds {MAX_VECTORS:,}: split the collection.")
        file.seek(0)
        file.write(struct.pack("<I", counts.documents))
    return counts
