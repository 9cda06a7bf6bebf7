"""Encode, ingest, search through LangChain, measure beside BM25: the main job, on the sample collection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..evaluation.bm25 import StemmedBm25
from ..evaluation.evaluate import evaluate
from ..evaluation.measures import measure
from ..evaluation.qrels import read_qrels
from ..evaluation.queries import read_queries
from ..ingestion.engine import ingest
from ..langchain import SpladeRetriever
from ..records import Record
from ..retrieval import explain_hits
from ..stores.base import Hit
from .sample import QRELS, QUERIES, read_corpus

if TYPE_CHECKING:
    from langchain_core.documents import Document

    from ..stores.base import Store

MEASURE = "nDCG@10"
BM25 = "stemmed BM25"
SHOWN_QUERIES = ("q02", "q03", "q05", "q27", "q51")
HITS_PER_QUERY = 3


def load_sample(store: Store) -> dict[str, Any]:
    """Encode the sample passages and load them into the store; passages that are there already are skipped."""
    return ingest(read_corpus(), store).to_dict()


def ask(store: Store) -> list[dict[str, Any]]:
    """A few questions through the LangChain retriever; each hit with its score and the words that made it match."""
    queries = read_queries(QUERIES)
    retriever = SpladeRetriever(store=store, k=HITS_PER_QUERY)
    return [_ask(store, retriever, queries[query_id]) for query_id in SHOWN_QUERIES]


def _ask(store: Store, retriever: SpladeRetriever, question: str) -> dict[str, Any]:
    started = time.perf_counter()
    found = retriever.search_with_scores(question)
    latency_ms = 1000 * (time.perf_counter() - started)
    hits = [_hit(document, score) for document, score in found]
    explanations = explain_hits(store, question, [Hit(hit["doc_id"], hit["score"], {}) for hit in hits])
    for hit, explanation in zip(hits, explanations, strict=True):
        hit["words"] = explanation.to_dict()["words"] if explanation is not None else []
    return {"question": question, "latency_ms": latency_ms, "hits": hits}


def _hit(document: Document, score: float) -> dict[str, Any]:
    return {"doc_id": document.id, "score": score, "title": document.metadata.get("title", ""), "text": document.page_content}


def compare(store: Store) -> dict[str, Any]:
    """The sample's nDCG@10 of the store and of stemmed BM25, over the same judged queries."""
    qrels, queries = read_qrels(QRELS), read_queries(QUERIES)
    judged = {query_id: queries[query_id] for query_id in qrels}
    records = map(Record.from_mapping, read_corpus())
    bm25 = StemmedBm25((record.doc_id, record.content) for record in records)
    systems = {
        store.encoder.name: evaluate(store, queries, qrels).effectiveness.means[MEASURE],
        BM25: measure(bm25.run(judged), qrels).means[MEASURE],
    }
    return {"measure": MEASURE, "queries": len(qrels), "systems": systems}
