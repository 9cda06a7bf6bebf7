"""`models`: a line for each model, all figures measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from tests.unit.encoding.words_model import make_words_model

GIVEN = ["models", "--documents", "20", "--base-documents", "0", "--rounds", "1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_words_model(tmp_path_factory.mktemp("models") / "model"))


def test_figures_are_of_the_model(model: str) -> None:
    done = CliRunner().invoke(app, [*GIVEN, "--model", model, "--json"])
    assert done.exit_code == 0, done.output
    [found] = json.loads(done.output)["models"]
    size = sum(file.stat().st_size for file in Path(model).rglob("*") if file.is_file())
    assert (found["model"], found["megabytes"], found["times_base"]) == (model, pytest.approx(size / 1e6), None)
    assert all(found[name] > 0 for name in ("load_s", "documents", "queries", "query_ms_p50", "terms_document"))
    assert found["query_ms_p50"] <= found["query_ms_p95"]


def test_a_table_has_a_line_for_each(model: str) -> None:
    done = CliRunner().invoke(app, [*GIVEN, "--model", model, "--model", model])
    assert done.exit_code == 0 and done.output.count("\n| ") == 2 + 1
