"""Small workloads for tests of benchmarks: random vectors, texts and judgments, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.workloads.workload import About, Workload, write_strings, write_vectors
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

VOCABULARY = 500
WORDS = (
    "licitação contrato imposto município servidor recurso multa prazo sentença agravo obra saúde escola merenda veículo imóvel "
    "pensão férias greve salário empresa tributo crédito débito juros edital pregão fiança herança posse"
).split()


def make_workload(folder: Path, documents: int = 300, queries: int = 20, seed: int = 0) -> Workload:
    """A finished workload in `folder`: some documents share no term with some queries; every query has one relevant document or two.

    The first document holds one term alone, the second none, and the last query asks for terms that no document has.
    """
    random = np.random.default_rng(seed)
    held = list(_vectors(random, documents, 25))
    held[1] = SparseVector([], [])
    write_vectors(folder / "documents", SparseBatch.from_vectors(held))
    asked = list(_vectors(random, queries, 6))
    asked[-1] = SparseVector([VOCABULARY - 2, VOCABULARY - 1], [1.0, 0.5])
    write_vectors(folder / "queries", SparseBatch.from_vectors(asked))
    doc_ids, query_ids = [f"documento-{row}" for row in range(documents)], [f"q{row}" for row in range(queries)]
    write_strings(folder / "documents/ids.txt", doc_ids)
    write_strings(folder / "queries/ids.txt", query_ids)
    write_strings(folder / "documents/texts.txt", [_text(random, 12) for _ in range(documents)])
    write_strings(folder / "queries/texts.txt", [_text(random, 3) for _ in range(queries)])
    qrels = {query_id: {doc_ids[row]: 1 for row in random.integers(0, documents, 2).tolist()} for query_id in query_ids}
    about = About(name="small", model="synthetic", vocab_size=VOCABULARY, notes=("random",), settings={"seed": seed})
    return Workload.finish(folder, about, qrels)


def _vectors(random: np.random.Generator, count: int, terms: int) -> SparseBatch:
    """Zipf terms (few of them in most documents), gamma weights; two ids at the end of the vocabulary are never drawn."""
    shares = 1 / np.arange(1, VOCABULARY - 1)
    shares /= shares.sum()
    sizes = random.integers(1, 2 * terms, count)
    sizes[0] = 1
    drawn = [np.sort(random.choice(VOCABULARY - 2, size, replace=False, p=shares)) for size in sizes.tolist()]
    return SparseBatch.from_vectors([SparseVector(ids, random.gamma(1.2, 0.5, len(ids)) + 0.01) for ids in drawn])


def _text(random: np.random.Generator, words: int) -> str:
    """A line end within a text, an accent and a capital: what a reader of lines or a tokeniser may get wrong."""
    chosen: list[str] = random.choice(WORDS, random.integers(1, 2 * words)).tolist()
    return f"{chosen[0].capitalize()} {' '.join(chosen[1:])}\ndo município"
