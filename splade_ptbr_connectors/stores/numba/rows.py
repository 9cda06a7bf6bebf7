"""Rows of a store's database: documents and passages as they are written and read, each with a checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreCorruptError
from ...vectors import SparseBatch, SparseVector
from ..base import Entry, EntryPassage

Numbers = NDArray[np.int64]
Connection = Any

OF_TENANT = "AND tenant = ? AND tenant != ''"  # the second half is for SQLite, which takes the index then
WHOLE = "number, tenant, doc_id, content_hash, payload, terms, weights, checksum"
PASSAGE = "number, document, spans, terms, weights, checksum"
OWNED = (
    "(SELECT p.number, p.document, p.number - p.document AS place, p.spans, p.terms, p.weights, p.checksum, d.tenant, d.doc_id "
    "FROM passages AS p JOIN documents AS d ON d.number = p.document)"
)


def indexed(row: Sequence[Any]) -> tuple[int, tuple[str, str], bytes, bytes, int]:
    """Number, tenant and id, terms, weights and place of a document's row."""
    check_row(row)
    return row[0], (row[1], row[2]), row[5], row[6], 0


def indexed_tail(row: Sequence[Any]) -> tuple[int, tuple[str, str], bytes, bytes, int]:
    """The same of a passage's row."""
    check_passage(row)
    return row[0], (row[6], row[7]), row[3], row[4], row[0] - row[1]


def with_passages(connection: Connection, numbered: list[tuple[int, Entry]]) -> list[Entry]:
    """The entries, those of several passages with these."""
    spans, vectors = dict[int, list[tuple[int, int]]](), {number: [entry.vector] for number, entry in numbered}
    statement = f"SELECT {PASSAGE}, doc_id FROM {OWNED} WHERE document IN (SELECT value FROM json_each(?)) ORDER BY number"
    for row in connection.execute(statement, (as_json(list(vectors)),)):
        check_passage(row)
        if row[0] == row[1]:
            spans[row[1]] = spans_of(row[2])
        else:
            vectors[row[1]].append(batch_of([row[3]], [row[4]])[0])
    return [entry._replace(passages=_passages(spans.get(number, []), vectors[number])) for number, entry in numbered]


def _passages(spans: Sequence[tuple[int, int]], vectors: Sequence[SparseVector]) -> tuple[EntryPassage, ...]:
    if spans and len(spans) != len(vectors):
        raise StoreCorruptError(f"{len(vectors)} of {len(spans)} passages of a document are there: restore the store, or ingest anew.")
    return tuple([EntryPassage(n, *span, vector) for n, (span, vector) in enumerate(zip(spans, vectors, strict=False))])


def spans_of(blob: bytes) -> list[tuple[int, int]]:
    return list(map(tuple, np.frombuffer(blob, "<i4").reshape(-1, 2).tolist()))


def passage_rows(document: int, entry: Entry) -> Iterator[tuple[Any, ...]]:
    spans = np.array(entry.spans, "<i4").tobytes()
    for passage in entry.passages:
        terms, weights = passage.vector.term_ids.tobytes(), passage.vector.weights.tobytes()
        held = (b"", terms, weights) if passage.number else (spans, b"", b"")
        row = (document + passage.number, document, *held)
        yield (*row, _passage_checksum(row))


def _passage_checksum(row: Sequence[Any]) -> int:
    number, document, spans, terms, weights = row[:5]
    return zlib.crc32(f"{number}\0{document}\0{len(spans)}\0{len(terms)}\0".encode() + spans + terms + weights)


def check_passage(row: Sequence[Any]) -> None:
    if _passage_checksum(row) != row[5]:
        raise StoreCorruptError(
            f"a passage of document {row[-1]!r} is damaged: its checksum differs; restore the store from a backup, or ingest anew."
        )


def row_of(number: int, tenant: str, entry: Entry) -> tuple[Any, ...]:
    vector = entry.vector
    row = (
        number,
        tenant,
        entry.doc_id,
        entry.content_hash,
        _encode(entry.payload).encode(),
        vector.term_ids.tobytes(),
        vector.weights.tobytes(),
    )
    return (*row, _checksum(row))


def entry_of(row: tuple[Any, ...]) -> Entry:
    check_row(row)
    return Entry(row[2], batch_of([row[5]], [row[6]])[0], parsed([row[4]])[0], row[3])


def _checksum(row: Sequence[Any]) -> int:
    number, tenant, doc_id, content_hash, payload, terms, weights = row[:7]
    head = f"{number}\0{tenant}\0{doc_id}\0{content_hash}\0{len(payload)}\0{len(terms)}\0".encode()
    return zlib.crc32(b"".join((head, payload, terms, weights)))


def check_row(row: Sequence[Any]) -> None:
    if _checksum(row) != row[7]:
        raise StoreCorruptError(f"document {row[2]!r} is damaged: its checksum differs; restore the store from a backup, or ingest anew.")


def complete(rows: list[Any], numbers: Sequence[int]) -> list[Any]:
    if len(rows) != len(numbers):
        raise StoreCorruptError(
            f"{len(numbers) - len(rows)} of {len(numbers)} documents that the index holds are not in the database: "
            "restore the store from a backup, or ingest anew."
        )
    return rows


def batch_of(terms: Sequence[bytes], weights: Sequence[bytes]) -> SparseBatch:
    indptr = np.zeros(len(terms) + 1, np.int64)
    np.cumsum([len(one) // 4 for one in terms], out=indptr[1:])
    return SparseBatch(indptr, np.frombuffer(b"".join(terms), "<u4"), np.frombuffer(b"".join(weights), "<f4"))


def parsed(texts: Sequence[bytes]) -> list[dict[str, Any]]:
    """JSON values, parsed as one list: a call for each takes longer than the search that found them."""
    try:
        values: list[dict[str, Any]] = json.loads(b"[" + b",".join(texts) + b"]")
    except ValueError as error:
        raise StoreCorruptError(f"a payload is damaged ({error}): restore the store from a backup, or ingest anew.") from error
    if len(values) != len(texts):
        raise StoreCorruptError(f"one of {len(texts)} payloads is damaged: restore the store from a backup, or ingest anew.")
    return values


def _plain(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def as_json(values: Sequence[Any]) -> str:
    return json.dumps(list(values), ensure_ascii=False)


def numbers_of(rows: Iterable[tuple[int]]) -> Numbers:
    return np.fromiter((row[0] for row in rows), np.int64)
