"""The texts of `encode`: a BEIR folder as lists by step, with what is judged of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

from splade_ptbr_connectors.errors import InputFileError
from splade_ptbr_connectors.evaluation.qrels import Qrels, read_qrels
from splade_ptbr_connectors.evaluation.queries import read_queries
from splade_ptbr_connectors.records import Record
from splade_ptbr_connectors.sources import Broken, open_source

QUERIES, DOCUMENTS, FIXED = "queries", "documents", "256 tokens"
WORDS_OF_FIXED = 300  # a word has at least one token: every such text is cut to 256


@dataclass(frozen=True)
class Texts:
    """A collection as it is measured.

    Attributes:
        steps: what is encoded, in this order: queries, then documents.
        doc_ids, query_ids: of the rows of these two; qrels: of these queries.
    """

    name: str
    steps: dict[str, list[str]]
    doc_ids: list[str]
    query_ids: list[str]
    qrels: Qrels


def read_collection(folder: Path, split: str) -> Texts:
    """The documents and the judged queries of FOLDER: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv.

    Raises:
        InputFileError: a file is missing or broken, or a judged query has no text.
    """
    documents = dict(_documents(folder / "corpus.jsonl"))
    qrels = read_qrels(folder / "qrels" / f"{split}.tsv")
    queries = read_queries(folder / "queries.jsonl")
    without = [query_id for query_id in qrels if query_id not in queries]
    if without:
        raise InputFileError(f"{folder / 'queries.jsonl'}: query {without[0]!r} is judged and has no text: name the right folder.")
    steps = {QUERIES: [queries[query_id] for query_id in qrels], DOCUMENTS: list(documents.values())}
    return Texts(folder.resolve().name, steps, list(documents), list(qrels), qrels)


def _documents(path: Path) -> list[tuple[str, str]]:
    found = []
    for row in open_source(str(path)):
        if isinstance(row, Broken):
            raise InputFileError(f"{path}, line {row.line}: {row.reason}")
        record = Record.from_mapping(row.raw)
        found.append((record.doc_id, record.content))
    return found


def with_fixed(texts: Texts, count: int) -> Texts:
    """The first queries and documents, at most `count` of each, and as many texts that are cut to the same length."""
    documents = texts.steps[DOCUMENTS][:count]
    queries = texts.steps[QUERIES][:count]
    return replace(texts, steps={QUERIES: queries, DOCUMENTS: documents, FIXED: _long_texts(texts.steps[DOCUMENTS], count)})


def _long_texts(documents: list[str], count: int) -> list[str]:
    """Texts of WORDS_OF_FIXED words, each from another place of the collection's running text."""
    words = " ".join(documents).split()
    return [" ".join(islice(cycle(words), start, start + WORDS_OF_FIXED)) for start in range(0, count * 97, 97)]
