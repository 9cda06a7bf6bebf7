"""BEIR folders: texts by id, judgments by split, and what of them is held out for validation."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splade_ptbr_connectors.errors import ConfigError, InputFileError

Qrels = dict[str, dict[str, int]]


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
        raise InputFileError(f"no such file: {path} (is --data right?)")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as handle:
        yield from handle


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file (.gz or not); a broken line is an error with its number."""
    for number, line in enumerate(read_lines(path), start=1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise InputFileError(f"{path}, line {number}: not valid JSON ({error})") from error


def read_qrels(path: Path) -> Qrels:
    """Judgments of a BEIR qrels file with its header line."""
    qrels: Qrels = {}
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.rstrip("\n").split("\t")
        if number == 1 and fields[0] == "query-id":
            continue
        if len(fields) != 3 or not fields[2].strip().lstrip("-").isdigit():
            raise InputFileError(f"{path}, line {number}: expected query-id, corpus-id and a whole number, separated by tabs")
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


def held_out_evaluation(collection: Collection, qrels: Qrels) -> Evaluation:
    """The held-out queries against every passage that no test query is about."""
    tested = {passage for judged in collection.qrels.get("test", {}).values() for passage in judged}
    documents = {doc_id: text for doc_id, text in collection.documents.items() if doc_id not in tested}
    kept = {query_id: {d: s for d, s in judged.items() if d in documents} for query_id, judged in qrels.items()}
    kept = {query_id: judged for query_id, judged in kept.items() if judged}
    return Evaluation(f"{collection.name}:held-out", documents, {q: collection.queries[q] for q in kept}, kept)
