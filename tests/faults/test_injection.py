"""A sample of the faults of injection.py: damage of any file is an error of the package or does no harm, and no kill does any.

All of them: python -m tests.faults.injection edge --flips 1000
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import injection
from tests.faults.injection import Bench
from tests.faults.trial import Plan

pytestmark = pytest.mark.skipif(not hasattr(injection.os, "SEEK_DATA"), reason="copies of stores keep the holes of their files")
FAULTS = {
    "none": injection.intact,
    "flip": lambda bench: injection.flips(bench, 60, seed=1),
    "truncate": lambda bench: injection.truncations(bench, tenths=(0, 9)),
    "delete": injection.deletions,
    "swap": injection.swaps,
    "kill": lambda bench: injection.stops(bench, "kill", 8),
    "interrupt": lambda bench: injection.stops(bench, "interrupt", 8),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench("edge", tmp_path_factory.mktemp("injection"), Plan(documents=80)) as made:
        yield made


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_is_silent(bench: Bench, fault: str) -> None:
    said: list[str] = []
    trials = list(FAULTS[fault](bench))
    assert injection.report(trials, said.append), "".join(said)
    damage = fault not in injection.HARMLESS
    assert any(done.verdict.kind == "typed" for done in trials) == damage


def test_the_harness_sees_silence(bench: Bench, tmp_path: Path) -> None:
    other = Plan(documents=80, seed=1)
    _, verdict = bench.worker.ask("examine", bench.url(bench.folder / "good"), other)
    assert verdict.kind == "wrong" and "scanned" in verdict.detail and "hits" in verdict.detail
