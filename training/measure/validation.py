"""Measuring an encoder on a judged collection: ranking measures, and how sparse and how evenly spread its vectors are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from splade_ptbr_connectors.batches import batched
from splade_ptbr_connectors.errors import ConfigError, InputError, TrainingError, VectorError
from splade_ptbr_connectors.evaluation.bm25 import StemmedBm25
from splade_ptbr_connectors.evaluation.collections import JudgedCollection
from splade_ptbr_connectors.evaluation.measures import Effectiveness, parse_measure
from splade_ptbr_connectors.evaluation.measures import measure as measure_effectiveness
from splade_ptbr_connectors.vectors import SMALLEST_WEIGHT
from training.measure.exact_search import Hits, StreamingSearch, TermCounts, checked, evaluation_flops

Encode = Callable[[list[str]], sparse.csr_matrix]
"""Texts to vectors [n, V]; what a text gives must not depend on the texts beside it."""
HOT_TERMS = 10


@dataclass(frozen=True)
class Pruning:
    """What is cut from vectors before they are searched, by the rule of the saved model (SparseVector.prune)."""

    min_weight_document: float = 0.0
    max_terms_document: int | None = None
    min_weight_query: float = 0.0
    max_terms_query: int | None = None


@dataclass(frozen=True)
class Measured:
    """What one collection says about an encoder.

    Attributes:
        name: of the collection.
        metric: the measure that `quality` is the mean of.
        measures: mean of every measure over `queries`; a query without hits counts as 0.
        per_query: query id -> measure -> value, for significance tests.
        queries: the denominator of the means: judged queries with a relevant document.
        judged_queries: all queries of the judgments.
        documents: documents searched.
        unanswered: queries without any hit.
        terms_query, terms_document: mean number of terms, empty vectors included.
        empty_queries, empty_documents: vectors without any term.
        postings: terms of all documents together.
        evaluation_flops: sum over terms of the product of their shares of queries and of documents (arXiv 2004.05665).
        dead_terms: terms of the vocabulary in no document and no query.
        hot_terms: (term_id, share of the documents that have it) of the most frequent terms, most frequent first.
        seconds: wall time, encoding included.
    """

    name: str
    metric: str
    measures: dict[str, float]
    per_query: dict[str, dict[str, float]]
    queries: int
    judged_queries: int
    documents: int
    unanswered: int
    terms_query: float
    terms_document: float
    empty_queries: int
    empty_documents: int
    postings: int
    evaluation_flops: float
    dead_terms: int
    hot_terms: tuple[tuple[int, float], ...]
    seconds: float

    @property
    def quality(self) -> float:
        """Mean of the metric."""
        return self.measures[self.metric]

    def by_kind(self, kinds: Mapping[str, str]) -> dict[str, dict[str, float]]:
        """Kind -> its number of queries and the means over them, for queries that have a kind."""
        found: dict[str, list[dict[str, float]]] = {}
        for query_id, values in self.per_query.items():
            if query_id in kinds:
                found.setdefault(kinds[query_id], []).append(values)
        return {
            kind: {"queries": len(rows)} | {name: float(np.mean([row[name] for row in rows])) for name in self.measures}
            for kind, rows in sorted(found.items())
        }

    def to_dict(self, token_of: Callable[[int], str]) -> dict[str, Any]:
        """The split's entry in training.jsonl: everything but the values per query; `token_of` names a term id."""
        left_out = {"name", "metric", "per_query"}
        values = {name: value for name, value in vars(self).items() if name not in left_out}
        hot = [[token_of(term_id), share] for term_id, share in self.hot_terms]
        return {"quality": self.quality} | values | {"hot_terms": hot}


def measure(
    encode_queries: Encode,
    encode_documents: Encode,
    collection: JudgedCollection,
    *,
    vocab_size: int,
    metric: str,
    further: Sequence[str] = (),
    depth: int | None = None,
    pruning: Pruning | None = None,
    batch_texts: int = 32,
    block_texts: int = 2048,
) -> Measured:
    """Encode, search exactly and measure. Memory holds the queries, the best hits and one block of documents.

    Args:
        encode_queries, encode_documents: see Encode.
        collection: what is searched and who judged it.
        vocab_size: V.
        metric: a measure of ir-measures with a cut-off, such as "nDCG@10" or "RR@10".
        further: more of them, computed on the same ranking.
        depth: documents retrieved per query; None: the largest cut-off.
        pruning: None: vectors are searched as they come.
        batch_texts: texts per call of an encoder.
        block_texts: texts that are sorted by length together, so that calls see texts of like length.

    Raises:
        ConfigError: a measure without cut-off or unknown, a depth below a cut-off, a size below 1.
        InputError: the collection has no documents.
        TrainingError: an encoder gave NaN or infinity.
        VectorError: an encoder gave negative weights, another number of vectors than texts, or another vocabulary.
    """
    began = time.perf_counter()
    names = tuple(dict.fromkeys(canonical_measure(name) for name in (metric, *further)))
    top_k = retrieval_depth(names, depth)
    if batch_texts < 1 or block_texts < 1:
        raise ConfigError(f"batch_texts is {batch_texts} and block_texts is {block_texts}: both must be at least 1.")
    cut = pruning or Pruning()
    query_counts, document_counts = TermCounts(vocab_size), TermCounts(vocab_size)
    sizes = {"vocab_size": vocab_size, "batch_texts": batch_texts, "block_texts": block_texts}
    query_blocks = _encoded(encode_queries, collection.queries.items(), "query", **sizes)
    queries = sparse.vstack([prune(rows, cut.min_weight_query, cut.max_terms_query) for _, rows in query_blocks], format="csr")
    query_counts.add(queries)
    search = StreamingSearch(queries, list(collection.queries), top_k)
    for doc_ids, rows in _encoded(encode_documents, collection.documents(), "document", **sizes):
        kept = prune(rows, cut.min_weight_document, cut.max_terms_document)
        document_counts.add(kept)
        search.add(doc_ids, kept)
    if not document_counts.vectors:
        raise InputError(f"{collection.name} has no documents: nothing can be searched.")
    found = measure_hits(search.run(), collection, names)
    return measured_of(collection, names[0], found, query_counts, document_counts, time.perf_counter() - began)


def measured_of(
    collection: JudgedCollection, metric: str, found: Effectiveness, queries: TermCounts, documents: TermCounts, seconds: float
) -> Measured:
    return Measured(
        name=collection.name,
        metric=metric,
        measures=found.means,
        per_query=found.per_query,
        queries=found.queries,
        judged_queries=collection.counts.judged_queries,
        documents=documents.vectors,
        unanswered=found.unanswered,
        terms_query=queries.mean_terms,
        terms_document=documents.mean_terms,
        empty_queries=queries.empty,
        empty_documents=documents.empty,
        postings=documents.postings,
        evaluation_flops=evaluation_flops(queries, documents),
        dead_terms=int(((queries.frequencies == 0) & (documents.frequencies == 0)).sum()),
        hot_terms=hot_terms(documents),
        seconds=seconds,
    )


# -- measures -------------------------------------------------------------------------------------------------------------


def canonical_measure(name: str) -> str:
    """A measure as ir-measures writes it.

    Raises:
        ConfigError: unknown, not available here, or without a cut-off: a mean that is called @10 must stop at 10.
    """
    parsed = parse_measure(name)
    if "cutoff" not in parsed.params:
        raise ConfigError(f"{name!r} has no cut-off: say how many documents count, as in {parsed.NAME}@10.")
    if parsed.params.get("judged_only"):
        raise ConfigError(f"{name!r} leaves out unjudged documents, so no number of retrieved documents is enough: drop judged_only.")
    return str(parsed)


def retrieval_depth(measures: Iterable[str], depth: int | None = None) -> int:
    """Documents to retrieve per query: `depth`, or the largest cut-off. Raises ConfigError when a cut-off lies deeper."""
    cut_offs = {name: int(parse_measure(name)["cutoff"]) for name in measures}
    deepest = max(cut_offs, key=lambda name: cut_offs[name])
    if depth is not None and depth < cut_offs[deepest]:
        raise ConfigError(f"depth is {depth}, {deepest} needs {cut_offs[deepest]} documents per query: retrieve at least as many.")
    return cut_offs[deepest] if depth is None else depth


def measure_hits(run: Mapping[str, Hits], collection: JudgedCollection, measures: Sequence[str]) -> Effectiveness:
    """Measure rankings, best first: means over the collection's queries, a query without hits counts as 0."""
    return measure_effectiveness({query_id: dict(hits) for query_id, hits in run.items()}, collection.qrels, measures)


def measure_bm25(collection: JudgedCollection, metric: str, further: Sequence[str] = ()) -> Effectiveness:
    """The same measures of stemmed BM25 (k1 1.2, b 0.75), the baseline; every document is held in memory."""
    names = tuple(dict.fromkeys(canonical_measure(name) for name in (metric, *further)))
    run = StemmedBm25(collection.documents()).run(collection.queries, retrieval_depth(names))
    return measure_hits({query_id: list(found.items()) for query_id, found in run.items()}, collection, names)


# -- vectors --------------------------------------------------------------------------------------------------------------


def prune(vectors: sparse.csr_matrix, min_weight: float = 0.0, max_terms: int | None = None) -> sparse.csr_matrix:
    """Keep weights >= min_weight and of those the `max_terms` largest of a row (ties: lower term id first).

    Row for row what SparseVector.prune gives, and like SparseVector without weights too small for a normal float32.
    """
    rows = np.repeat(np.arange(vectors.shape[0]), np.diff(vectors.indptr))
    kept = vectors.data >= np.float32(max(min_weight, SMALLEST_WEIGHT))
    if max_terms is not None:
        order = np.lexsort((vectors.indices, -vectors.data, rows))
        rank = np.empty(vectors.nnz, dtype=np.int64)
        rank[order] = np.arange(vectors.nnz) - np.repeat(vectors.indptr[:-1], np.diff(vectors.indptr))
        kept &= rank < max_terms
    if kept.all():
        return vectors
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=vectors.shape[0]))])
    return sparse.csr_matrix((vectors.data[kept], vectors.indices[kept], indptr), shape=vectors.shape)


def hot_terms(counts: TermCounts, number: int = HOT_TERMS) -> tuple[tuple[int, float], ...]:
    """(term_id, share of the vectors that have it) of the most frequent terms; ties: lower term id first."""
    order = np.argsort(-counts.frequencies, kind="stable")[:number]
    return tuple((int(term_id), float(counts.shares[term_id])) for term_id in order if counts.frequencies[term_id])


def _encoded(
    encode: Encode, texts: Iterable[tuple[str, str]], what: str, *, vocab_size: int, batch_texts: int, block_texts: int
) -> Iterator[tuple[list[str], sparse.csr_matrix]]:
    """Blocks of (ids, vectors), in the order of the texts."""
    for block in batched(texts, block_texts):
        ids = [text_id for text_id, _ in block]
        # longest first: a batch that does not fit into memory is met at once
        order = sorted(range(len(block)), key=lambda place: -len(block[place][1]))
        parts = []
        for start in range(0, len(order), batch_texts):
            places = order[start : start + batch_texts]
            vectors = encode([block[place][1] for place in places])
            parts.append(_checked(vectors, [ids[place] for place in places], what, vocab_size))
        yield ids, sparse.vstack(parts, format="csr")[np.argsort(order)]


def _checked(given: sparse.csr_matrix, ids: Sequence[str], what: str, vocab_size: int) -> sparse.csr_matrix:
    vectors = sparse.csr_matrix(given)
    if vectors.shape[0] != len(ids):
        raise VectorError(f"the encoder gave {vectors.shape[0]} vectors for {len(ids)} texts ({what} {ids[0]!r} ...): one each is needed.")
    broken = np.flatnonzero(~np.isfinite(vectors.data))
    if len(broken):
        row = int(np.searchsorted(vectors.indptr, broken[0], side="right")) - 1
        raise TrainingError(
            f"the model gave NaN or infinite weights for {what} {ids[row]!r}: it has diverged. Go back to an earlier checkpoint with a "
            "lower learning rate, or use a more precise number format."
        )
    return checked(vectors, vocab_size)
