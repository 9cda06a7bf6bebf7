"""Random small collections, and how each format writes them: what the readers are compared with."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from splade_ptbr_connectors.evaluation.collections import mmarco, mrobust
from splade_ptbr_connectors.evaluation.qrels import Qrels

IDS = st.text(alphabet="abcXYZ019-_.:éç", min_size=1, max_size=8)
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\t\ufeff"), max_size=30)
WORDS = LINE.filter(lambda text: bool(text.strip()))
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@dataclass(frozen=True)
class Small:
    """Documents as (title, text) by id. Some judged documents are not there; some queries are not judged, or have nothing relevant."""

    documents: dict[str, tuple[str, str]]
    queries: dict[str, str]
    qrels: Qrels

    def contents(self) -> list[tuple[str, str]]:
        """What read_documents must give."""
        return [(doc_id, f"{title} {text}" if title else text) for doc_id, (title, text) in self.documents.items()]

    def measured(self, *, keep: bool) -> list[str]:
        """Ids of the queries that count, in the order of the judgments."""
        return [query_id for query_id, grades in self.qrels.items() if keep or any(grade > 0 for grade in grades.values())]


@st.composite
def small_collections(draw: Any, *, titles: bool = False) -> Small:
    """At least one query has a relevant document that is there. With titles, texts may hold line ends."""
    text = ANY if titles else LINE
    title = ANY if titles else st.just("")
    documents = draw(st.dictionaries(IDS, st.tuples(title, text), min_size=1, max_size=8))
    if titles:  # a record needs one of them
        documents = {doc_id: (t, x) if (t + x).strip() else (t, "x") for doc_id, (t, x) in documents.items()}
    queries = draw(st.dictionaries(IDS, WORDS, min_size=1, max_size=6))
    doc_ids, query_ids = st.one_of(st.sampled_from(sorted(documents)), IDS), st.sampled_from(sorted(queries))
    qrels = draw(st.dictionaries(query_ids, st.dictionaries(doc_ids, st.integers(-1, 2), min_size=1, max_size=4)))
    qrels.setdefault(draw(query_ids), {})[draw(st.sampled_from(sorted(documents)))] = draw(st.integers(1, 2))
    return Small(documents, queries, qrels)


def write(path: Path, text: str) -> Path:
    """UTF-8, packed where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_beir(folder: Path, small: Small, *, split: str = "test", suffix: str = "") -> Path:
    corpus = [{"_id": doc_id, "title": title, "text": text} for doc_id, (title, text) in small.documents.items()]
    write(folder / f"corpus.jsonl{suffix}", _json_lines(corpus))
    write(folder / f"queries.jsonl{suffix}", _json_lines([{"_id": query_id, "text": text} for query_id, text in small.queries.items()]))
    judged = [f"{query_id}\t{doc_id}\t{grade}\n" for query_id, grades in small.qrels.items() for doc_id, grade in grades.items()]
    write(folder / f"qrels/{split}.tsv{suffix}", "query-id\tcorpus-id\tscore\n" + "".join(judged))
    return folder


def write_tsv(folder: Path, small: Small, names: dict[str, str]) -> Path:
    """`id TAB text` for documents and queries, TREC's judgments: mRobust, mMARCO and what ir_datasets can read."""
    write(folder / names["documents"], "".join(f"{doc_id}\t{content}\n" for doc_id, content in small.contents()))
    write(folder / names["queries"], "".join(f"{query_id}\t{text}\n" for query_id, text in small.queries.items()))
    judged = [f"{query_id} 0 {doc_id} {grade}\n" for query_id, grades in small.qrels.items() for doc_id, grade in grades.items()]
    write(folder / names["qrels"], "".join(judged))
    return folder


NAMES = {
    "mrobust": [mrobust.ON_HUB, {"documents": "collection.tsv.gz", "queries": "queries.tsv", "qrels": "qrels.robust2004.txt"}],
    "mmarco": [mmarco.ON_HUB, {"documents": "collection.tsv", "queries": "queries.dev.small.tsv.gz", "qrels": "qrels.dev.small.tsv"}],
}
"""Kind -> layouts of its files: the hub's, and another one."""

EXAMPLE = Small(
    documents={"d1": ("", "imposto de renda"), "d2": ("", "vacina"), "d3": ("", " ")},
    queries={"301": "imposto", "672": "mamíferos", "302": "vacina", "303": "café"},
    qrels={"302": {"d2": 2, "gone": 1}, "301": {"d1": 1, "d2": 0}, "672": {"d2": 0, "away": 0}},
)
"""303 is not judged, 672 has no relevant document, two judgments are of documents that are not there, d3 is blank."""

FILLED = Small({**EXAMPLE.documents, "d3": ("", "café")}, EXAMPLE.queries, EXAMPLE.qrels)
"""Without the blank document, which BEIR's layout does not allow."""


def _json_lines(values: list[dict[str, str]]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
