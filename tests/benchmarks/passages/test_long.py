"""Glued documents: whose judgments they carry, how passages' scores become theirs, and the command."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks import __main__ as program
from benchmarks.passages.glued_documents import BETWEEN, glue, read_glued
from benchmarks.passages.long import Comparison, Figure, read_settings
from benchmarks.passages.scoring import best, dot_products, mean_of_best, run_of
from splade_ptbr_connectors.errors import SpladeConnectorsError
from splade_ptbr_connectors.records import Record
from splade_ptbr_connectors.vectors import SparseVector

pytest.importorskip("bm25s")
SAMPLE = Path(__file__).parents[3] / "splade_ptbr_connectors" / "sample"


def test_every_passage_is_in_one_document_that_has_its_best_grade() -> None:
    glued = read_glued(SAMPLE, "test", 7)
    assert len(glued.document_of) == len(glued.passages)
    for row, passage in zip(glued.document_of, glued.passages, strict=True):
        assert passage.text in glued.documents[row].text
    document_of = {passage.doc_id: glued.documents[row].doc_id for row, passage in zip(glued.document_of, glued.passages, strict=True)}
    alone = read_glued(SAMPLE, "test", 1)
    assert [passage.doc_id for passage in alone.documents] == [passage.doc_id for passage in alone.passages]
    for query_id, grades in alone.qrels.items():
        for doc_id, grade in grades.items():
            assert glued.qrels[query_id][document_of[doc_id]] >= grade
        assert max(glued.qrels[query_id].values()) == max(grades.values())


def test_titles_that_change_become_headings() -> None:
    passages = [Record("a", "Lei", "Um."), Record("b", "Lei", "Dois."), Record("c", "Decreto", "Três."), Record("d", "", "Quatro.")]
    assert glue(passages) == Record("a", "Lei", BETWEEN.join(["Um.", "Dois.", "Decreto", "Três.", "Quatro."]))


scores = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100).map(float)), min_size=1, max_size=30)


@given(scores, st.integers(1, 4))
def test_a_documents_score_is_the_mean_of_its_best_passages(pairs: list[tuple[int, float]], few: int) -> None:
    pairs.sort(key=lambda pair: pair[0])
    row = np.array([[score for _, score in pairs]])
    of = {document: [score for _, score in group] for document, group in groupby(pairs, lambda pair: pair[0])}
    document_of = [list(of).index(document) for document, _ in pairs]
    assert best(row, document_of).tolist() == [[max(each) for each in of.values()]]
    expected = [np.mean(sorted(each)[-few:]) for each in of.values()]
    assert mean_of_best(row, document_of, few).tolist() == [pytest.approx(expected)]


def test_scores_are_dot_products_and_ties_go_by_document_id() -> None:
    query = SparseVector([1, 3], [2.0, 1.0])
    rows = [SparseVector([1], [1.0]), SparseVector([], []), SparseVector([3, 7], [2.0, 9.0])]
    found = dot_products([query], rows, 10)
    assert found.tolist() == [[query.dot(row) for row in rows]]
    assert list(run_of(found, ["q"], ["b", "x", "a"])["q"].items()) == [("a", 2.0), ("b", 2.0)]


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["long", "--collection", str(SAMPLE), "--size", "8", "--settings", "64/16,200/32", "--json"]
    done = CliRunner().invoke(program.app, given, catch_exceptions=False)
    document = json.loads(done.output)
    [figures] = document["collections"].values()
    found = {(figure["searched"], figure["score"]): figure for figure in figures}
    assert found["whole documents", "one vector"]["pieces"] == 30
    assert found["passages 64/16", "best"]["pieces"] > found["passages 200/32", "best"]["pieces"] > 30
    assert all(0 < figure["first"] <= 1 and 0 < figure["ndcg"] <= 1 for figure in figures)
    measured = [Figure(**figure) for figure in figures]
    monkeypatch.setattr(Comparison, "figures", lambda self, chosen: iter(measured))  # seconds for each; shown here, not measured again
    table = CliRunner().invoke(program.app, given[:-1], catch_exceptions=False).output
    assert "| passages 200/32 | best |" in table


@pytest.mark.parametrize("text", ["200", "a/b", "200/150", "1/0"])
def test_settings_that_are_not_accepted(text: str) -> None:
    with pytest.raises(SpladeConnectorsError):
        read_settings(text)
