"""Training data: BEIR folders, weak pairs and cloze pairs from running text, as token ids in memory.

Everything is a `Source`: queries, documents and which documents are right for which query. Batches come from one source
(and one group of it, such as one documentation repository), so that the in-batch negatives are of the same kind.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splade_ptbr_connectors.errors import ConfigError
from training.bm25 import StemIds, StemmedBm25, Stems
from training.config import DataSection
from training.vocabulary import TokenIds, build_tokenizer, encode, read_vocabulary

logger = logging.getLogger(__name__)
Qrels = dict[str, dict[str, int]]
MINED_DOCUMENTS = 5_000
"""Sources with more documents than this have in-batch negatives only."""
MINED_DEPTH = 10


@dataclass(frozen=True)
class Collection:
    """A BEIR folder: texts by id and, for each split, the judgments."""

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, Qrels]


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, .gz or not."""
    if not path.is_file():
        raise ConfigError(f"no such file: {path} (is --data right?)")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as handle:
        yield from handle


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file (.gz or not); a broken line is an error with its number."""
    for number, line in enumerate(read_lines(path), start=1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{path}, line {number}: not valid JSON ({error})") from error


def read_qrels(path: Path) -> Qrels:
    """Judgments of a BEIR qrels file with its header line."""
    qrels: Qrels = {}
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.rstrip("\n").split("\t")
        if number == 1 and fields[0] == "query-id":
            continue
        if len(fields) != 3 or not fields[2].strip().lstrip("-").isdigit():
            raise ConfigError(f"{path}, line {number}: expected query-id, corpus-id and a whole number, separated by tabs")
        qrels.setdefault(fields[0], {})[fields[1]] = int(fields[2])
    return qrels


def read_collection(folder: Path) -> Collection:
    """A BEIR folder; a document's text is title, space, text."""
    documents = {row["_id"]: f"{row.get('title', '')} {row['text']}".strip() for row in read_jsonl(folder / "corpus.jsonl")}
    queries = {row["_id"]: row["text"] for row in read_jsonl(folder / "queries.jsonl")}
    qrels = {path.stem: read_qrels(path) for path in sorted((folder / "qrels").glob("*.tsv"))}
    return Collection(folder.name, documents, queries, qrels)


@dataclass(frozen=True)
class Evaluation:
    """A split to measure: every query against `documents`."""

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: Qrels


def evaluation_of(collection: Collection, split: str) -> Evaluation:
    """A whole collection with the queries of one split."""
    if split not in collection.qrels:
        raise ConfigError(f"{collection.name} has no split {split!r}; it has {', '.join(collection.qrels)}")
    qrels = collection.qrels[split]
    queries = {query_id: collection.queries[query_id] for query_id in qrels}
    return Evaluation(f"{collection.name}:{split}", collection.documents, queries, qrels)


def split_train(collection: Collection, held_out: float) -> tuple[Qrels, Qrels]:
    """(training, held-out) judgments: the last share of the train queries; no passage is on both sides."""
    qrels = collection.qrels.get("train", {})
    ids = list(qrels)
    cut = len(ids) - round(held_out * len(ids))
    kept_out = {query_id: qrels[query_id] for query_id in ids[cut:]}
    passages = {passage for judged in kept_out.values() for passage in judged}
    training = {query_id: qrels[query_id] for query_id in ids[:cut] if not passages & set(qrels[query_id])}
    return training, kept_out


def _held_out_evaluation(collection: Collection, qrels: Qrels) -> Evaluation:
    """The held-out queries against every passage that no test query is about."""
    tested = {passage for judged in collection.qrels.get("test", {}).values() for passage in judged}
    documents = {doc_id: text for doc_id, text in collection.documents.items() if doc_id not in tested}
    kept = {query_id: {d: s for d, s in judged.items() if d in documents} for query_id, judged in qrels.items()}
    kept = {query_id: judged for query_id, judged in kept.items() if judged}
    return Evaluation(f"{collection.name}:held-out", documents, {q: collection.queries[q] for q in kept}, kept)


@dataclass
class Source:
    """Queries and documents of one kind, as token ids and stem ids, in groups that share batches."""

    name: str
    queries: list[TokenIds]
    documents: list[TokenIds]
    query_stems: list[StemIds]
    document_stems: list[StemIds]
    positives: list[tuple[int, ...]]
    groups: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.teacher = StemmedBm25(self.document_stems)
        self._documents_of_group = [
            np.unique([d for q in np.flatnonzero(self.groups == group) for d in self.positives[q]])
            for group in range(int(self.groups.max()) + 1 if len(self.groups) else 0)
        ]

    def epoch(self, *, seed: int, epoch: int, size: int) -> list[NDArray[np.int64]]:
        """The batches of an epoch: a seeded permutation in chunks of one group."""
        rng = np.random.default_rng([seed, epoch])
        chunks: list[NDArray[np.int64]] = []
        for group in range(len(self._documents_of_group)):
            order = rng.permutation(np.flatnonzero(self.groups == group))
            whole = max(1, len(order) // size)
            chunks += [order[i * size : (i + 1) * size] for i in range(whole)]
        return [chunks[i] for i in rng.permutation(len(chunks))]

    @cached_property
    def hard(self) -> list[NDArray[np.int64]]:
        """For each query the documents that stemmed BM25 finds best and that are not right, best first; empty for large sources."""
        if len(self.documents) > MINED_DOCUMENTS:
            return [np.zeros(0, dtype=np.int64)] * len(self.queries)
        mined = []
        for start in range(0, len(self.queries), 256):
            scores = self.teacher.scores(self.query_stems[start : start + 256], self.document_stems)
            for row, right in zip(scores, self.positives[start : start + 256], strict=True):
                row[list(right)] = 0.0
                best = np.argsort(-row, kind="stable")[:MINED_DEPTH]
                mined.append(best[row[best] > 0])
        return mined

    def fillers(self, chosen: NDArray[np.int64], taken: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
        """Up to `count` further documents as negatives: mined ones of the chosen queries, then random ones of the group."""
        if count <= 0:
            return []
        mined = rng.permutation(np.unique(np.concatenate([self.hard[q] for q in chosen])))
        pool = rng.permutation(self._documents_of_group[int(self.groups[chosen[0]])])
        unseen = dict.fromkeys(int(d) for d in np.concatenate([mined, pool]))
        return [d for d in unseen if d not in set(taken)][:count]


@dataclass(frozen=True)
class Batch:
    """One optimiser step's data. Q queries, C documents."""

    source: str
    queries: list[TokenIds]
    documents: list[TokenIds]
    relevant: NDArray[np.bool_]  # [Q, C]
    positive: NDArray[np.int64]  # [Q]
    teacher: NDArray[np.float32] | None  # [Q, C]


class BatchPlan:
    """The batches of one stage; the batch of a step depends on nothing but the seed and the step (exact resume)."""

    def __init__(self, sources: dict[str, Source], mixture: dict[str, float], *, steps: int, seed: int) -> None:
        names = sorted(name for name in mixture if name in sources and mixture[name] > 0)
        if not names:
            raise ConfigError("no source of [data.mixture] has any training pair")
        shares = np.array([mixture[name] for name in names])
        picks = np.random.default_rng([seed, 0]).choice(len(names), size=steps, p=shares / shares.sum())
        self._turns = [(names[pick], int((picks[:step] == pick).sum())) for step, pick in enumerate(picks)]
        self._sources, self._seed = sources, seed
        self._epoch = lru_cache(maxsize=4 * len(names))(self._make_epoch)

    def _make_epoch(self, name: str, epoch: int, size: int) -> list[NDArray[np.int64]]:
        return self._sources[name].epoch(seed=self._seed, epoch=epoch, size=size)

    def batch(self, step: int, *, queries: int, documents: int, teacher: bool) -> Batch:
        """The batch of an optimiser step: `queries` queries against at least `documents` documents where there are so many."""
        name, turn = self._turns[step]
        source = self._sources[name]
        per_epoch = len(self._epoch(name, 0, queries))
        chosen = self._epoch(name, turn // per_epoch, queries)[turn % per_epoch]
        rng = np.random.default_rng([self._seed, 1, step])
        right = [int(rng.choice(source.positives[q])) for q in chosen]
        columns = list(dict.fromkeys(right))
        columns += source.fillers(chosen, columns, documents - len(columns), rng)
        place = {document: column for column, document in enumerate(columns)}
        relevant = np.zeros((len(chosen), len(columns)), dtype=np.bool_)
        for row, query in enumerate(chosen):
            relevant[row, [place[d] for d in source.positives[query] if d in place]] = True
        scores = None
        if teacher:
            scores = source.teacher.scores([source.query_stems[q] for q in chosen], [source.document_stems[d] for d in columns])
        return Batch(
            source=name,
            queries=[source.queries[q] for q in chosen],
            documents=[source.documents[d] for d in columns],
            relevant=relevant,
            positive=np.array([place[document] for document in right], dtype=np.int64),
            teacher=scores,
        )


@dataclass(frozen=True)
class TrainingData:
    """All sources and validation splits of a recipe, and the vocabulary."""

    vocabulary: list[str]
    sources: dict[str, Source]
    validation: list[Evaluation]


class _Maker:
    """Makes sources from texts."""

    def __init__(self, section: DataSection, vocabulary: list[str]) -> None:
        self._section, self._stems = section, Stems()
        self._tokenizer = build_tokenizer(vocabulary)

    def source(self, name: str, queries: list[str], documents: list[str], positives: list[tuple[int, ...]], groups: list[int]) -> Source:
        section = self._section
        return Source(
            name,
            encode(self._tokenizer, queries, max_length=section.max_length_query),
            encode(self._tokenizer, documents, max_length=section.max_length_document),
            self._stems.all(queries),
            self._stems.all(documents),
            positives,
            np.asarray(groups, dtype=np.int64),
        )

    def train_split(self, collection: Collection, qrels: Qrels) -> Source:
        """The training queries and the passages judged for them, nothing else of the collection."""
        right = {query: [d for d, score in judged.items() if score > 0] for query, judged in qrels.items()}
        right = {query: judged for query, judged in right.items() if judged}
        ids = list(dict.fromkeys(d for judged in right.values() for d in judged))
        place = {doc_id: index for index, doc_id in enumerate(ids)}
        positives = [tuple(place[d] for d in judged) for judged in right.values()]
        queries = [collection.queries[query] for query in right]
        return self.source(collection.name, queries, [collection.documents[d] for d in ids], positives, [0] * len(queries))

    def pairs(self, name: str, rows: list[tuple[str, str, str]]) -> Source:
        """(query, document, group) rows."""
        groups = {group: index for index, group in enumerate(sorted({row[2] for row in rows}))}
        positives: list[tuple[int, ...]] = [(index,) for index in range(len(rows))]
        return self.source(name, [r[0] for r in rows], [r[1] for r in rows], positives, [groups[r[2]] for r in rows])


def load_training_data(section: DataSection, data_dir: Path, *, seed: int) -> TrainingData:
    """Reads everything a recipe names."""
    vocabulary = read_vocabulary(data_dir / section.vocabulary)
    maker = _Maker(section, vocabulary)
    sources: dict[str, Source] = {}
    validation: list[Evaluation] = []
    for name in section.collections:
        collection = read_collection(data_dir / name)
        training, held_out = split_train(collection, section.held_out.get(name, 0.0))
        sources[name] = maker.train_split(collection, training)
        if held_out:
            validation.append(_held_out_evaluation(collection, held_out))
    for entry in section.validation:
        name, _, split = entry.partition(":")
        validation.append(evaluation_of(read_collection(data_dir / name), split))
    if section.pairs and section.mixture.get("weak"):
        rows = [(row["query"], row["positive"], row["source"]) for row in read_jsonl(data_dir / section.pairs)]
        sources["weak"] = maker.pairs("weak", rows)
    if section.cloze_texts and section.mixture.get("cloze"):
        sources["cloze"] = maker.pairs("cloze", _cloze_rows(section, data_dir, seed=seed))
    for name, source in sources.items():
        logger.info("source %s: %d queries, %d documents", name, len(source.queries), len(source.documents))
    return TrainingData(vocabulary, sources, validation)


def text_path(section: DataSection, data_dir: Path, name: str) -> Path:
    """Where a text file of the recipe lies."""
    if section.texts is None:
        raise ConfigError("[data] cloze_texts needs texts, the folder of the text files")
    return data_dir / section.texts / f"{name}.txt.gz"


def passages_of(lines: Iterator[str], *, words: int = 120) -> Iterator[str]:
    """Passages of about `words` words: consecutive paragraphs, never over a document's end (a blank line)."""
    held: list[str] = []
    count = 0
    for line in lines:
        text = line.strip()
        if text:
            held.append(text)
            count += len(text.split())
        if held and (not text or count >= words):
            yield " ".join(held)
            held, count = [], 0
    if held:
        yield " ".join(held)


_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")


def cloze_pair(passage: str, rng: np.random.Generator) -> tuple[str, str] | None:
    """A sentence of 5 to 20 words as the query and the rest as the document; None when there is no such sentence."""
    sentences = _SENTENCE_END.split(passage)
    fitting = [i for i, sentence in enumerate(sentences) if 5 <= len(sentence.split()) <= 20]
    if len(sentences) < 3 or not fitting:
        return None
    pick = fitting[int(rng.integers(len(fitting)))]
    rest = " ".join(sentences[:pick] + sentences[pick + 1 :])
    words = rest.split()
    return (sentences[pick], " ".join(words[:300])) if len(words) >= 20 else None


def _cloze_rows(section: DataSection, data_dir: Path, *, seed: int) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for number, name in enumerate(section.cloze_texts):
        rng = np.random.default_rng([seed, 2, number])
        passages = list(passages_of(read_lines(text_path(section, data_dir, name))))
        made = (cloze_pair(passages[i], rng) for i in rng.permutation(len(passages)))
        pairs = islice((pair for pair in made if pair is not None), section.cloze_limit)
        rows += [(query, document, name) for query, document in pairs]
    return rows
