"""splade-ptbr evaluate."""

from __future__ import annotations

from pathlib import Path

import ir_measures
import pytest

from splade_ptbr_connectors.evaluation.runs import read_run

from .conftest import Command, assert_fails, write_jsonl


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    return write_jsonl(
        tmp_path / "q.jsonl", [{"_id": "q1", "text": "gripe e febre"}, {"_id": "q2", "text": "bolo"}, {"_id": "q3", "text": "x"}]
    )


@pytest.fixture
def qrels(tmp_path: Path) -> Path:
    (tmp_path / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\t4\t2\nq1\t1\t1\nq2\t2\t1\n")
    return tmp_path / "test.tsv"


def test_measures_latency_and_run(cli: Command, filled: str, queries: Path, qrels: Path) -> None:
    document = cli("evaluate", "--store", filled, "--queries", queries, "--qrels", qrels, "--run", "r.trec", "--json").json
    assert document["measures"] == pytest.approx({"nDCG@10": 1.0, "nDCG@20": 1.0, "RR@10": 1.0, "R@100": 1.0, "R@1000": 1.0})
    assert (document["queries"], document["unanswered"], document["missing_relevant_documents"]) == (2, 0, 0)
    assert document["mean_latency_ms"] > 0 and document["mean_terms_per_query"] == 2.0
    assert document["run"] == "r.trec"
    assert {query_id: list(found) for query_id, found in read_run("r.trec").items()} == {"q1": ["4", "1"], "q2": ["2"]}


def test_ir_measures_gives_the_same_for_the_run_file(cli: Command, filled: str, queries: Path, qrels: Path, tmp_path: Path) -> None:
    qrels.write_text("q1 0 1 2\nq1 0 4 1\nq1 0 3 1\nq2 0 2 1\nq3 0 2 1\n")
    document = cli("evaluate", "--store", filled, "--queries", queries, "--qrels", qrels, "--run", "r.trec", "--json").json
    run, judged = ir_measures.read_trec_run("r.trec"), list(ir_measures.read_trec_qrels(str(qrels)))
    theirs = ir_measures.calc_aggregate([ir_measures.parse_measure(name) for name in document["measures"]], judged, run)
    assert document["measures"] == pytest.approx({str(name): value for name, value in theirs.items()})
    assert document["unanswered"] == 1 and document["measures"]["nDCG@10"] < 1


def test_for_people_a_table_with_its_denominator(cli: Command, filled: str, queries: Path, qrels: Path) -> None:
    outcome = cli("evaluate", "--store", filled, "--queries", queries, "--qrels", qrels)
    assert outcome.code == 0 and outcome.err == ""
    assert "nDCG@10  1.0000" in " ".join(outcome.out.split()).replace(" 1.0000", "  1.0000")
    assert "2 judged queries" in outcome.out


def test_inputs_that_do_not_fit(cli: Command, filled: str, queries: Path, qrels: Path, tmp_path: Path) -> None:
    def fails(code: int, *words: str) -> None:
        assert_fails(cli("evaluate", "--store", filled, "--queries", queries, "--qrels", qrels, "--run", "r.trec"), code, *words)
        assert not Path("r.trec").exists()

    qrels.write_text("q1 0 outro 1\n")
    fails(3, "none of the 1 relevant documents")
    qrels.write_text("q9 0 1 1\n")
    fails(3, "'q9'")
    qrels.write_text("q1 0 1 1\nq1 0 1\n")
    fails(3, "test.tsv, line 2")
    qrels.write_text("q1 0 1 1\n")
    queries.write_text('{"_id": "q1", "text": "gripe"}\n{"_id": "q2"\n')
    fails(3, "q.jsonl, line 2")
    queries.write_text('{"_id": "q1", "text": "gripe"}\n{"_id": "q1", "text": "bolo"}\n')
    fails(3, "q.jsonl, line 2", "duplicate query id")
    queries.write_text('{"_id": "q1"}\n')
    fails(3, "q.jsonl, line 1", "text")
    queries.unlink()
    fails(3, "q.jsonl")


def test_measures_are_shown_although_the_run_cannot_be_written(cli: Command, queries: Path, qrels: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "c.jsonl", [{"_id": "lei 8.112", "text": "gripe e febre"}])
    assert cli("ingest", tmp_path / "c.jsonl", "--store", "edge:leis").code == 0
    qrels.write_text("query-id\tcorpus-id\tscore\nq1\tlei 8.112\t1\n")
    outcome = cli("evaluate", "--store", "edge:leis", "--queries", queries, "--qrels", qrels, "--run", "r.trec", "--json")
    assert outcome.code == 3 and "'lei 8.112' cannot be written" in outcome.err
    assert outcome.json["measures"]["RR@10"] == 1.0 and outcome.json["run"] is None
    assert not Path("r.trec").exists()


def test_queries_as_csv(cli: Command, filled: str, qrels: Path, tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("_id,text\nq1,gripe e febre\nq2,bolo\n")
    assert cli("evaluate", "--store", filled, "--queries", "q.csv", "--qrels", qrels, "--json").json["queries"] == 2


def test_a_store_that_is_not_there(cli: Command, queries: Path, qrels: Path) -> None:
    assert_fails(cli("evaluate", "--store", "edge:nada", "--queries", queries, "--qrels", qrels), 5, "edge:nada")
