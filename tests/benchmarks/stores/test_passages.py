"""That `passages` measures what it says, in the engines of this process; OpenSearch: tests/servers/test_benchmark_engine.py."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app

pytest.importorskip("numba")


def test_long_and_short_documents_are_compared_in_every_engine() -> None:
    small = ["passages", "--passages", "1000", "--each", "3", "--queries", "2", "--rounds", "1", "--json"]
    done = CliRunner().invoke(app, small, catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads(done.output)
    assert found["settings"]["passages"] == 999 and found["settings"]["bytes a passage, edge long"] > 0
    assert [each["name"] for each in found["comparisons"]] == [
        f"{engine} top {top_k}, {shown}" for engine in ("numba", "edge") for top_k in ("10", "1,000") for shown in ("ids", "payloads")
    ]
