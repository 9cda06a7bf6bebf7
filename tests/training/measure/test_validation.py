"""Measures against values worked out by hand and against ir-measures on the full ranking; statistics against a plain count."""

from __future__ import annotations

import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from splade_ptbr_connectors.errors import ConfigError, InputError, TrainingError, VectorError
from splade_ptbr_connectors.evaluation.collections import JudgedCollection, collection_in_memory
from splade_ptbr_connectors.vectors import SparseVector
from training.loop.collapse import CollapseGuard
from training.loop.selection import Ceilings, Choice
from training.measure.validation import (
    Encode,
    Measured,
    Pruning,
    canonical_measure,
    measure,
    measure_bm25,
    measure_hits,
    prune,
    retrieval_depth,
)

VOCAB_SIZE = 32
words = st.text("abcdef", min_size=1, max_size=2)
texts = st.lists(words, max_size=6).map(" ".join)


def term_of(word: str) -> int:
    return zlib.crc32(word.encode()) % VOCAB_SIZE


def encode(batch: list[str]) -> sparse.csr_matrix:
    """Counts of hashed words, and a weight of its own for each word so that scores differ."""
    dense = np.zeros((len(batch), VOCAB_SIZE), dtype=np.float32)
    for row, text in enumerate(batch):
        for word in text.split():
            dense[row, term_of(word)] += 1 + zlib.crc32(word.encode()) % 5 / 4
    return sparse.csr_matrix(dense)


def table(rows: dict[str, list[float]]) -> Encode:
    """An encoder that knows the vectors of its texts."""

    def look_up(batch: list[str]) -> sparse.csr_matrix:
        return sparse.csr_matrix(np.array([rows[text] for text in batch], dtype=np.float32))

    return look_up


def made(documents: Sequence[str], queries: Sequence[str], grades: Sequence[int]) -> JudgedCollection | None:
    """A collection whose grades are dealt to (query, document) pairs in turn; None when nothing is relevant."""
    turn = iter([*grades] * (1 + len(documents) * len(queries)))
    qrels = {f"q{q}": {f"d{d}": next(turn) for d in range(len(documents))} for q in range(len(queries))}
    if not any(grade > 0 for judged in qrels.values() for grade in judged.values()):
        return None
    named = {f"q{q}": text for q, text in enumerate(queries)}
    return collection_in_memory("made", {f"d{d}": text for d, text in enumerate(documents)}, named, qrels)


collections = st.builds(
    made,
    st.lists(texts, min_size=1, max_size=9),
    st.lists(texts, min_size=1, max_size=4),
    st.lists(st.integers(0, 2), min_size=1, max_size=5),
).filter(lambda collection: collection is not None)


def measured(collection: JudgedCollection, **options: object) -> Measured:
    settings = {"vocab_size": VOCAB_SIZE, "metric": "nDCG@10", "further": ("RR@10", "R@100")} | options
    return measure(encode, encode, collection, **settings)  # type: ignore[arg-type]


# -- quality --------------------------------------------------------------------------------------------------------------


def test_values_worked_out_by_hand() -> None:
    """Ranking of q1: c (grade 0), b (1), z (not judged), a (2); q2 finds nothing; q3 is perfect."""
    documents = {"a": [1, 0, 0], "b": [3, 0, 0], "c": [4, 0, 0], "z": [2, 0, 0], "x": [0, 1, 0]}
    queries = {"q1": [1, 0, 0], "q2": [0, 0, 1], "q3": [0, 1, 0]}
    qrels = {"q1": {"a": 2, "b": 1, "c": 0}, "q2": {"a": 1}, "q3": {"x": 1}}
    collection = collection_in_memory("hand", {d: d for d in documents}, {q: q for q in queries}, qrels)
    look_up = table({**documents, **queries})
    found = measure(look_up, look_up, collection, vocab_size=3, metric="nDCG@10", further=["RR@10", "RR@1", "R@3"])
    ndcg_q1 = (1 / math.log2(3) + 2 / math.log2(5)) / (2 + 1 / math.log2(3))
    assert found.measures == pytest.approx({"nDCG@10": (ndcg_q1 + 1) / 3, "RR@10": 0.5, "RR@1": 1 / 3, "R@3": 0.5})
    assert found.quality == found.measures["nDCG@10"]
    assert found.per_query["q1"] == pytest.approx({"nDCG@10": ndcg_q1, "RR@10": 0.5, "RR@1": 0.0, "R@3": 0.5})
    assert set(found.per_query["q2"].values()) == {0.0}
    assert (found.queries, found.unanswered, found.documents) == (3, 1, 5)


def test_the_mean_is_over_queries_with_a_relevant_document_and_both_denominators_are_told() -> None:
    qrels = {"q0": {"d0": 1}, "672": {"d0": 0, "d1": 0}}
    collection = collection_in_memory("robust", {"d0": "a", "d1": "b"}, {"q0": "a", "672": "b"}, qrels)
    found = measured(collection)
    assert (found.queries, found.judged_queries, found.quality) == (1, 2, 1.0)


@given(collections)
def test_quality_equals_ir_measures_on_the_full_ranking(collection: JudgedCollection) -> None:
    """Where no two scores of a query are equal; what happens to ties is tested below."""
    documents = dict(collection.documents())
    scores = (encode(list(collection.queries.values())) @ encode(list(documents.values())).T).toarray().astype(np.float64)
    scores += (
        np.arange(len(documents), 0, -1) * 1e-3 * (scores > 0)
    )  # equal scores: the earlier document is better (trec_eval reads float32)
    run = [
        ir_measures.ScoredDoc(query_id, doc_id, score)
        for query_id, row in zip(collection.queries, scores.tolist(), strict=True)
        for doc_id, score in zip(documents, row, strict=True)
        if score > 0
    ]
    qrels = [ir_measures.Qrel(query_id, doc_id, grade) for query_id, judged in collection.qrels.items() for doc_id, grade in judged.items()]
    found = measured(collection, further=("RR@10", "R@100", "AP@100", "P@3"))
    for name, mean in found.measures.items():
        # ir-measures leaves queries without hits out of what it yields: they are zeros of the same denominator
        values = [value.value for value in ir_measures.iter_calc([ir_measures.parse_measure(name)], qrels, run)] if run else []
        assert mean == pytest.approx(sum(values) / len(collection.queries), abs=1e-12)


@pytest.mark.parametrize("order", [["a", "z"], ["z", "a"]])
@pytest.mark.parametrize("metric", ["nDCG@1", "RR@1", "P@1", "AP@1"])
def test_ties_keep_the_order_of_the_collection_in_every_measure(order: list[str], metric: str) -> None:
    """ir-measures itself would put the larger id first, except for RR@k, where the smaller comes first."""
    for relevant in order:
        collection = collection_in_memory("ties", dict.fromkeys(order, "same"), {"q": "same"}, {"q": {relevant: 1}})
        assert measured(collection, metric=metric).quality == (1.0 if relevant == order[0] else 0.0)


@given(collections, st.integers(1, 5), st.integers(1, 12))
def test_no_block_size_changes_a_result(collection: JudgedCollection, batch: int, block: int) -> None:
    pruning = Pruning(min_weight_document=1.25, max_terms_document=3, max_terms_query=2)
    cut = measured(collection, pruning=pruning, batch_texts=batch, block_texts=block)
    assert replace(cut, seconds=0.0) == replace(measured(collection, pruning=pruning), seconds=0.0)


def test_a_deeper_ranking_does_not_change_a_measure_with_a_cut_off() -> None:
    collection = made([f"a {'b ' * n}" for n in range(30)], ["b"], [0, 0, 1])
    assert collection is not None
    shallow, deep = (measured(collection, metric="nDCG@5", further=(), depth=depth).measures for depth in (5, 30))
    assert shallow == deep
    assert 0 < shallow["nDCG@5"] < 1


@pytest.mark.parametrize("name", ["RR", "nDCG", "AP", "Rprec", "SetP", "NumRet", "IPrec@0.1", "RR@0", "nDCG@0"])
def test_a_measure_without_a_cut_off_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="has no cut-off"):
        canonical_measure(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nDCG10", "not a measure"),
        ("", "not a measure"),
        ("nDCG@-1", "not a measure"),
        ("nDCG(judged_only=True)@10", "judged_only"),
        ("RBP(p=0.8)@10", "computed here"),
    ],
)
def test_a_measure_that_cannot_be_computed_is_refused_before_anything_is_encoded(name: str, message: str) -> None:
    collection = made(["a"], ["a"], [1])
    assert collection is not None

    def never(_: list[str]) -> sparse.csr_matrix:
        raise AssertionError("encoded")

    with pytest.raises(ConfigError, match=message):
        measure(never, never, collection, vocab_size=VOCAB_SIZE, metric=name)


def test_the_depth_must_reach_the_deepest_cut_off() -> None:
    assert retrieval_depth(["nDCG@10", "R@100"]) == 100
    assert retrieval_depth(["nDCG@10"], 1000) == 1000
    with pytest.raises(ConfigError, match="R@100 needs 100"):
        retrieval_depth(["nDCG@10", "R@100"], 99)


def test_spellings_of_a_measure_are_one_measure() -> None:
    collection = made(["a"], ["a"], [1])
    assert collection is not None
    found = measured(collection, metric="NDCG@10", further=["nDCG@10", "nDCG(cutoff=10)", "MRR@10"])
    assert found.measures == {"nDCG@10": 1.0, "RR@10": 1.0}
    assert found.metric == "nDCG@10"


def test_measure_hits_takes_rankings_as_they_are_ordered() -> None:
    collection = made(["a", "a"], ["a"], [0, 1])
    assert collection is not None
    assert measure_hits({"q0": [("d0", 1.0), ("d1", 1.0)]}, collection, ["RR@10"]).means == {"RR@10": 0.5}
    assert measure_hits({"q0": [("d1", 1.0), ("d0", 1.0)]}, collection, ["RR@10"]).means == {"RR@10": 1.0}
    assert measure_hits({}, collection, ["RR@10"]).means == {"RR@10": 0.0}


def test_bm25_is_measured_on_the_same_queries_with_the_same_measures() -> None:
    documents = {"d1": "imposto sobre a renda", "d2": "peixes do oceano", "d3": "escola pública"}
    qrels = {"q1": {"d1": 1}, "q2": {"d3": 1}, "q3": {"d1": 0}}
    queries = {"q1": "impostos", "q2": "oceanos", "q3": "renda"}
    found = measure_bm25(collection_in_memory("bm25", documents, queries, qrels), "RR@10", ["nDCG@10"])
    assert found.means == {"RR@10": 0.5, "nDCG@10": 0.5}
    with pytest.raises(ConfigError, match="cut-off"):
        measure_bm25(collection_in_memory("bm25", documents, queries, qrels), "RR")


# -- vectors --------------------------------------------------------------------------------------------------------------


@given(collections)
def test_statistics_equal_a_plain_count(collection: JudgedCollection) -> None:
    found = measured(collection)
    queries = [{term_of(word) for word in text.split()} for text in collection.queries.values()]
    documents = [{term_of(word) for word in text.split()} for _, text in collection.documents()]
    assert found.terms_query == pytest.approx(sum(map(len, queries)) / len(queries))
    assert found.terms_document == pytest.approx(sum(map(len, documents)) / len(documents))
    assert found.postings == sum(map(len, documents))
    assert (found.empty_queries, found.empty_documents) == (queries.count(set()), documents.count(set()))
    assert found.dead_terms == VOCAB_SIZE - len(set().union(*queries, *documents))
    frequency = Counter(term for document in documents for term in document)
    expected = sorted(((term, count / len(documents)) for term, count in frequency.items()), key=lambda pair: (-pair[1], pair[0]))
    assert found.hot_terms == tuple(expected[:10])
    common = sum(len(query & document) for query in queries for document in documents)
    assert found.evaluation_flops == pytest.approx(common / len(queries) / len(documents))


@given(
    st.lists(st.dictionaries(st.integers(0, 9), st.sampled_from([1e-40, 0.25, 0.5, 1.0, 3.0]), max_size=8), max_size=5),
    st.sampled_from([0.0, 0.25, 0.3, 1.0]),
    st.none() | st.integers(0, 4),
)
def test_pruning_is_the_rule_of_the_saved_model(rows: list[dict[int, float]], min_weight: float, max_terms: int | None) -> None:
    dense = np.zeros((len(rows), 10), dtype=np.float32)
    for row, vector in enumerate(rows):
        dense[row, list(vector)] = list(vector.values())
    pruned = prune(sparse.csr_matrix(dense), min_weight, max_terms)
    for row, vector in enumerate(rows):
        normal = SparseVector.from_dict({term: weight for term, weight in vector.items() if weight > 1e-30})
        kept = normal.prune(max_terms=max_terms, min_weight=min_weight)
        part = slice(pruned.indptr[row], pruned.indptr[row + 1])
        assert dict(zip(pruned.indices[part].tolist(), pruned.data[part].tolist(), strict=True)) == kept.to_dict()
    again = prune(pruned, min_weight, max_terms)
    assert (again != pruned).nnz == 0


def test_pruning_works_on_the_side_it_is_asked_for() -> None:
    collection = made(["a b c d"], ["a b c d"], [1])
    assert collection is not None
    assert measured(collection).terms_document == measured(collection).terms_query > 2
    found = measured(collection, pruning=Pruning(max_terms_document=2, max_terms_query=1))
    assert (found.terms_document, found.terms_query) == (2.0, 1.0)
    for pruning, empty in ((Pruning(min_weight_document=100), (1, 0)), (Pruning(min_weight_query=100), (0, 1))):
        found = measured(collection, pruning=pruning)
        assert (found.empty_documents, found.empty_queries) == empty
        assert (found.unanswered, found.quality) == (1, 0.0)


def test_the_log_entry_is_json_with_named_terms_and_no_values_per_query() -> None:
    collection = made(["a b", "a"], ["a"], [1])
    assert collection is not None
    entry = json.loads(json.dumps(measured(collection).to_dict(lambda term_id: f"term {term_id}")))
    needed = {"quality", "terms_query", "terms_document", "empty_queries", "empty_documents", "evaluation_flops", "dead_terms", "queries"}
    assert needed <= entry.keys()
    assert "per_query" not in entry
    assert entry["hot_terms"][0] == [f"term {term_of('a')}", 1.0]
    assert (entry["quality"], entry["documents"]) == (1.0, 2)


def test_what_is_measured_can_be_judged_and_guarded() -> None:
    collection = made(["a b", "a"], ["a"], [1])
    assert collection is not None
    found = measured(collection)
    choice = Choice(Ceilings(max_terms_document=1.4))
    assert choice.consider(1, {found.name: found}).reason == "made: 1.5 terms per document, the ceiling is 1.4"
    CollapseGuard(0.0).validation(1, {found.name: found})


# -- encoders and collections ------------------------------------------------------------------------------------------------


def test_documents_are_read_in_blocks_and_encoded_longest_first() -> None:
    collection = made(["a " * (1 + n % 7) for n in range(20)], ["a"], [1])
    assert collection is not None
    read, calls = [], []

    def documents() -> Iterator[tuple[str, str]]:
        for pair in collection.documents():
            read.append(pair)
            yield pair

    def watched(batch: list[str]) -> sparse.csr_matrix:
        calls.append((len(read), [len(text) for text in batch]))
        return encode(batch)

    lazy = replace(collection, read_documents=documents)
    found = measure(encode, watched, lazy, vocab_size=VOCAB_SIZE, metric="nDCG@10", batch_texts=3, block_texts=8)
    assert found.documents == 20
    assert [count for count, _ in calls] == [8, 8, 8, 16, 16, 16, 20, 20]
    for start, end in ((0, 3), (3, 6), (6, 8)):
        lengths = [length for _, batch in calls[start:end] for length in batch]
        assert lengths == sorted(lengths, reverse=True)


def test_nan_of_a_model_stops_the_run_and_names_the_text() -> None:
    collection = made(["a", "b b", "c"], ["a"], [1])
    assert collection is not None

    def broken(batch: list[str]) -> sparse.csr_matrix:
        rows = encode(batch)
        rows.data[[index for index in range(rows.nnz) if batch[np.searchsorted(rows.indptr, index, side="right") - 1] == "c"]] = np.nan
        return rows

    with pytest.raises(TrainingError, match=r"document 'd2'.*learning rate"):
        measure(encode, broken, collection, vocab_size=VOCAB_SIZE, metric="nDCG@10")
    with pytest.raises(TrainingError, match="query 'q0'"):
        measure(lambda batch: encode(batch) * np.inf, encode, collection, vocab_size=VOCAB_SIZE, metric="nDCG@10")


def test_an_encoder_that_gives_something_else_is_refused() -> None:
    collection = made(["a", "b"], ["a"], [1])
    assert collection is not None
    for wrong, message in [
        (lambda batch: encode(batch[:1]), "1 vectors for 2 texts"),
        (lambda batch: encode(batch)[:, :5], "5 terms, the vocabulary has 32"),
        (lambda batch: -encode(batch), "weights are finite and >= 0"),
    ]:
        with pytest.raises(VectorError, match=message):
            measure(encode, wrong, collection, vocab_size=VOCAB_SIZE, metric="nDCG@10")


def test_a_collection_without_documents_and_sizes_below_one_are_refused() -> None:
    collection = made(["a"], ["a"], [1])
    assert collection is not None
    with pytest.raises(InputError, match="no documents"):
        measured(replace(collection, read_documents=list))
    for sizes in ({"batch_texts": 0}, {"block_texts": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            measured(collection, **sizes)
