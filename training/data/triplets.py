"""Triplets of ids at the size of mMARCO (39.8 million): converted once to a memory-mapped array of rows, texts by byte offset."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.errors import InputFileError
from training.data.batches import Batch, Example, collate
from training.data.blocks import require_plain
from training.data.cache import ArrayWriter, CachedArrays, open_cached
from training.data.known import KnownPositives, PairCollector
from training.data.msmarco import TripletReader, judged_rows
from training.data.permutation import EpochOrder
from training.data.texts import TextStore
from training.recipe.sections import TripletsData

logger = logging.getLogger(__name__)
_CHUNK = 2_000_000
SOURCE = "triplets"
"""How batches name where they come from."""


class TripletBatches:
    """Batches of a file of id triplets.

    The array holds *rows* of the text files, not ids: a text is then found without a search, ids may be any strings, and an id
    that its file does not have is found when the array is made. Its identity includes that of both text files.

    Known positives of a query are those of the qrels and every positive that the triplets themselves name. A triplet whose
    negative is one of them, or one of whose texts is empty, is left out; how many were is in `sizes` and in the log.
    """

    def __init__(self, section: TripletsData, data_dir: Path, cache_dir: Path, *, batch_queries: int, seed: int) -> None:
        """Opens the data, converting what is not converted yet.

        Raises:
            InputFileError: a broken file, with its line (TextStore.open, TripletReader, read_judgments); no triplet is left.
            ConfigError: fewer triplets than batch_queries.
            TrainingError: the cache folder cannot be written.
        """
        self._queries = TextStore.open(data_dir / section.queries, cache_dir)
        self._documents = TextStore.open(data_dir / section.collection, cache_dir)
        self._arrays = convert(section, data_dir, cache_dir, self._queries, self._documents)
        self._order = EpochOrder(len(self._rows), seed=seed, batch=batch_queries)

    @property
    def _rows(self) -> NDArray[np.int32]:
        return self._arrays["rows"]

    def batch(self, step: int) -> Batch:
        """The batch of a step; queries that come twice share their known positives."""
        rows, _ = self._order.step(step)
        known = KnownPositives(self._arrays["positives"])
        return collate([self._example(known, *triplet) for triplet in self._rows[rows].tolist()], source=SOURCE)

    def _example(self, known: KnownPositives, query: int, positive: int, negative: int) -> Example:
        texts = (self._documents.text(positive), self._documents.text(negative))
        return Example(self._queries.text(query), texts, (positive, negative), frozenset(known.documents(query).tolist()))

    @property
    def sizes(self) -> Mapping[str, Any]:
        """Counts of texts, of triplets, of those left out and why."""
        return {
            "triplets": len(self._rows),
            "queries": len(self._queries),
            "documents": len(self._documents),
            "known_positives": len(self._arrays["positives"]),
            "steps_per_epoch": self._order.steps_per_epoch,
            **self._arrays.facts,
        }

    @property
    def sha256(self) -> str:
        """Of the content of all files, and of the limit."""
        return self._arrays.sha256


def convert(section: TripletsData, data_dir: Path, cache_dir: Path, queries: TextStore, documents: TextStore) -> CachedArrays:
    """The arrays `rows` ([n, 3] int32: query, positive, negative) and `positives` (KnownPositives), made if they are not there."""
    files = {"triples": data_dir / section.triples}
    if section.qrels is not None:
        require_plain(data_dir / section.qrels)
        files["qrels"] = data_dir / section.qrels
    inputs = {"variant": section.limit, "queries": queries.sha256, "documents": documents.sha256}
    conversion = _Conversion(queries, documents, section.limit)
    return open_cached(cache_dir, "triplets", files=files, inputs=inputs, build=conversion.build)


class _Conversion:
    """Two passes: all positives must be known before a negative can be judged."""

    def __init__(self, queries: TextStore, documents: TextStore, limit: int | None) -> None:
        self._queries, self._documents, self._limit = queries, documents, limit
        self._positives = PairCollector()
        self._counts = dict.fromkeys(("lines", "left_out_empty_text", "left_out_negative_is_positive"), 0)

    def build(self, writer: ArrayWriter) -> None:
        self._read(writer)
        if writer.has_file("qrels"):
            self._judge(writer)
        writer.append("positives", self._positives.result())
        self._filter(writer)
        writer.discard("read")
        writer.facts.update(self._counts)
        self._report(writer)

    def _read(self, writer: ArrayWriter) -> None:
        reader = TripletReader(self._queries, self._documents)
        empty_query, empty_document = _mask(self._queries), _mask(self._documents)
        for block in writer.blocks("triples", limit=self._limit):
            rows = reader.rows(block)
            empty = empty_query[rows[:, 0]] | empty_document[rows[:, 1]] | empty_document[rows[:, 2]]
            self._counts["lines"] += len(rows)
            self._counts["left_out_empty_text"] += int(empty.sum())
            self._positives.add(rows[:, 0], rows[:, 1])
            writer.append("read", rows[~empty])

    def _judge(self, writer: ArrayWriter) -> None:
        """Adds the judged positives; counts judgments outside the files and triplets whose positive nobody judged relevant."""
        judged, outside = PairCollector(), 0
        for _ in writer.blocks("qrels"):
            pass  # read below, by columns; here for its identity
        for queries, documents in judged_rows(writer.path("qrels"), self._queries, self._documents):
            inside = (queries >= 0) & (documents >= 0)
            outside += int((~inside).sum())
            judged.add(queries[inside], documents[inside])
            self._positives.add(queries[inside], documents[inside])
        known, unjudged = KnownPositives(judged.result()), 0
        for rows in _chunks(writer["read"]):
            unjudged += int((~known.contains(rows[:, 0], rows[:, 1])).sum())
        self._counts.update(judgments_outside_the_files=outside, positives_not_judged=unjudged)

    def _filter(self, writer: ArrayWriter) -> None:
        known = KnownPositives(writer["positives"])
        for rows in _chunks(writer["read"]):
            wrong = known.contains(rows[:, 0], rows[:, 2])
            self._counts["left_out_negative_is_positive"] += int(wrong.sum())
            writer.append("rows", rows[~wrong])

    def _report(self, writer: ArrayWriter) -> None:
        path = writer.path("triples")
        left_out = {name: count for name, count in self._counts.items() if name != "lines" and count}
        if left_out:
            logger.warning("%s: %s", path, ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in left_out.items()))
        if "rows" not in writer or not len(writer["rows"]):
            raise InputFileError(f"{path}: no triplet is left of {self._counts['lines']}: {left_out}. Is every negative a positive?")


def _mask(store: TextStore) -> NDArray[np.bool_]:
    """[texts] which are empty."""
    mask = np.zeros(len(store), dtype=np.bool_)
    mask[store.empty_rows] = True
    return mask


def _chunks(rows: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """Parts of a memory-mapped array; they are read when they are used."""
    return [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
