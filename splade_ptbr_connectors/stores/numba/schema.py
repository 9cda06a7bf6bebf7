"""What a store's database holds, and every statement that reads or writes it.

A document is a row with a number of its own: a replaced one gets a new number, so that what a number stands for never changes. One of
several passages has a number for each, one behind the other, and a row for each in `passages`, a table that is made when it is needed.
Every write transaction is a revision. `deleted` says at which revision a number ended, as long as an index segment still holds it; a
segment holds all documents that lived at its revision with numbers first < number <= last.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...batches import batched
from ...errors import StoreCorruptError
from ...vectors import SparseBatch, SparseVector
from ..base import Entry
from .keys import Hashes, key_hashes
from .rows import (
    OF_TENANT,
    OWNED,
    PASSAGE,
    WHOLE,
    Connection,
    Numbers,
    as_json,
    batch_of,
    check_passage,
    check_row,
    complete,
    entry_of,
    indexed,
    indexed_tail,
    numbers_of,
    parsed,
    passage_rows,
    row_of,
    spans_of,
    with_passages,
)

APPLICATION_ID = 0x53504C42  # "SPLB"
FORMAT_VERSION, WITH_PASSAGES = 1, 2  # of a database without and with passages
SCHEMA = """
CREATE TABLE state (
    description TEXT NOT NULL, store_id TEXT NOT NULL, revision INTEGER NOT NULL, documents INTEGER NOT NULL,
    following INTEGER NOT NULL, indexed INTEGER NOT NULL
);
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, tenant TEXT NOT NULL, doc_id TEXT NOT NULL, content_hash TEXT, payload BLOB NOT NULL,
    terms BLOB NOT NULL, weights BLOB NOT NULL, checksum INTEGER NOT NULL
);
CREATE INDEX of_tenants ON documents (tenant) WHERE tenant != '';
CREATE TABLE deleted (revision INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (revision, number)) WITHOUT ROWID;
CREATE TABLE segments (
    name TEXT PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, revision INTEGER NOT NULL, checksum INTEGER NOT NULL
);
"""
PASSAGES = """
CREATE TABLE IF NOT EXISTS passages (
    number INTEGER PRIMARY KEY, document INTEGER NOT NULL, spans BLOB NOT NULL, terms BLOB NOT NULL, weights BLOB NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS of_documents ON passages (document);
"""  # a document's first row has the spans of all passages (pairs of int32), and no vector: that one is in the document's own row
NO_TENANT = ""  # no tenant has this name
PAGE = 4096  # documents that are in Python's hands at once
Places = NDArray[np.int32]


class State(NamedTuple):
    """Where the database stands: its last revision, how many numbers live, the next number, the last one in a segment."""

    revision: int
    documents: int
    following: int
    indexed: int


class Registered(NamedTuple):
    """A segment as the database knows it; `checksum` is that of its file."""

    name: str
    first: int
    last: int
    revision: int
    checksum: int


class Documents(NamedTuple):
    """Documents as an index needs them: their numbers, ascending, ids, hashes (keys.py), vectors, and places.

    Each passage has a row; its place is its number within its document, and its number less its place the number of the document.
    """

    numbers: Numbers
    ids: tuple[str, ...]
    hashes: Hashes
    vectors: SparseBatch
    places: Places


class Change(NamedTuple):
    """What a transaction did: its revision, the numbers that ended, and the documents that began."""

    revision: int
    ended: Numbers
    begun: Documents


NOTHING = Documents(np.empty(0, np.int64), (), np.empty(0, np.uint64), SparseBatch.from_vectors([]), np.empty(0, np.int32))


# -- reading ---------------------------------------------------------------------------------------------------------------


def read_state(connection: Connection) -> State:
    """Where the database stands."""
    return State(*connection.execute("SELECT revision, documents, following, indexed FROM state").get)


def holds_passages(connection: Connection) -> bool:
    """Whether there may be documents of several passages."""
    version: int = connection.execute("PRAGMA user_version").get
    return version == WITH_PASSAGES


def description(connection: Connection) -> dict[str, Any]:
    """What the store says about itself, see stores/description.py."""
    found: dict[str, Any] = json.loads(connection.execute("SELECT description FROM state").get)
    return found


def segments(connection: Connection) -> list[Registered]:
    """The segments in order of their documents."""
    return [Registered(*row) for row in connection.execute("SELECT name, first, last, revision, checksum FROM segments ORDER BY first")]


def deleted_since(connection: Connection, revision: int) -> Numbers:
    """The numbers that ended after a revision, ascending."""
    return np.sort(numbers_of(connection.execute("SELECT number FROM deleted WHERE revision > ?", (revision,))))


def documents_between(connection: Connection, after: int, last: int) -> Documents:
    """The documents after < number <= last. Raises StoreCorruptError."""
    where, between = "number > ? AND number <= ? ORDER BY number", (after, last)
    rows = [indexed(row) for row in connection.execute(f"SELECT {WHOLE} FROM documents WHERE {where}", between)]
    if holds_passages(connection):
        tails = connection.execute(f"SELECT {PASSAGE}, tenant, doc_id FROM {OWNED} WHERE place > 0 AND {where}", between)
        rows = sorted([*rows, *map(indexed_tail, tails)], key=operator.itemgetter(0))
    numbers, keys, terms, weights, places = zip(*rows, strict=True) if rows else ((),) * 5
    ids = tuple([doc_id for _, doc_id in keys])
    hashes = key_hashes([tail_key(tenant, doc_id, place) for (tenant, doc_id), place in zip(keys, places, strict=True)])
    return Documents(np.array(numbers, np.int64), ids, hashes, batch_of(terms, weights), np.array(places, np.int32))


def tail_key(tenant: str, doc_id: str, place: int) -> tuple[str, str]:
    """What finds a passage; from the second on none that a document can have, since ids hold no NUL."""
    return (tenant, f"{doc_id}\0{place}") if place else (tenant, doc_id)


def find(
    connection: Connection, tenant: str | None, doc_ids: Sequence[str], candidates: Sequence[int]
) -> dict[str, tuple[int, str | None]]:
    """(number, content hash) of those of these documents that are stored, which are among the candidates. Raises StoreCorruptError."""
    if not candidates:
        return {}
    statement = "SELECT number, tenant, doc_id, content_hash FROM documents WHERE number IN (SELECT value FROM json_each(?))"
    rows = complete(list(connection.execute(statement, (as_json(candidates),))), candidates)
    wanted = set(doc_ids)
    return {row[2]: (row[0], row[3]) for row in rows if row[1] == (tenant or NO_TENANT) and row[2] in wanted}


def entries(connection: Connection, numbers: Iterable[int]) -> list[Entry]:
    """The documents of these numbers, whole. Raises StoreCorruptError."""
    wanted = list(numbers)
    rows = connection.execute(f"SELECT {WHOLE} FROM documents WHERE number IN (SELECT value FROM json_each(?))", (as_json(wanted),))
    return _whole(connection, complete([(row[0], entry_of(row)) for row in rows], wanted))


def _whole(connection: Connection, numbered: list[tuple[int, Entry]]) -> list[Entry]:
    return with_passages(connection, numbered) if holds_passages(connection) else [entry for _, entry in numbered]


def spans(connection: Connection, numbers: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
    """Start and end of the passages of those of these documents that have several."""
    found = dict[int, list[tuple[int, int]]]()
    if holds_passages(connection):
        statement = "SELECT number, spans FROM passages WHERE number IN (SELECT value FROM json_each(?))"
        found = {number: spans_of(blob) for number, blob in connection.execute(statement, (as_json(numbers),))}
    return found


def payloads(connection: Connection, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The payload of each number. Raises StoreCorruptError."""
    rows = list(
        connection.execute("SELECT number, payload FROM documents WHERE number IN (SELECT value FROM json_each(?))", (as_json(numbers),))
    )
    return dict(zip((row[0] for row in complete(rows, numbers)), parsed([row[1] for row in rows]), strict=True))


def page(
    connection: Connection, tenant: str | None, after: int, last: int, size: int, with_vectors: bool
) -> tuple[list[Entry], int | None]:
    """Up to `size` documents after < number <= last, and the number of the last of them, None where it was the last of all."""
    rows = list(
        connection.execute(
            f"SELECT {WHOLE if with_vectors else 'number, doc_id, content_hash'} FROM documents WHERE number > ? AND number <= ? "
            f"{'' if tenant is None else OF_TENANT} ORDER BY number LIMIT ?",
            (after, last, *([] if tenant is None else [tenant]), size),
        )
    )
    if with_vectors:
        whole = _whole(connection, [(row[0], entry_of(row)) for row in rows])
    else:
        whole = [Entry(row[1], SparseVector([], []), {}, row[2]) for row in rows]
    return whole, rows[-1][0] if len(rows) == size else None


def numbers_where(connection: Connection, tenant: str | None, test: Any, after: int) -> Numbers:
    """Numbers beyond `after`, ascending, of the documents of a tenant (None: of all) whose payload passes the test (None: any).

    Those of all their passages; `after` is behind the last passage of a document.
    """
    return with_tails(connection, _heads_where(connection, tenant, test, after), after)


def with_tails(connection: Connection, heads: Numbers, after: int = 0) -> Numbers:
    """The numbers of these documents (ascending, beyond `after`) and of their further passages, ascending."""
    if not len(heads) or not holds_passages(connection):
        return heads
    rows = connection.execute("SELECT number, document FROM passages WHERE number > ? AND number != document", (after,))
    tails = np.array(list(rows), np.int64).reshape(-1, 2)
    return np.sort(np.concatenate([heads, tails[np.isin(tails[:, 1], heads), 0]]))


def _heads_where(connection: Connection, tenant: str | None, test: Any, after: int) -> Numbers:
    where, arguments = ("", ()) if tenant is None else (OF_TENANT, (tenant,))
    statement = f"FROM documents WHERE number > ? {where} ORDER BY number"
    if test is None:
        return numbers_of(connection.execute(f"SELECT number {statement}", (after, *arguments)))
    passing = list[int]()
    cursor = connection.execute(f"SELECT number, payload {statement}", (after, *arguments))
    for rows in batched(cursor, PAGE):
        passing += [row[0] for row, payload in zip(rows, parsed([row[1] for row in rows]), strict=True) if test(payload)]
    return np.array(passing, np.int64)


def verify(connection: Connection, where: str) -> None:
    """Read everything. Raises StoreCorruptError for what is damaged, with `where` in its message; apsw's errors for pages that are."""
    problems = [row[0] for row in connection.execute("PRAGMA integrity_check(1)") if row[0] != "ok"]
    if problems:
        said = " ".join(problems[0].split())
        raise StoreCorruptError(f"{where} is damaged ({said}): restore it from a backup, or ingest into a new folder.")
    twice = connection.execute("SELECT doc_id FROM documents GROUP BY tenant, doc_id HAVING count(*) > 1 LIMIT 1").get
    if twice is not None:
        raise StoreCorruptError(f"{where} holds {twice!r} more than once: restore it from a backup, or ingest into a new folder.")
    stored = 0
    for row in connection.execute(f"SELECT {WHOLE} FROM documents"):
        check_row(row)
        stored += 1
    for row in connection.execute(f"SELECT {PASSAGE}, tenant, doc_id FROM {OWNED}") if holds_passages(connection) else ():
        check_passage(row)
        stored += row[0] != row[1]
    if stored != read_state(connection).documents:
        raise StoreCorruptError(
            f"{where} holds {stored:,} of {read_state(connection).documents:,} documents: restore it from a backup, or ingest anew."
        )


# -- writing ---------------------------------------------------------------------------------------------------------------


def replace(connection: Connection, tenant: str | None, written: Sequence[Entry], hashes: Hashes, ended: Sequence[int]) -> Change:
    """Insert these documents, each with an id of its own, in place of those with the same ids, whose numbers are `ended`."""
    first = read_state(connection).following
    deleted = _end(connection, ended)
    counts = [len(entry.vectors) for entry in written]
    numbers = (first + np.cumsum([0, *counts[:-1]])).tolist() if counts else []
    connection.executemany(
        "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [row_of(number, tenant or NO_TENANT, entry) for number, entry in zip(numbers, written, strict=True)],
    )
    total = sum(counts)
    if total > len(written):
        _insert_passages(connection, zip(numbers, written, strict=True))
    revision = _advance(connection, total - len(deleted), total)
    return Change(revision, np.array(deleted, np.int64), _begun(first, tenant or NO_TENANT, written, hashes))


def delete(connection: Connection, numbers: Sequence[int]) -> Change:
    """Delete the documents of these numbers, all of which are stored."""
    deleted = _end(connection, numbers)
    return Change(_advance(connection, -len(deleted), 0), np.array(deleted, np.int64), NOTHING)


def _begun(first: int, tenant: str, written: Sequence[Entry], hashes: Hashes) -> Documents:
    """As the index takes them; `hashes` are those of the documents."""
    vectors = SparseBatch.from_vectors([vector for entry in written for vector in entry.vectors])
    numbers, places = np.arange(first, first + len(vectors), dtype=np.int64), np.zeros(len(vectors), np.int32)
    ids = [entry.doc_id for entry in written]
    if len(vectors) > len(written):
        rows = [(entry.doc_id, place) for entry in written for place in range(len(entry.vectors))]
        places[:] = [place for _, place in rows]
        ids = [doc_id for doc_id, _ in rows]
        hashes = key_hashes([tail_key(tenant, *row) for row in rows])
    return Documents(numbers, tuple(ids), hashes, vectors, places)


def _insert_passages(connection: Connection, numbered: Iterable[tuple[int, Entry]]) -> None:
    connection.execute(f"{PASSAGES}; PRAGMA user_version = {WITH_PASSAGES}")
    rows = [row for number, entry in numbered for row in passage_rows(number, entry)]
    connection.executemany("INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?)", rows)


def replace_segments(connection: Connection, replaced: Sequence[Registered], new: Sequence[Registered], last: int, revision: int) -> None:
    """Exchange segments for ones that were built at `revision` and hold what these hold, or what follows them up to `last`."""
    connection.executemany("DELETE FROM segments WHERE name = ?", [(segment.name,) for segment in replaced])
    connection.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, ?)", new)
    first = min([segment.first for segment in replaced], default=read_state(connection).indexed)
    connection.execute("DELETE FROM deleted WHERE revision <= ? AND number > ? AND number <= ?", (revision, first, last))
    connection.execute("UPDATE state SET indexed = max(indexed, ?)", (last,))
    _advance(connection, 0, 0)


def _end(connection: Connection, documents: Sequence[int]) -> list[int]:
    """Delete documents; returns the numbers that ended, those of further passages too."""
    if not documents:
        return []
    revision, deleted = read_state(connection).revision + 1, list(documents)
    connection.execute("DELETE FROM documents WHERE number IN (SELECT value FROM json_each(?))", (as_json(documents),))
    complete(list(range(connection.changes())), documents)
    if holds_passages(connection):
        of_these = "DELETE FROM passages WHERE document IN (SELECT value FROM json_each(?)) RETURNING number, document"
        deleted += [number for number, document in connection.execute(of_these, (as_json(documents),)).fetchall() if number != document]
    connection.executemany("INSERT INTO deleted VALUES (?, ?)", [(revision, number) for number in deleted])
    return deleted


def _advance(connection: Connection, documents: int, numbers: int) -> int:
    statement = "UPDATE state SET revision = revision + 1, documents = documents + ?, following = following + ? RETURNING revision"
    revision: int = connection.execute(statement, (documents, numbers)).get
    return revision
