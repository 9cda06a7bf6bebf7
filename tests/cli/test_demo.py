"""splade-ptbr demo, with a hashing encoder in place of the shipped model."""

from __future__ import annotations

import importlib.util
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from splade_ptbr_connectors.cli import demo
from splade_ptbr_connectors.demo.run import HITS_PER_QUERY, SHOWN_QUERIES
from splade_ptbr_connectors.demo.sample import QRELS, QUERIES, read_corpus
from splade_ptbr_connectors.evaluation.bm25 import StemmedBm25
from splade_ptbr_connectors.evaluation.measures import measure
from splade_ptbr_connectors.evaluation.qrels import read_qrels
from splade_ptbr_connectors.evaluation.queries import read_queries
from splade_ptbr_connectors.stores import open_store
from tests.support.encoders import HashingEncoder

from .conftest import Command, assert_fails

PASSAGES = {record["_id"]: record for record in read_corpus()}


def test_the_whole_job_and_a_second_run_that_skips_what_is_there(cli: Command) -> None:
    first, again = cli("demo", "--json").json, cli("demo", "--json").json
    assert Path("splade-demo").is_dir()
    assert (first["ingest"]["written"], first["ingest"]["unchanged"]) == (len(PASSAGES), 0)
    assert (again["ingest"]["written"], again["ingest"]["unchanged"]) == (0, len(PASSAGES))
    assert [asked["hits"] for asked in again["questions"]] == [asked["hits"] for asked in first["questions"]]


def test_hits_are_the_stores_and_words_add_up_to_their_scores(cli: Command) -> None:
    document = cli("demo", "--store", "edge:{amostra}", "--json").json
    with open_store("edge:{amostra}", encoder=HashingEncoder("mini")) as store:
        for asked in document["questions"]:
            expected = store.search(asked["question"], HITS_PER_QUERY)
            assert [(hit["doc_id"], hit["score"]) for hit in asked["hits"]] == [(hit.doc_id, hit.score) for hit in expected]
            assert [hit["title"] for hit in asked["hits"]] == [PASSAGES[hit.doc_id]["title"] for hit in expected]
            for hit in asked["hits"]:
                assert sum(part["contribution"] for part in hit["words"]) == pytest.approx(hit["score"], rel=1e-5)
    assert len(document["questions"]) == len(SHOWN_QUERIES) == 5


def test_quality_is_measured_on_the_sample_beside_bm25(cli: Command) -> None:
    quality = cli("demo", "--json").json["quality"]
    qrels, queries = read_qrels(QRELS), read_queries(QUERIES)
    bm25 = StemmedBm25((doc_id, f"{one['title']} {one['text']}") for doc_id, one in PASSAGES.items())
    expected = measure(bm25.run({query_id: queries[query_id] for query_id in qrels}), qrels).means["nDCG@10"]
    assert quality["systems"]["stemmed BM25"] == pytest.approx(expected)
    assert 0.1 < quality["systems"]["mini"] < 1.0
    assert (quality["measure"], quality["queries"]) == ("nDCG@10", len(qrels))


@pytest.mark.parametrize(
    ("locale", "story"),
    [
        (
            "C",
            "1. Encode and load|written to edge:splade-demo|LangChain|? |+1.|Quality|mini|stemmed BM25|too few|edge:my-documents|done in",
        ),
        (
            "pt_BR.UTF-8",
            "1. Codificar e carregar|gravadas em edge:splade-demo|LangChain|? |+1,|Qualidade|mini|0,|BM25 com radicais|poucas demais|"
            "edge:meus-documentos|pronto em",
        ),
    ],
)
def test_for_people_it_tells_the_story_in_order(cli: Command, locale: str, story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    outcome = cli("demo")
    assert outcome.code == 0 and "\x1b" not in outcome.out
    assert ("modelo mini carregado em" in outcome.err) == (locale != "C")
    position = 0
    for part in story.split("|"):
        position = outcome.out.index(part, position)


def test_the_python_that_it_shows_is_python_that_runs(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "next_steps.py").write_text(
        demo.NEXT_STEPS.replace("{store}", "edge:meus-documentos").replace("print(", "found = ("), encoding="utf-8"
    )
    names = runpy.run_path("next_steps.py")
    assert [hit.doc_id for hit in names["found"]] == ["1"]
    names["store"].close()


def test_it_names_the_extra_that_it_needs(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "bm25s" else importlib.util.find_spec(name))
    assert_fails(cli("demo"), 6, "bm25s", "splade-ptbr-connectors[demo]")
    assert not Path("splade-demo").exists()


def test_a_store_of_another_model_and_a_missing_model(cli: Command, filled: str) -> None:
    assert_fails(cli("demo", "--store", filled, "--model", "outro"), 4, "'mini'", "'outro'")
    assert_fails(cli("demo", "--model", "no-such-model"), 4, "no-such-model")


def test_with_the_shipped_model(tmp_path: Path) -> None:
    """The real thing, in a process of its own: learned weights must find more than hashed words do."""
    done = subprocess.run([sys.executable, "-m", "splade_ptbr_connectors", "demo", "--json"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["ingest"]["written"] == len(PASSAGES)
    assert document["quality"]["systems"]["mini"] > 0.6
    assert all(asked["hits"] and asked["hits"][0]["words"] for asked in document["questions"])
