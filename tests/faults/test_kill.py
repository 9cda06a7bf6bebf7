"""kill -9 at random moments of an ingest, then resume: the same content as after an unbroken run, every time.

More moments than the suite's few: SPLADE_KILL_MOMENTS=30 python -m pytest tests/faults/test_kill.py
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.conftest import Case, Child

MOMENTS = int(os.environ.get("SPLADE_KILL_MOMENTS", "6"))
DELAY_S = 0.0007  # per document: about a second for the whole input
SPAN_S = 1.3
SLOW_DELAY_S = 0.004  # at least four seconds: no machine is fast enough to end before it is killed


def _ready(process: Child) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_resumed_after_kill(case: Case, child: Callable[..., Child], moment: int) -> None:
    # spread over the run, and random within its part
    after_s = SPAN_S * (moment + random.Random(moment).random()) / MOMENTS
    process = child("ingest", case.folder, DELAY_S)
    _ready(process)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = process.returncode == 0
    safe = [line for line in _documents_before(case, case.position())]
    assert set(safe) <= case.stored()
    report = case.finish()
    assert finished or report.resumed_at + report.unchanged + report.written >= report.read - report.rejected


def test_killed_again_and_again(case: Case, child: Callable[..., Child]) -> None:
    positions = [0]
    for attempt in range(3):
        process = child("ingest", case.folder, SLOW_DELAY_S)
        _ready(process)
        time.sleep(0.25 + 0.1 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        positions.append(case.position())
    assert positions == sorted(positions)
    assert case.finish().resumed_at == positions[-1]


def test_interrupted_by_ctrl_c(case: Case, child: Callable[..., Child]) -> None:
    process = child("pause", case.folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "paused\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    position = case.position()
    assert 0 < position < case.lines
    # after Ctrl-C the counts are exact: what is stored is what is acknowledged
    assert case.stored() == set(_documents_before(case, position))
    assert case.finish().resumed_at == position


def _documents_before(case: Case, position: int) -> list[str]:
    import json

    lines: list[Any] = [json.loads(line) for line in (case.folder / "in.jsonl").read_text().splitlines()[:position]]
    return list(dict.fromkeys(line["_id"] for line in lines if "text" in line))
