"""The commands as they are typed: run, run again, prune, and what is said of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import __main__ as program
from benchmarks.comparison.results import Results
from splade_ptbr_connectors.errors import ConfigError, SpladeConnectorsError
from tests.support.qdrant_server import stand_in

pytest.importorskip("numba")
pytest.importorskip("bm25s")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BEIR folder; a document's relevant query asks for two of its words."""
    folder = tmp_path_factory.mktemp("collection")
    words = [f"palavra{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(200)]
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 12)) for _ in range(60)]
    lines = [json.dumps({"_id": f"d{n}", "title": "", "text": text}) for n, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    asked = [json.dumps({"_id": f"q{n}", "text": " ".join(texts[n].split()[:3])}) for n in range(10)]
    (folder / "queries.jsonl").write_text("\n".join(asked) + "\n")
    (folder / "qrels").mkdir()
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(10)))
    return folder


@pytest.fixture(scope="module")
def reported(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    call("run", "--collection", str(collection), "--engines", "numba,bm25", "--rounds", "1", "--out", str(out))
    call("prune", "--collection", str(collection), "--prunings", "top_k=4,quantile=0.5", "--rounds", "1", "--out", str(out))
    return out


def call(*arguments: str) -> str:
    done = CliRunner().invoke(program.app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_report_holds_engines_and_prunings(reported: Path) -> None:
    results = Results.read(reported)
    assert [engine.name for engine in results.engines] == ["numba", "bm25"]
    assert all(engine.failure is None for engine in results.engines)
    assert results.engines[1].quality["nDCG@10"] > 0.9
    assert [point.pruning for point in results.pruning] == ["none", "top_k=4", "quantile=0.5"]
    whole, cut = results.pruning[0], results.pruning[1]
    assert whole.agreement == {10: 1.0, 1000: 1.0}
    assert cut.terms_per_document <= 4 < whole.terms_per_document
    assert whole.quality == results.engines[0].quality
    for name in ("table.md", "index.html"):
        assert "numba" in (reported / name).read_text(encoding="utf-8")


def test_running_again_keeps_the_prunings(reported: Path, collection: Path) -> None:
    before = Results.read(reported)
    call("run", "--collection", str(collection), "--engines", "bm25,numba", "--rounds", "1", "--out", str(reported))
    after = Results.read(reported)
    assert after.pruning == before.pruning
    assert after.engines[1].latency_ms == before.engines[0].latency_ms  # measured once


def test_a_failed_engine_ends_with_an_exit_code_but_a_report(reported: Path, collection: Path) -> None:
    arguments = ["run", "--collection", str(collection), "--engines", "numba,qdrant", "--rounds", "1", "--out", str(reported)]
    done = CliRunner().invoke(program.app, arguments)
    assert done.exit_code == 1
    assert "error: qdrant failed at build: " in done.output
    engines = {engine.name: engine for engine in Results.read(reported).engines}
    assert engines["qdrant"].failure is not None
    assert engines["numba"].latency_ms


def test_an_index_on_a_server_whose_disk_cannot_be_seen_is_reported_without_its_size(collection: Path, tmp_path: Path) -> None:
    with stand_in() as server:
        given = ("--engines", "qdrant", "--rounds", "1", "--qdrant", server.url)
        call("run", "--collection", str(collection), *given, "--out", str(tmp_path))
    [engine] = Results.read(tmp_path).engines
    assert engine.failure is None and engine.build is not None and engine.build.bytes_on_disk is None
    assert "| qdrant " in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_what_a_query_takes_before_its_search_is_reported(collection: Path, tmp_path: Path) -> None:
    given = ("--engines", "numba,hybrid,bm25", "--rounds", "1", "--dense", "tests.benchmarks.models:embeddings", "--out", str(tmp_path))
    call("run", "--collection", str(collection), *given)
    sparse, both, words = Results.read(tmp_path).engines
    assert sparse.query_ms is not None and both.query_ms is not None and words.query_ms is None
    assert both.query_ms.mean > sparse.query_ms.mean  # measured once, and another vector's time on top
    assert both.failure is None and both.quality["R@1000"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--engines", "numba,edje"], "edge"),
        (["--engines", ","], "--engines names none"),
        (["--set", "k1=3"], "ENGINE.NAME=VALUE"),
        (["--set", "seismic.n_postings=3"], "not among those"),
        (["--collection", "nowhere"], "nowhere"),
        (["--split", "dev"], "dev"),
        (["--dense-model", "small"], "--dense-url"),
        (["--dense-url", "http://127.0.0.1/v1"], "--dense-model NAME"),
        (["--dense-url", "http://127.0.0.1/v1", "--dense-model", "small", "--dense", "a:b"], "leave one of them out"),
        (["--out", "/dev/null/report"], "cannot be made .* --out"),
    ],
)
def test_bad_input_is_one_clear_error(collection: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    given = ["run", "--collection", str(collection), "--out", str(tmp_path), *arguments]
    with pytest.raises(SpladeConnectorsError, match=told):
        CliRunner().invoke(program.app, given, catch_exceptions=False)


def test_what_is_not_installed_is_named_with_the_command_that_installs_it() -> None:
    code = "import runpy, sys; sys.modules['scipy'] = None; runpy.run_module('benchmarks', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: not installed: scipy.") and "--group bench" in done.stderr and done.stderr.count("\n") == 1


def test_an_unknown_pruning_is_refused_before_anything_is_encoded(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="top_n"):
        CliRunner().invoke(
            program.app, ["prune", "--collection", str(collection), "--out", str(tmp_path), "--prunings", "top_n=3"], catch_exceptions=False
        )
    assert not any(tmp_path.iterdir())
