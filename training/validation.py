"""Measuring a model: exact sparse dot products, measures by ir-measures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from training.bm25 import StemmedBm25, Stems
from training.data import Evaluation
from training.model import TableEncoder
from training.vocabulary import build_tokenizer, encode

logger = logging.getLogger(__name__)
NDCG10 = ir_measures.parse_measure("nDCG@10")


@dataclass(frozen=True)
class Result:
    """nDCG@10 of one split, with the mean number of terms per vector and the vectors without any."""

    name: str
    ndcg10: float
    terms_query: float
    terms_document: float
    empty_documents: int
    queries: int


@dataclass(frozen=True)
class Limits:
    """Lengths and pruning in force when texts are encoded."""

    length_query: int = 128
    length_document: int = 512
    min_weight_document: float = 0.0
    max_terms_document: int | None = None


def top_run(scores: NDArray[np.float32], query_ids: Sequence[str], doc_ids: Sequence[str], depth: int = 100) -> dict[str, dict[str, float]]:
    """The best documents of each query with a score above 0; ties in document order."""
    run: dict[str, dict[str, float]] = {}
    for query_id, row in zip(query_ids, scores, strict=True):
        order = np.argsort(-row, kind="stable")[:depth]
        # a tie keeps document order in every measure: scores are made strictly decreasing by rank
        run[query_id] = {doc_ids[i]: float(len(order) - rank) for rank, i in enumerate(order) if row[i] > 0}
    return run


def ndcg10(run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, int]]) -> float:
    """Mean nDCG@10 over the judged queries; a query without any hit counts 0."""
    filled = {query_id: dict(run.get(query_id) or {"": 0.0}) for query_id in qrels}
    return float(ir_measures.calc_aggregate([NDCG10], {q: dict(j) for q, j in qrels.items()}, filled)[NDCG10])


def prune(vectors: sparse.csr_matrix, *, min_weight: float, max_terms: int | None) -> sparse.csr_matrix:
    """Drops weights <= min_weight, then all but the `max_terms` largest of a row (the lower id wins a tie)."""
    pruned = vectors.copy()
    pruned.data[pruned.data <= min_weight] = 0
    if max_terms is not None:
        for row in range(pruned.shape[0]):
            data = pruned.data[pruned.indptr[row] : pruned.indptr[row + 1]]
            data[np.argsort(-data, kind="stable")[max_terms:]] = 0
    pruned.eliminate_zeros()
    return pruned


@torch.no_grad()
def encode_documents(model: TableEncoder, rows: Sequence[NDArray[np.int32]], *, batch_size: int = 32) -> sparse.csr_matrix:
    """[D, V] document vectors, encoded in order of length, given back in the order they came."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    parts = []
    for start in range(0, len(order), batch_size):
        batch = [rows[i] for i in order[start : start + batch_size]]
        parts.append(sparse.csr_matrix(model.documents(batch).numpy()))
    return sparse.vstack(parts).tocsr()[np.argsort(order, kind="stable")]


@torch.no_grad()
def measure(model: TableEncoder, vocabulary: Sequence[str], evaluation: Evaluation, limits: Limits) -> Result:
    """nDCG@10 of a model on one split."""
    tokenizer = build_tokenizer(vocabulary)
    documents = encode_documents(model, encode(tokenizer, evaluation.documents.values(), max_length=limits.length_document))
    documents = prune(documents, min_weight=limits.min_weight_document, max_terms=limits.max_terms_document)
    asked = encode(tokenizer, evaluation.queries.values(), max_length=limits.length_query)
    queries = sparse.csr_matrix(model.queries(asked).numpy())
    scores = np.asarray((queries @ documents.T).todense())
    run = top_run(scores, list(evaluation.queries), list(evaluation.documents))
    return Result(
        name=evaluation.name,
        ndcg10=ndcg10(run, evaluation.qrels),
        terms_query=float(np.diff(queries.indptr).mean()),
        terms_document=float(np.diff(documents.indptr).mean()),
        empty_documents=int((np.diff(documents.indptr) == 0).sum()),
        queries=len(evaluation.queries),
    )


def measure_bm25(evaluation: Evaluation) -> float:
    """nDCG@10 of stemmed BM25 (k1 1.2, b 0.75, Snowball stop words and stemmer) on one split."""
    stems = Stems()
    documents = stems.all(evaluation.documents.values())
    queries = stems.all(evaluation.queries.values())
    scores = StemmedBm25(documents).scores(queries, documents)
    return ndcg10(top_run(scores, list(evaluation.queries), list(evaluation.documents)), evaluation.qrels)
