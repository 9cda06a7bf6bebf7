"""The benchmark of the first use: what its processes do is replaced, what it makes of their times is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import __main__ as program
from benchmarks.stores import first_use
from splade_ptbr_connectors.errors import SpladeConnectorsError

pytest.importorskip("numba")


def test_each_process_starts_with_what_it_should_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two compiles: its folder is empty; the second finds what the first kept."""
    looks = "import os, pathlib; d = pathlib.Path(os.environ['NUMBA_CACHE_DIR']); kept = d.exists(); d.mkdir(parents=True, exist_ok=True); "
    for name in ("_INGEST", "_SEARCH"):
        monkeypatch.setattr(first_use, name, looks + f"open({str(tmp_path / name)!r}, 'a').write(str(int(kept)))")
    done = CliRunner().invoke(program.app, ["first-use", "--documents", "10", "--rounds", "2", "--json"], catch_exceptions=False)
    rows = json.loads(done.output)["rows"]
    states = ("compiles", "finds it compiled")
    assert [row["what"] for row in rows] == [f"{what}, {state}" for what in ("ingest", "search") for state in states]
    assert all(row["seconds"] > 0 for row in rows)
    assert [(tmp_path / name).read_text() for name in ("_INGEST", "_SEARCH")] == ["0101", "0101"]


def test_the_best_of_the_rounds_counts() -> None:
    row = first_use._row("this", "search, compiles", [(4.0, 2.0), (2.5, 3.0)])
    assert (row["seconds"], row["processor_seconds"]) == (2.5, 2.0)
    assert row["goal"].endswith("ok")
    assert first_use._row("this", "search, compiles", [(3.5, 2.0)])["goal"].endswith("missed")


def test_a_process_that_fails_is_told_by_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_use, "_INGEST", "raise SystemExit('no room')")
    with pytest.raises(SpladeConnectorsError, match="no room"):
        CliRunner().invoke(program.app, ["first-use", "--documents", "10"], catch_exceptions=False)
