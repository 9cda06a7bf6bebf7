"""What `faces` says of overheads, and that it runs."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.stores.faces import GOAL_MS, GOAL_TIMES, crowd, overheads


def test_an_overhead_is_what_each_query_takes_longer_than_by_the_store() -> None:
    own = [1.0, 9.0, 5.0]
    found = overheads({"store": own, "thin": [each + GOAL_MS / 2 for each in own], "thick": [each + 2 * GOAL_MS for each in own]})
    assert found["store"] == {"p50": 5.0, "p95": 8.6}
    assert found["thin"]["extra_p50"] == found["thin"]["extra_p95"] == pytest.approx(GOAL_MS / 2)
    assert [found[face]["verdict"] for face in ("thin", "thick")] == ["ok", "missed"]


def test_the_slowest_hundredth_of_a_crowd_is_compared_with_one_thread() -> None:
    waited = [1.0] * 98 + [20.0] * 2
    assert [crowd(waited, one_thread)["verdict"] for one_thread in (20 / GOAL_TIMES, 19 / GOAL_TIMES)] == ["ok", "missed"]
    assert crowd(waited, 2.0)["times"] == pytest.approx(10) and crowd(waited, 2.0)["p50"] == 1.0


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_command_measures_every_face(options: list[str]) -> None:
    small = ["faces", "--documents", "100", "--queries", "3", "--rounds", "1", "--engines", "edge", "--threads", "3", *options]
    done = CliRunner().invoke(app, small, catch_exceptions=False)
    assert done.exit_code == 0
    if options:
        found = json.loads(done.output)
        assert [len(each) for each in found["faces"].values()] == [6, 6] and list(found["threads"]) == ["edge, 3 threads"]
    else:
        assert done.output.count("LangChain vector store") == 4
