"""Denominators and what is missing: notes against counts made another way, and against the measures themselves."""

from __future__ import annotations

import re
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors.evaluation.collections import Collection, open_collection
from splade_ptbr_connectors.evaluation.measures import measure
from tests.unit.evaluation.collections.writing import EXAMPLE, NAMES, Small, small_collections, write_tsv

MEASURES = ("nDCG@10", "RR@10", "R@100")


def opened(folder: Path, small: Small, *, keep: bool = False) -> Collection:
    return open_collection("mrobust", folder=write_tsv(folder, small, NAMES["mrobust"][0]), keep_without_relevant=keep)


def test_notes_of_a_collection_with_everything(tmp_path: Path) -> None:
    assert opened(tmp_path, EXAMPLE).notes == (
        "Read from data/collections/portuguese_collection.tsv, data/queries/portuguese_queries.tsv, qrels.robust04.txt.",
        "Means over 2 of 3 judged queries (1 have no relevant document); 3 of 3 documents searched; "
        "1 judged documents (1 relevant) are not in the collection, and stay in the judgments.",
        "Without a relevant document, left out: 672; means over all 3 judged queries are 2/3 of these.",
        "1 of 4 judgments are of documents that the collection does not have.",
        "Relevance is graded up to 2: nDCG takes the grade as gain, R and RR count 1 and above.",
        "1 queries without a judgment are not measured.",
        "1 documents have no text: nothing can find them.",
    )


def test_queries_without_a_relevant_document_count_where_that_is_asked_for(tmp_path: Path) -> None:
    collection = opened(tmp_path, EXAMPLE, keep=True)
    assert list(collection.qrels) == ["302", "301", "672"]
    assert "Without a relevant document, counted as 0: 672; means over the other 2 queries are 3/2 of these." in collection.notes
    assert "2 of 6 judgments are of documents that the collection does not have." in collection.notes


def test_nothing_is_said_of_what_there_is_none_of(tmp_path: Path) -> None:
    small = Small({"d": ("", "renda")}, {"q": "renda"}, {"q": {"d": 1}})
    assert len(opened(tmp_path, small).notes) == 2


@given(small_collections(), st.booleans())
def test_counts_are_those_of_the_sets(small: Small, keep: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        notes = " ".join(opened(Path(folder), small, keep=keep).notes)
    measured = small.measured(keep=keep)
    pairs = [(doc_id, grade) for query_id in measured for doc_id, grade in small.qrels[query_id].items()]
    gone = [(doc_id, grade) for doc_id, grade in pairs if doc_id not in small.documents]
    described = re.search(r"Means over (\d+) of (\d+) judged queries \((\d+) have.*; (\d+) judged documents \((\d+) relevant\)", notes)
    assert described
    assert [int(number) for number in described.groups()] == [
        len(measured),
        len(small.qrels),
        len(small.qrels) - len(small.measured(keep=False)),
        len({doc_id for doc_id, _ in gone}),
        len({doc_id for doc_id, grade in gone if grade > 0}),
    ]
    assert (f"{len(gone)} of {len(pairs)} judgments are" in notes) == bool(gone)
    never = [q for q in small.measured(keep=False) if not any(g > 0 and d in small.documents for d, g in small.qrels[q].items())]
    assert (f"{len(never)} queries have no other relevant" in notes) == bool(never)


@given(small_collections())
def test_one_mean_is_the_other_times_the_stated_factor(small: Small) -> None:
    """The run finds every document for every query, so that no mean is 0."""
    with tempfile.TemporaryDirectory() as folder:
        collections = [opened(Path(folder), small, keep=keep) for keep in (False, True)]
    run = {query_id: {doc_id: -float(rank) for rank, doc_id in enumerate(small.documents)} for query_id in small.queries}
    left_out, kept = (measure(run, collection.qrels, MEASURES).means for collection in collections)
    found = [re.search(r"(\d+)/(\d+) of these", " ".join(collection.notes)) for collection in collections]
    to_kept, to_left_out = (float(Fraction(*map(int, each.groups()))) if each else 1.0 for each in found)
    for name in MEASURES:
        assert left_out[name] > 0
        assert kept[name] == pytest.approx(left_out[name] * to_kept)
        assert left_out[name] == pytest.approx(kept[name] * to_left_out)
