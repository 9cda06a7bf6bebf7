"""Pairs in memory, from BEIR folders, weak pairs and running text, mixed into batches by shares.

A batch comes from one source (and one group of it, such as one documentation repository), so that its in-batch negatives are
of the same kind.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.errors import ConfigError, InputFileError
from splade_ptbr_connectors.evaluation.collections import BeirFolder, JudgedCollection, read_beir
from splade_ptbr_connectors.evaluation.files import bad_line
from splade_ptbr_connectors.evaluation.qrels import Qrels
from splade_ptbr_connectors.sources import Broken, open_source
from training.data.batches import Batch
from training.data.bm25 import Bm25Index, Stems
from training.data.cloze import cloze_rows
from training.data.held_out import held_out_collection, split_train
from training.recipe.sections import CollectionsData

logger = logging.getLogger(__name__)
FILLED_BY_MINED = 5_000
"""Sources with more documents than this are filled up with random documents only."""
MINED_DEPTH = 10


@dataclass
class Source:
    """Queries and documents of one kind, in groups that share batches."""

    name: str
    queries: list[str]
    documents: list[str]
    positives: list[tuple[int, ...]]
    groups: NDArray[np.int64]
    stems: Stems = field(default_factory=Stems)

    def __post_init__(self) -> None:
        self._documents_of_group = [
            np.unique([d for q in np.flatnonzero(self.groups == group) for d in self.positives[q]])
            for group in range(int(self.groups.max()) + 1 if len(self.groups) else 0)
        ]
        self._mined: dict[int, NDArray[np.int64]] = {}

    @cached_property
    def bm25(self) -> Bm25Index:
        """Stemmed BM25 of the documents: teacher, and miner of hard negatives."""
        return Bm25Index(self.stems.all(self.documents))

    def epoch(self, *, seed: int, epoch: int, size: int) -> list[NDArray[np.int64]]:
        """The batches of an epoch: a seeded permutation in chunks of one group."""
        rng = np.random.default_rng([seed, epoch])
        chunks: list[NDArray[np.int64]] = []
        for group in range(len(self._documents_of_group)):
            order = rng.permutation(np.flatnonzero(self.groups == group))
            whole = max(1, len(order) // size)
            chunks += [order[i * size : (i + 1) * size] for i in range(whole)]
        return [chunks[i] for i in rng.permutation(len(chunks))]

    def mined(self, queries: Sequence[int]) -> list[NDArray[np.int64]]:
        """For each query the MINED_DEPTH documents that BM25 finds best and that are not right, best first; kept once found."""
        unknown = [q for q in queries if q not in self._mined]
        if unknown:
            scores = self.bm25.all_scores(self.stems.all(self.queries[q] for q in unknown))
            for query, row in zip(unknown, scores, strict=True):
                row[list(self.positives[query])] = 0.0
                best = np.argsort(-row, kind="stable")[:MINED_DEPTH]
                self._mined[query] = best[row[best] > 0]
        return [self._mined[q] for q in queries]

    def fillers(self, chosen: NDArray[np.int64], taken: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
        """Up to `count` further documents as negatives: mined ones of the chosen queries, then random ones of the group."""
        if count <= 0:
            return []
        small = len(self.documents) <= FILLED_BY_MINED
        found = self.mined([int(q) for q in chosen]) if small else [np.zeros(0, dtype=np.int64)]
        mined = rng.permutation(np.unique(np.concatenate(found)))
        pool = rng.permutation(self._documents_of_group[int(self.groups[chosen[0]])])
        unseen = dict.fromkeys(int(d) for d in np.concatenate([mined, pool]))
        return [d for d in unseen if d not in set(taken)][:count]

    def hard_negatives(self, chosen: NDArray[np.int64], count: int, rng: np.random.Generator) -> list[list[int]]:
        """`count` mined documents for each query, drawn without replacement; random ones of the group where BM25 finds fewer."""
        drawn = []
        for query, mined in zip(chosen, self.mined([int(q) for q in chosen]), strict=True):
            right = set(self.positives[int(query)])
            pool = rng.permutation(self._documents_of_group[int(self.groups[query])])
            ordered = dict.fromkeys(int(d) for d in np.concatenate([rng.permutation(mined), pool]))
            drawn.append([d for d in ordered if d not in right][:count])
        return drawn


class MixtureBatches:
    """Batches of several sources; the batch of a step depends on nothing but the seed and the step (exact resume)."""

    def __init__(self, sources: dict[str, Source], section: CollectionsData, *, batch_queries: int, seed: int, teacher: bool) -> None:
        self.names = sorted(name for name in section.mixture if name in sources and section.mixture[name] > 0)
        if not self.names or not any(len(sources[name].queries) for name in self.names):
            raise ConfigError("no source of data.mixture has any training pair")
        shares = np.array([section.mixture[name] for name in self.names])
        self._shares = shares / shares.sum()
        self.sources, self._section, self._size, self._seed, self._teacher = sources, section, batch_queries, seed, teacher
        self._picks = np.zeros(0, dtype=np.int64)
        self._epoch = lru_cache(maxsize=4 * len(self.names))(self._make_epoch)

    def _make_epoch(self, name: str, epoch: int) -> list[NDArray[np.int64]]:
        return self.sources[name].epoch(seed=self._seed, epoch=epoch, size=self._size)

    def _turn(self, step: int) -> tuple[str, int]:
        """(source, how many batches of it came before) of a step; a longer draw begins with the same picks."""
        if step >= len(self._picks):
            rng = np.random.default_rng([self._seed, 0])
            self._picks = rng.choice(len(self.names), size=2 * (step + 512), p=self._shares)
        pick = self._picks[step]
        return self.names[pick], int((self._picks[:step] == pick).sum())

    def batch(self, step: int) -> Batch:
        """The batch of a step: its queries, a positive of each, hard negatives, and fillers."""
        name, turn = self._turn(step)
        source = self.sources[name]
        per_epoch = len(self._epoch(name, 0))
        chosen = self._epoch(name, turn // per_epoch)[turn % per_epoch]
        rng = np.random.default_rng([self._seed, 1, step])
        right = [int(rng.choice(source.positives[q])) for q in chosen]
        count = self._section.negatives
        negatives = source.hard_negatives(chosen, count, rng) if count else [[] for _ in chosen]
        columns = list(dict.fromkeys([*right, *(d for row in negatives for d in row)]))
        columns += source.fillers(chosen, columns, self._section.fill_documents - len(columns), rng)
        return self._matrices(source, chosen, right, negatives, columns)

    def _matrices(
        self, source: Source, chosen: NDArray[np.int64], right: list[int], negatives: list[list[int]], columns: list[int]
    ) -> Batch:
        place = {document: column for column, document in enumerate(columns)}
        relevant = np.zeros((len(chosen), len(columns)), dtype=np.bool_)
        own = np.zeros_like(relevant)
        for row, query in enumerate(chosen):
            relevant[row, [place[d] for d in source.positives[query] if d in place]] = True
            own[row, [place[d] for d in negatives[row]]] = True
        queries = [source.queries[q] for q in chosen]
        documents = [source.documents[d] for d in columns]
        positive = np.array([place[document] for document in right], dtype=np.int64)
        scores = source.bm25.scores(source.stems.all(queries), source.stems.all(documents)) if self._teacher else None
        return Batch(source.name, queries, documents, positive, relevant, own, scores)

    @property
    def sizes(self) -> Mapping[str, Any]:
        """Queries and documents of each source."""
        counts = {name: {"queries": len(source.queries), "documents": len(source.documents)} for name, source in self.sources.items()}
        return {"sources": counts, "mixture": dict(zip(self.names, self._shares.tolist(), strict=True))}

    @cached_property
    def sha256(self) -> str:
        """Of every text, in order."""
        digest = hashlib.sha256()
        for name, source in self.sources.items():
            for text in (name, *source.queries, *source.documents):
                digest.update(text.encode() + b"\0")
        return digest.hexdigest()


@dataclass(frozen=True)
class CollectionSources:
    """Sources by name, and the splits that were held out of them."""

    sources: dict[str, Source]
    held_out: list[JudgedCollection]


def load_sources(section: CollectionsData, data_dir: Path, *, seed: int) -> CollectionSources:
    """Reads everything that a section names."""
    stems = Stems()
    sources: dict[str, Source] = {}
    held_out: list[JudgedCollection] = []
    for name in section.collections:
        collection = read_beir(data_dir / name)
        training, kept_out = split_train(collection, section.held_out.get(name, 0.0))
        sources[name] = _train_source(collection, training, stems)
        if kept_out:
            held_out.append(held_out_collection(collection, kept_out))
    if section.pairs and section.mixture.get("weak"):
        sources["weak"] = _pair_source("weak", read_pairs(data_dir / section.pairs), stems)
    if section.cloze_texts and section.mixture.get("cloze"):
        made = cloze_rows(data_dir / (section.texts or ""), section.cloze_texts, limit=section.cloze_limit, seed=seed)
        sources["cloze"] = _pair_source("cloze", made, stems)
    for name, source in sources.items():
        logger.info("source %s: %d queries, %d documents", name, len(source.queries), len(source.documents))
    return CollectionSources(sources, held_out)


def read_pairs(path: Path) -> list[tuple[str, str, str]]:
    """(query, positive, group) of {"query", "positive", "source"?} lines; pairs of one source share batches.

    Raises:
        InputFileError: naming file and line: not JSON, no such text, an empty one.
    """
    pairs = []
    for row in open_source(path, format="jsonl"):
        if isinstance(row, Broken):
            bad_line(path, row.line, row.reason)
        pair = _pair(row.raw)
        if pair is None:
            bad_line(path, row.line, 'expected {"query", "positive", "source"} with texts that are not empty.')
        pairs.append(pair)
    return pairs


def _pair(raw: Any) -> tuple[str, str, str] | None:
    query, positive, source = (
        (raw.get("query"), raw.get("positive"), raw.get("source", "")) if isinstance(raw, dict) else (None, None, None)
    )
    if not (isinstance(query, str) and isinstance(positive, str) and isinstance(source, str) and query.strip() and positive.strip()):
        return None
    return query, positive, source


def _train_source(collection: BeirFolder, qrels: Qrels, stems: Stems) -> Source:
    """The training queries and the passages judged for them, nothing else of the collection."""
    right = {query: [d for d, score in judged.items() if score > 0] for query, judged in qrels.items()}
    right = {query: judged for query, judged in right.items() if judged}
    ids = list(dict.fromkeys(d for judged in right.values() for d in judged))
    missing = [doc_id for doc_id in ids if doc_id not in collection.documents]
    if missing:
        raise InputFileError(
            f"{collection.name}: {len(missing)} relevant documents of its training judgments are not in the corpus "
            f"(first: {missing[0]!r}): take the corpus that belongs to them, or take the judgments out."
        )
    place = {doc_id: index for index, doc_id in enumerate(ids)}
    positives = [tuple(place[d] for d in judged) for judged in right.values()]
    queries = [collection.queries[query] for query in right]
    documents = [collection.documents[d] for d in ids]
    return Source(collection.name, queries, documents, positives, np.zeros(len(queries), dtype=np.int64), stems)


def _pair_source(name: str, rows: list[tuple[str, str, str]], stems: Stems) -> Source:
    """(query, document, group) rows."""
    groups = {group: index for index, group in enumerate(sorted({row[2] for row in rows}))}
    positives: list[tuple[int, ...]] = [(index,) for index in range(len(rows))]
    places = np.array([groups[row[2]] for row in rows], dtype=np.int64)
    return Source(name, [row[0] for row in rows], [row[1] for row in rows], positives, places, stems)
