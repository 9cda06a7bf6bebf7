"""The texts that the sentence encoder learns from: no judgments, and nothing that a dev or test query is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splade_ptbr_connectors.evaluation.files import bad_line
from splade_ptbr_connectors.sources import Broken, open_source
from training.recipe.concepts import Concepts
from training.words.counts import read_paragraphs
from training.words.material import TrainCollection
from training.words.thesaurus import Line, read_thesaurus

_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+")
SENTENCE_WORDS = range(5, 31)
PASSAGE_CHARACTERS = range(60, 1200)
_RELATED = 4


@dataclass(frozen=True)
class Texts:
    """Short texts that stand for queries, and passages.

    Attributes:
        queries: those of the collections first, then those of pairs, then sentences and lines of the thesaurus.
        pairs: (query, passage) of the weak pairs that are among them.
        of_collections, asked: how many queries there are of the first kind, and of the first two.
        documents_of_collections: how many passages, which come first.
    """

    queries: list[str]
    documents: list[str]
    pairs: list[tuple[str, str]]
    of_collections: int
    asked: int
    documents_of_collections: int


def gather_texts(section: Concepts, collections: Sequence[TrainCollection], thesaurus: Path | None, texts: Path, data_dir: Path) -> Texts:
    """Training queries and passages, weak pairs, sentences and passages of text, and the lines of the thesaurus. Raises InputFileError."""
    rng = np.random.default_rng(section.seed)
    pairs = list(_read_pairs(data_dir / section.pairs)) if section.pairs else []
    order = rng.permutation(len(pairs))
    paragraphs = [text for text in read_paragraphs(texts, section.paragraphs) if len(text) in PASSAGE_CHARACTERS]
    passages = _some(paragraphs, section.passages, rng)
    weak = [pairs[n] for n in order[: max(section.pair_queries, section.pair_documents)]]
    of_collections = _distinct(query for one in collections for query, _ in one.queries)
    asked = _distinct([*of_collections, *(query for query, _ in weak[: section.pair_queries])])
    queries = [
        *asked,
        *_some(_sentences([*paragraphs, *(document for _, document in pairs)], rng), section.sentences, rng),
        *(text for line in (read_thesaurus(thesaurus) if thesaurus else []) for text in _spoken(line)),
    ]
    collected = _distinct(document for one in collections for document in one.documents.values())
    documents = [
        *collected,
        *(document for _, document in weak[: section.pair_documents]),
        *passages,
    ]
    both = [pair for pair in weak[: min(section.pair_queries, section.pair_documents)] if all(text.strip() for text in pair)]
    return Texts(_distinct(queries), _distinct(documents), both, len(of_collections), len(asked), len(collected))


def _read_pairs(path: Path) -> Iterator[tuple[str, str]]:
    """(query, positive) of JSONL."""
    for row in open_source(path, format="jsonl"):
        if isinstance(row, Broken):
            bad_line(path, row.line, row.reason)
        query, document = (row.raw.get(name) if isinstance(row.raw, dict) else None for name in ("query", "positive"))
        if not (isinstance(query, str) and isinstance(document, str)):
            bad_line(path, row.line, 'expected {"query", "positive"} with texts.')
        yield query, document


def _sentences(texts: Iterable[str], rng: np.random.Generator) -> list[str]:
    """A sentence of usual length out of each text that has one."""
    found = []
    for text in texts:
        usual = [sentence for sentence in _SENTENCE_END.split(text) if len(sentence.split()) in SENTENCE_WORDS]
        if usual:
            found.append(usual[rng.integers(len(usual))])
    return found


def _spoken(line: Line) -> Iterator[str]:
    """A sense of the thesaurus as two short texts."""
    yield ", ".join([line.headword, *line.equivalents])
    if line.related:
        yield " ".join([line.headword, *line.related[:_RELATED]])


def _some(texts: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    return [texts[n] for n in np.sort(rng.permutation(len(texts))[:count])]


def _distinct(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text.strip()]
