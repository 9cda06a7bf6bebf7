"""An inverted index in the making: what CIFF and PISA are written from, and read into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ..errors import InputFileError, RecordError, VectorError
from ..records import EncodedRecord
from .convention import MAX_IMPACT, Convention, Counts
from .files import located
from .inversion import U32, Group, PostingSorter


class Inverter:
    """Documents in, posting lists out, terms in the order of their names' bytes (as Lucene and PISA keep them).

    Memory: one run of the sorter (see inversion.py) and the ids of all documents.

    Attributes:
        ids: of the documents, by their number.
        lengths: of each document, the sum of its impacts.
    """

    def __init__(self, target: Path, convention: Convention) -> None:
        self.ids: list[str] = []
        self.lengths: list[int] = []
        self.counts = Counts()
        self._convention = convention
        self._stack = ExitStack()
        self._sorter = self._stack.enter_context(PostingSorter(target.resolve().parent))

    def __enter__(self) -> Inverter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, records: Iterable[EncodedRecord]) -> None:
        """Take all documents in.

        Raises:
            RecordError: an id that was there before.
            VectorError: a document longer than 2**31 - 1.
        """
        known: set[str] = set()
        for record, term_ids, impacts in self._convention.quantised(records, self.counts):
            if record.doc_id in known:
                raise RecordError(f"document {record.doc_id!r} is there twice: an index holds an id once.")
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
        names = self._convention.terms.names(keys)
        order = sorted(range(len(names)), key=names.__getitem__)  # by code point, which is the order of UTF-8 bytes too
        groups = self._sorter.groups(keys[order])
        return len(keys), ((names[position], group) for position, group in zip(order, groups, strict=True))


class Reinverter:
    """Posting lists in, documents out. Memory: one run of the sorter, the terms and the ids of all documents."""

    def __init__(self, source: Path, convention: Convention) -> None:
        self._source = source
        self._convention = convention
        self._stack = ExitStack()
        self._sorter = self._stack.enter_context(PostingSorter())
        self._documents = 0
        self._known: set[int] = set()

    def __enter__(self) -> Reinverter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, where: str, name: str, documents: U32, impacts: U32) -> None:
        """Take one posting list in, documents ascending. Raises InputFileError for what is none."""
        with located(where):
            (term_id,) = self._convention.terms.ids([name])
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
            raise InputFileError(f"{self._source}: a posting is of document {self._documents - 1}, there are {len(ids):,} documents.")
        self._sorter.keys()
        for doc_id, group in zip(ids, self._sorter.groups(np.arange(len(ids), dtype=np.uint32)), strict=True):
            with located(f"{self._source}, document {group.key}"):
                vector = self._convention.restore(group.others, group.impacts)
                yield EncodedRecord.from_mapping({"_id": doc_id, "vector": vector})
