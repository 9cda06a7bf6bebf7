"""The files of MS MARCO and mMARCO as rows of text stores: id triplets, and judgments.

collection, queries  id TAB text (TextStore)
triples              query-id TAB positive-id TAB negative-id
qrels                query-id 0 doc-id relevance (MS MARCO: tabs, TREC: white space), or BEIR's three columns under a header
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.batches import batched
from splade_ptbr_connectors.evaluation.qrels import read_judgments
from training.data.blocks import Block, whole_numbers
from training.data.texts import Rows, TextStore

COLUMNS = ("query", "positive", "negative")
EXPECTED = "expected query-id<TAB>positive-id<TAB>negative-id"
_CHUNK = 100_000


class TripletReader:
    """Turns blocks of id triplets into rows of the stores: whole blocks at once where ids are numbers, line by line where not."""

    def __init__(self, queries: TextStore, documents: TextStore) -> None:
        self._stores = (queries, documents, documents)
        self._numeric = queries.whole_number_ids and documents.whole_number_ids
        self._find: list[Callable[[NDArray[np.int64]], Rows]] = []
        if self._numeric:
            of_document = documents.row_finder()
            self._find = [queries.row_finder(), of_document, of_document]

    def rows(self, block: Block) -> NDArray[np.int32]:
        """[lines, 3] rows of query, positive and negative.

        Raises:
            InputFileError: naming the line: other than three columns, an id that its file does not have, not UTF-8.
        """
        rows = self._by_number(block) if self._numeric else self._by_name(block)
        if rows is None or int(rows.min(initial=0)) < 0:
            self._explain(block)
        return np.asarray(rows, dtype=np.int32)

    def _by_number(self, block: Block) -> NDArray[np.int64] | None:
        """None where a line is not three whole numbers between tabs."""
        codes = np.frombuffer(block.data.replace(b"\r\n", b"\n"), dtype=np.uint8)
        ends = np.flatnonzero((codes == ord("\t")) | (codes == ord("\n")))
        if len(ends) % 3 or not bool((codes[ends].reshape(-1, 3) == np.frombuffer(b"\t\t\n", dtype=np.uint8)).all()):
            return None
        starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1] + 1])
        numbers = whole_numbers(codes, starts, ends)
        if numbers is None:
            return None
        columns = numbers.reshape(-1, 3)
        return np.stack([find(columns[:, place]) for place, find in enumerate(self._find)], axis=1)

    def _by_name(self, block: Block) -> NDArray[np.int64] | None:
        lines = [line.split(b"\t") for _, line in block.lines()]
        if any(len(columns) != 3 for columns in lines):
            return None
        block.require_text()
        ids = zip(*([column.decode() for column in columns] for columns in lines), strict=True)
        return np.stack([store.rows(column) for store, column in zip(self._stores, ids, strict=True)], axis=1)

    def _explain(self, block: Block) -> None:
        """The slow second look at a block with something wrong: raises with the line and the reason."""
        block.require_text()
        for number, line in block.lines():
            columns = line.decode().split("\t")
            if len(columns) != 3:
                block.fail(number, f"{len(columns)} columns instead of 3: {EXPECTED}.")
            for name, text_id, store in zip(COLUMNS, columns, self._stores, strict=True):
                if text_id not in store:
                    block.fail(number, f"the {name} {text_id[:60]!r} is not an id of {store.path}.")


def judged_rows(path: Path, queries: TextStore, documents: TextStore) -> Iterator[tuple[Rows, Rows]]:
    """Parts of (query rows, document rows) of what is judged relevant (above 0); -1 where a file does not have the id."""
    relevant = ((query, document) for _, query, document, relevance in read_judgments(path) if relevance > 0)
    for part in batched(relevant, _CHUNK):
        yield queries.rows(_column(part, 0)), documents.rows(_column(part, 1))


def _column(pairs: Iterable[tuple[str, str]], place: int) -> list[str]:
    return [pair[place] for pair in pairs]
