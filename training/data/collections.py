"""BEIR folders: texts by id, judgments by split, and what of them is held out for validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from splade_ptbr_connectors.errors import ConfigError, InputFileError
from splade_ptbr_connectors.evaluation.files import bad_line
from splade_ptbr_connectors.evaluation.qrels import Qrels, read_qrels
from splade_ptbr_connectors.evaluation.queries import read_queries
from training.data.records import in_folder, numbered_documents


@dataclass(frozen=True)
class Collection:
    """A BEIR folder: texts by id and, for each split, the judgments."""

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, Qrels]


def read_collection(folder: Path) -> Collection:
    """A BEIR folder; a document's text is title, space, text.

    Raises:
        InputFileError: no such folder, or naming file and line: a broken line, an id twice, a judged query without a text.
    """
    if not folder.is_dir():
        raise InputFileError(f"no such folder: {folder} (is --data right?)")
    documents = _documents(in_folder(folder, "corpus.jsonl"))
    queries = read_queries(in_folder(folder, "queries.jsonl"))
    qrels = {path.stem: _qrels(path, queries) for path in sorted((folder / "qrels").glob("*.tsv"))}
    return Collection(folder.name, documents, queries, qrels)


def _documents(path: Path) -> dict[str, str]:
    documents: dict[str, str] = {}
    for number, doc_id, text in numbered_documents(path):
        if doc_id in documents:
            bad_line(path, number, f"document {doc_id!r} is there twice.")
        documents[doc_id] = text.strip()
    return documents


def _qrels(path: Path, queries: Mapping[str, str]) -> Qrels:
    qrels = read_qrels(path)
    unknown = [query_id for query_id in qrels if query_id not in queries]
    if unknown:
        raise InputFileError(f"{path}: {len(unknown)} of {len(qrels)} judged queries have no text (first: {unknown[0]!r}).")
    return qrels


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
