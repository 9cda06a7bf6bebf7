"""The figures are those of a store's own searches, and the command reads what it embedded before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import __main__ as program
from benchmarks.hybrid.hybrid import read_numbers
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.validation import Share

pytest.importorskip("bm25s")
SAMPLE = Path(__file__).parents[3] / "splade_ptbr_connectors" / "sample"
MODEL = "tests.benchmarks.models:make_embeddings"


def test_the_command_keeps_what_it_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fusions = ["--rrf-k", "10,60", "--dense-weights", "0,0.5,1"]
    given = ["hybrid", "--collection", str(SAMPLE), "--dense", MODEL, "--cache", str(tmp_path), *fusions]
    first = CliRunner().invoke(program.app, [*given, "--json"], catch_exceptions=False)
    figures = json.loads(first.stdout)["figures"]
    assert [figure["searched"] for figure in figures] == ["BM25", "sparse", "dense", "RRF 10", "RRF 60", "sum 0", "sum 0.5", "sum 1"]
    by_name = {figure["searched"]: figure["ndcg"] for figure in figures}
    assert all(0 <= ndcg <= 1 for ndcg in by_name.values()) and by_name["sparse"] > 0.5
    assert (by_name["sum 0"], by_name["sum 1"]) == (by_name["sparse"], by_name["dense"])
    [kept] = (tmp_path / "sample" / "documents").iterdir()
    written = kept.stat().st_mtime_ns
    table = CliRunner().invoke(program.app, given, catch_exceptions=False).stdout
    assert kept.stat().st_mtime_ns == written and f"| {figures[1]['ndcg']:.3f} / {figures[1]['recall']:.3f} |" in table
    with pytest.raises(ConfigError, match="was begun with"):
        CliRunner().invoke(program.app, [*given[:3], "--cache", str(tmp_path)], catch_exceptions=False)


@pytest.mark.parametrize("text", ["a", "0.5,nan", "-1", "1.5", "inf", "0.5,true"])
def test_weights_that_are_not_accepted(text: str) -> None:
    with pytest.raises(ConfigError, match=r"dense_weights is .* from 0 to 1"):
        read_numbers("dense_weights", text, Share)
