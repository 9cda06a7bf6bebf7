"""What `distributed` makes of a run's news, and that it runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.stores import distributed
from benchmarks.stores.distributed import Pace, Work


def test_the_rate_is_that_from_the_first_documents_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    times, worked = iter([7.0, 9.0, 12.0]), iter([30.0, 33.0, 40.0])
    monkeypatch.setattr(distributed.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(distributed.Work, "seconds", lambda _: next(worked))
    half: list[int] = []
    pace = Pace(1000, lambda: half.append(pace.seen[-1][2]), started=0.0)
    for count in (0, 256, 512, 512, 1000):  # what is told twice counts when it was told first
        pace.done(count)
    assert (pace.first_s, pace.rates(), half) == (7.0, ((1000 - 256) / 5.0, (1000 - 256) / 10.0), [512])


def test_work_is_that_of_all_processes_also_of_those_that_began_or_ended_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([{1: 500, 2: 300}, {1: 510, 2: 340, 3: 20}, {1: 515, 3: 60}])

    def family() -> dict[int, int]:
        shown.clear()
        shown.update(next(looks))
        return shown

    shown: dict[int, int] = {}
    monkeypatch.setattr(distributed, "_family", family)
    monkeypatch.setattr(distributed, "_stat", lambda process: [b"0"] * 11 + [str(shown[process]).encode(), b"0"])
    monkeypatch.setattr(distributed, "TICKS", 10)
    work = Work()
    assert [work.seconds() for _ in range(3)] == [0.0, 7.0, 11.5]


@pytest.mark.parametrize("counts", [[256, 512], [1000]], ids=["some are missing", "one batch"])
def test_there_is_no_rate_of_a_part(counts: list[int]) -> None:
    pace = Pace(1000)
    for count in counts:
        pace.done(count)
    with pytest.raises(RuntimeError, match="of 1000 documents"):
        pace.rates()


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\.")  # Ray copies its own deprecated settings
def test_the_command_measures_workers_and_the_reader() -> None:
    pytest.importorskip("ray")
    small = ["distributed", "--documents", "1000", "--records", "1000", "--workers", "1", "--rounds", "1", "--json"]
    done = CliRunner().invoke(app, small, catch_exceptions=False)
    assert done.exit_code == 0
    decoder, text = json.JSONDecoder(), done.stdout.strip()
    tables: list[dict[str, Any]] = []
    while text:
        table, end = decoder.raw_decode(text)
        tables.append(table)
        text = text[end:].lstrip()
    *encoding, reading = tables
    assert [list(each["documents_per_second"]) for each in encoding] == [["one process", "Ray, 1 worker"]] * 2
    assert len(reading["records_per_second"]) == 3 and all(each["median"] > 0 for each in reading["records_per_second"].values())
