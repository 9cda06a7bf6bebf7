"""What `faces` says of overheads, and that it runs."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.stores.faces import GOAL_MS, overheads


def test_an_overhead_is_what_each_query_takes_longer_than_by_the_store() -> None:
    own = [1.0, 9.0, 5.0]
    found = overheads({"store": own, "thin": [each + GOAL_MS / 2 for each in own], "thick": [each + 2 * GOAL_MS for each in own]})
    assert found["store"] == {"p50": 5.0, "p95": 8.6}
    assert found["thin"]["extra_p50"] == found["thin"]["extra_p95"] == pytest.approx(GOAL_MS / 2)
    assert [found[face]["verdict"] for face in ("thin", "thick")] == ["ok", "missed"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_command_measures_every_face(options: list[str]) -> None:
    small = ["faces", "--documents", "100", "--queries", "3", "--rounds", "1", "--engines", "edge", *options]
    done = CliRunner().invoke(app, small, catch_exceptions=False)
    assert done.exit_code == 0
    if options:
        assert [len(each) for each in json.loads(done.output)["faces"].values()] == [6, 6]
    else:
        assert done.output.count("LangChain vector store") == 4
