"""The runner: every engine in processes of its own, resumable, and no failure loses what the others found."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.comparison import steps
from benchmarks.comparison.oracle import Oracle
from benchmarks.comparison.results import TOP_KS, EngineResult, Results
from benchmarks.comparison.steps import Plan, run_steps
from benchmarks.comparison.summary import collect, latency
from benchmarks.comparison.worker import Specification, main, read_hits, write_hits
from benchmarks.engines.base import Hits
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.evaluation.runs import read_run
from tests.benchmarks.small_workloads import make_workload

pytest.importorskip("numba")
pytest.importorskip("bm25s")

SETTINGS: dict[str, Any] = {"urls": {}, "models": {}, "options": {}}


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return make_workload(tmp_path_factory.mktemp("workload"))


def plan(workload: Workload, out: Path, *engines: str, rounds: int = 2, settings: dict[str, Any] = SETTINGS) -> Plan:
    return Plan(workload.folder, out, engines, rounds, settings, seconds=5.0, limit=120.0)


@pytest.fixture(scope="module")
def compared(workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Results]:
    """Four engines: two that work, one without a server, one whose model does not exist."""
    settings = {**SETTINGS, "models": {"dense": "no_such_module:nothing"}}
    planned = plan(workload, tmp_path_factory.mktemp("out"), "numba", "dense", "qdrant", "bm25", settings=settings)
    failures = run_steps(planned)
    return planned, collect(planned, workload, failures)


def result(compared: tuple[Plan, Results], name: str) -> EngineResult:
    return next(engine for engine in compared[1].engines if engine.name == name)


def test_everything_is_measured(compared: tuple[Plan, Results], workload: Workload) -> None:
    for name in ("numba", "bm25"):
        found = result(compared, name)
        assert found.failure is None
        assert found.build is not None
        assert found.build.bytes_on_disk > 0
        assert found.build.peak_memory > 10_000_000
        assert found.rounds == 2
        assert set(found.latency_ms) == set(found.queries_per_second) == set(TOP_KS)
        assert found.memory is not None
        assert set(found.quality) == {"nDCG@10", "nDCG@20", "RR@10", "R@1000"}
    facts = compared[1].workload
    assert (facts.documents, facts.queries, facts.judged_queries) == (300, 20, len(workload.qrels))


def test_the_exact_index_agrees_with_the_exact_ranking(compared: tuple[Plan, Results]) -> None:
    for top_k in TOP_KS:
        found = result(compared, "numba").agreement[top_k]
        assert (found.agreement, found.engine_error, found.quantisation_loss) == (1.0, 0.0, 0.0)
    assert result(compared, "bm25").agreement == {}  # it ranks by something else


def test_the_run_is_the_exact_ranking(compared: tuple[Plan, Results], workload: Workload) -> None:
    run = read_run(compared[0].folder("numba") / "run.trec")
    oracle = Oracle(workload.documents)
    for query_id, query in zip(workload.query_ids, workload.queries, strict=True):
        rows, scores = oracle.rank(query, 1000)
        assert run.get(query_id, {}) == dict(zip((workload.doc_ids[row] for row in rows), scores, strict=True))


def test_a_run_that_no_file_can_hold_costs_no_figure(
    compared: tuple[Plan, Results], workload: Workload, caplog: pytest.LogCaptureFixture
) -> None:
    named = Workload(workload.folder)
    named.__dict__["doc_ids"] = [doc_id.replace("-", " ") for doc_id in workload.doc_ids]
    measured = collect(compared[0], named, {}).engines[0]
    assert measured.name == "numba" and set(measured.quality) == set(result(compared, "numba").quality)
    assert "no run.trec" in caplog.text and not (compared[0].folder("numba") / "run.trec").exists()
    collect(compared[0], workload, {})
    assert (compared[0].folder("numba") / "run.trec").exists()


def test_failures_are_told_and_lose_nothing(compared: tuple[Plan, Results]) -> None:
    for name, told in (("dense", "no_such_module"), ("qdrant", "qdrant")):
        found = result(compared, name)
        assert found.failure is not None
        assert found.failure.step == "build"
        assert told in found.failure.message
        assert (found.build, found.rounds, found.quality) == (None, 0, {})


def test_what_is_done_is_not_done_again(compared: tuple[Plan, Results], monkeypatch: pytest.MonkeyPatch) -> None:
    planned, results = compared
    monkeypatch.setattr(steps.subprocess, "run", lambda *_, **__: pytest.fail("a finished step ran again"))
    finished = Plan(planned.workload, planned.out, ("numba", "bm25"), planned.rounds, planned.settings)
    assert run_steps(finished) == {}
    again = collect(finished, Workload(planned.workload), {})
    assert [engine.latency_ms for engine in again.engines] == [result((planned, results), name).latency_ms for name in ("numba", "bm25")]


def test_a_missing_round_and_another_setting_are_run(workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(steps, "_run", lambda _, asked: finish(asked, ran))
    run_steps(plan(workload, tmp_path, "numba", "bm25"))
    assert ran == ["build numba", "build bm25", "round numba", "round bm25", "round bm25", "round numba", "agree numba", "agree bm25"]
    (tmp_path / "engines/bm25/round-1.json").unlink()
    ran.clear()
    run_steps(plan(workload, tmp_path, "numba", "bm25"))
    assert ran == ["round bm25"]
    ran.clear()
    run_steps(plan(workload, tmp_path, "numba", "bm25", settings={**SETTINGS, "options": {"bm25.k1": "0.9"}}))
    assert {each.split()[1] for each in ran} == {"bm25"}


def finish(asked: Specification, ran: list[str]) -> None:
    ran.append(f"{asked.step} {asked.engine}")
    asked.result.parent.mkdir(parents=True, exist_ok=True)
    asked.result.write_text(json.dumps({"basis": asked.basis, "found": {}}))


def test_a_process_that_is_killed_is_a_failure(workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"
    run = steps.subprocess.run
    monkeypatch.setattr(steps.subprocess, "run", lambda command, **options: run([command[0], "-c", killed], **options))
    failures = run_steps(plan(workload, tmp_path, "numba"))
    assert "signal 9" in failures["numba"].message


def test_a_step_that_takes_too_long_is_stopped(workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = steps.subprocess.run
    sleeping = "import time; time.sleep(60)"
    monkeypatch.setattr(steps.subprocess, "run", lambda command, **options: run([command[0], "-c", sleeping], **options))
    failures = run_steps(Plan(workload.folder, tmp_path, ("numba",), 1, SETTINGS, limit=0.5))
    assert "--limit" in failures["numba"].message


def test_a_worker_says_why_it_failed(workload: Workload, tmp_path: Path) -> None:
    asked = plan(workload, tmp_path, "numba").step("round", "numba")  # nothing was built
    Path(asked.home).mkdir(parents=True)
    asked.write(tmp_path / "step.json")
    assert main(os.fspath(tmp_path / "step.json")) == 1
    assert asked.failure.read_text().startswith("StoreNotFoundError: ")
    assert asked.read() is None


def test_hits_are_read_as_they_were_written(tmp_path: Path) -> None:
    hits = [Hits(np.array(rows, np.int64), np.array(rows) / 3) for rows in ([5, 2], [], [7])]
    write_hits(tmp_path / "hits.npz", hits)
    for (rows, scores), written in zip(read_hits(tmp_path / "hits.npz"), hits, strict=True):
        assert np.array_equal(rows, written.rows)
        assert np.array_equal(scores, written.scores)


def test_latency_is_over_queries_each_by_its_median() -> None:
    found = latency([[0.001, 0.004, 0.002], [0.003, 0.002], [0.002, 0.009]])
    assert found.mean == pytest.approx((2 + 4 + 2) / 3)
    assert found.p50 == pytest.approx(2)
