"""Inverted indexes: what CIFF and PISA are written from, and read into.

Posting lists come out of documents, and documents out of posting lists, by an external sort of postings in bounded memory: they
arrive in the order of one side (a document's terms, a term's documents) and are wanted in the order of the other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputFileError, RecordError, VectorError
from ..records import EncodedRecord
from .files import located
from .vector_encoding import MAX_IMPACT, VectorEncoding, WriteCounts

RUN = 2**24
BLOCK = 8192  # keys looked up at once
NO_POSTINGS = (np.empty(0, np.uint32), np.empty(0, np.uint32))

U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]


class IndexWriter:
    """Documents in, posting lists out, terms in the order of their names' bytes (as Lucene and PISA keep them).

    Memory: one run of the sorter (see PostingSorter) and the ids of all documents.

    Attributes:
        ids: of the documents, by their number.
        lengths: of each document, the sum of its impacts.
    """

    def __init__(self, target: Path, encoding: VectorEncoding) -> None:
        self.ids: list[str] = []
        self.lengths: list[int] = []
        self.counts = WriteCounts()
        self._encoding = encoding
        self._stack = ExitStack()
        self._sorter = self._stack.enter_context(PostingSorter(target.resolve().parent))

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, records: Iterable[EncodedRecord]) -> None:
        """Take in all documents.

        Raises:
            RecordError: a duplicate id.
            VectorError: a document longer than 2**31 - 1.
        """
        known: set[str] = set()
        for record, term_ids, impacts in self._encoding.quantised(records, self.counts):
            if record.doc_id in known:
                raise RecordError(f"duplicate id {record.doc_id!r}: an index holds each id once.")
            known.add(record.doc_id)
            length = int(impacts.sum(dtype=np.int64))
            if length > MAX_IMPACT:
                raise VectorError(f"document {record.doc_id!r}: its impacts add up to {length}, above {MAX_IMPACT}: quantise less finely.")
            self._sorter.add(term_ids, np.full(len(term_ids), len(self.ids), np.uint32), impacts)
            self.ids.append(record.doc_id)
            self.lengths.append(length)

    def postings(self) -> tuple[int, Iterator[tuple[str, Group]]]:
        """(number of terms, (name, posting list) of each)."""
        keys = self._sorter.keys()
        names = self._encoding.terms.names(keys)
        order = sorted(range(len(names)), key=names.__getitem__)  # by code point, which is the order of UTF-8 bytes too
        groups = self._sorter.groups(keys[order])
        return len(keys), ((names[position], group) for position, group in zip(order, groups, strict=True))


class IndexReader:
    """Posting lists in, documents out. Memory: one run of the sorter, the terms and the ids of all documents."""

    def __init__(self, source: Path, encoding: VectorEncoding) -> None:
        self._source = source
        self._encoding = encoding
        self._stack = ExitStack()
        self._sorter = self._stack.enter_context(PostingSorter())
        self._documents = 0
        self._known: set[int] = set()

    def __enter__(self) -> IndexReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, where: str, name: str, documents: U32, impacts: U32) -> None:
        """Take in one posting list, documents ascending. Raises InputFileError for anything else."""
        with located(where):
            (term_id,) = self._encoding.terms.ids([name])
            if term_id in self._known:
                raise VectorError(f"term {name[:60]!r} has two posting lists: the file is damaged, or not of this format.")
            self._known.add(term_id)
            if len(documents) > 1 and not (documents[1:] > documents[:-1]).all():
                raise VectorError(f"the documents of term {name[:60]!r} do not ascend: the file is damaged, or not of this format.")
            if len(impacts) and not 0 < int(impacts.min()) <= int(impacts.max()) <= MAX_IMPACT:
                raise VectorError(f"term {name[:60]!r} has an impact outside 1..{MAX_IMPACT}: the file is damaged, or not of this format.")
        if len(documents):
            self._documents = max(self._documents, int(documents[-1]) + 1)
        self._sorter.add(documents, np.full(len(documents), term_id, np.uint32), impacts)

    def documents(self, ids: list[str]) -> Iterator[EncodedRecord]:
        """The documents in the order of their numbers. Raises InputFileError."""
        if self._documents > len(ids):
            raise InputFileError(f"{self._source}: a posting names document {self._documents - 1}, there are {len(ids):,} documents.")
        self._sorter.keys()
        for doc_id, group in zip(ids, self._sorter.groups(np.arange(len(ids), dtype=np.uint32)), strict=True):
            with located(f"{self._source}, document {group.key}"):
                vector = self._encoding.restore(group.others, group.impacts)
                yield EncodedRecord.from_mapping({"_id": doc_id, "vector": vector})


class Group(NamedTuple):
    """All postings of one key: the other side's numbers, and the impacts, in the order they came."""

    key: int
    others: U32
    impacts: U32


class _Run(NamedTuple):
    """Sorted postings: those of keys[i] are others[bounds[i]:bounds[i + 1]]."""

    keys: U32
    bounds: I64
    others: U32
    impacts: U32

    def part(self, start: int, end: int) -> tuple[U32, U32]:
        """(others, impacts) of a stretch."""
        return self.others[start:end], self.impacts[start:end]

    def places(self, keys: U32) -> list[list[int]]:
        """[start, end] of each key, [0, 0] where it has no postings here."""
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        there = self.keys[places] == keys
        found: list[list[int]] = np.stack([self.bounds[places] * there, self.bounds[places + 1] * there], axis=1).tolist()
        return found


class PostingSorter:
    """Collects postings and gives them out by key. Within a key the order of arrival stays.

    Postings are collected into runs of RUN; a full run is sorted and goes to a temporary file, from where its groups are read back
    one by one. Memory: about 50 bytes a posting of one run while it is sorted (800 MB for 2**24), and 12 bytes a key and run; disk:
    8 bytes a posting after the first run.

    Args:
        folder: where runs that do not fit are kept; None for the system's temporary folder.
        run: postings held in memory.
    """

    def __init__(self, folder: Path | None = None, *, run: int | None = None) -> None:
        self._folder = folder
        self._size = run or RUN
        self._waiting: list[tuple[U32, U32, U32]] = []
        self._count = 0
        self._runs: list[_Run] = []
        self._files = ExitStack()

    def __enter__(self) -> PostingSorter:
        return self

    def __exit__(self, *_: object) -> None:
        self._runs.clear()
        self._files.close()

    def add(self, keys: U32, others: U32, impacts: U32) -> None:
        """Take in postings. Raises InputFileError if the temporary folder is full."""
        self._waiting.append((keys, others, impacts))
        self._count += len(keys)
        if self._count >= self._size:
            self._runs.append(self._spilled(self._sorted()))

    def keys(self) -> U32:
        """All keys, ascending; nothing can be added from here on."""
        if self._count:
            self._runs.append(self._sorted())
        return np.unique(np.concatenate([run.keys for run in self._runs])) if self._runs else np.empty(0, np.uint32)

    def groups(self, keys: U32) -> Iterator[Group]:
        """The group of each key, in the order of `keys`; an empty one for a key without postings. After keys()."""
        for start in range(0, len(keys), BLOCK):
            if not self._runs:
                yield from (Group(key, *NO_POSTINGS) for key in keys.tolist())
                return
            block = keys[start : start + BLOCK]
            bounds = [run.places(block) for run in self._runs]
            for position, key in enumerate(block.tolist()):
                parts = [run.part(*found[position]) for run, found in zip(self._runs, bounds, strict=True)]
                yield Group(key, *(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _sorted(self) -> _Run:
        keys, others, impacts = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._count = [], 0
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
        return _Run(keys[starts], np.append(starts, len(keys)), others[order], impacts[order])

    def _spilled(self, run: _Run) -> _Run:
        try:
            file = self._files.enter_context(tempfile.TemporaryFile(dir=self._folder))
            file.write(run.others.tobytes())
            file.write(run.impacts.tobytes())
            file.flush()
        except OSError as error:
            raise InputFileError(f"postings cannot be written to a temporary file while sorting: {error.strerror or error}.") from error
        both = np.memmap(file, np.uint32, "r", shape=(2, len(run.others)))
        return run._replace(others=both[0], impacts=both[1])
