"""Long documents with judgments: consecutive passages of a collection of short ones, glued together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from splade_ptbr_connectors.batches import batched
from splade_ptbr_connectors.errors import InputFileError
from splade_ptbr_connectors.evaluation.collections.beir import read_beir
from splade_ptbr_connectors.evaluation.qrels import Qrels
from splade_ptbr_connectors.records import Record
from splade_ptbr_connectors.sources import Row, open_source

BETWEEN = "\n\n"


@dataclass(frozen=True)
class Glued:
    """A collection of glued documents.

    Attributes:
        passages: as they were; `document_of[row]` is the row of the document that passage `row` went into.
        qrels: a document's grade is the best of its passages'.
    """

    name: str
    documents: list[Record]
    passages: list[Record]
    document_of: list[int]
    queries: dict[str, str]
    qrels: Qrels


def read_glued(folder: Path, split: str, size: int) -> Glued:
    """The documents of a BEIR folder, `size` of them as one, with the queries of a split. Raises InputFileError, ConfigError."""
    beir = read_beir(folder)
    judged = beir.split(split)
    passages = list(_records(folder / "corpus.jsonl"))
    parts = list(batched(passages, size))
    documents = [glue(part) for part in parts]
    document_of = [row for row, part in enumerate(parts) for _ in part]
    of_passage = {passage.doc_id: documents[row].doc_id for passage, row in zip(passages, document_of, strict=True)}
    return Glued(judged.name, documents, passages, document_of, judged.queries, _glued_qrels(judged.qrels, of_passage))


def glue(passages: Sequence[Record]) -> Record:
    """One document: the title is the first one's, later titles are headings in the text where they change."""
    parts, title = [passages[0].text], passages[0].title
    for before, passage in pairwise(passages):
        parts += [passage.title] if passage.title not in ("", before.title) else []
        parts.append(passage.text)
    return Record(passages[0].doc_id, title, BETWEEN.join(parts))


def _records(corpus: Path) -> Iterator[Record]:
    for row in open_source(str(corpus)):
        if not isinstance(row, Row):
            raise InputFileError(f"{corpus}, line {row.line}: {row.reason}")
        yield Record.from_mapping(row.raw)


def _glued_qrels(qrels: Qrels, of_passage: dict[str, str]) -> Qrels:
    glued: Qrels = {}
    for query_id, grades in qrels.items():
        best = glued.setdefault(query_id, {})
        for doc_id, grade in grades.items():
            if doc_id in of_passage:
                document = of_passage[doc_id]
                best[document] = max(best.get(document, 0), grade)
    return glued
