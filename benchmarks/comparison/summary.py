"""Puts the results of all steps together."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.comparison.oracle import Ranking
from benchmarks.comparison.results import (
    FILE,
    MEASURES,
    THREADS,
    TOP_KS,
    Agreement,
    Build,
    EngineResult,
    Failure,
    Results,
    WorkloadFacts,
)
from benchmarks.comparison.steps import Plan
from benchmarks.comparison.worker import read_hits
from benchmarks.harness.latency import latency
from benchmarks.harness.machine import machine
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.errors import InputError
from splade_ptbr_connectors.evaluation.measures import measure
from splade_ptbr_connectors.evaluation.runs import Run, write_run

logger = logging.getLogger(__name__)


def collect(plan: Plan, workload: Workload, failures: Mapping[str, Failure]) -> Results:
    """The results of a plan as far as it was run; writes each engine's TREC run beside its files."""
    pruning = Results.read(plan.out).pruning if (plan.out / FILE).exists() else []  # of `benchmarks prune`, which stays
    engines = [_engine(plan, workload, engine, failures.get(engine)) for engine in plan.engines]
    return Results(workload=workload_facts(workload), machine=machine(), engines=engines, pruning=pruning)


def workload_facts(workload: Workload) -> WorkloadFacts:
    """What a report says of a workload."""
    return WorkloadFacts(
        name=workload.about.name,
        model=workload.about.model,
        documents=len(workload.documents),
        queries=len(workload.queries),
        judged_queries=len(workload.qrels),
        terms_per_document=len(workload.documents.term_ids) / len(workload.documents),
        terms_per_query=len(workload.queries.term_ids) / len(workload.queries),
        notes=list(workload.about.notes),
    )


def _engine(plan: Plan, workload: Workload, engine: str, failure: Failure | None) -> EngineResult:
    built = plan.step("build", engine).read()
    rounds = [found for number in range(plan.rounds) if (found := plan.step("round", engine, number).read()) is not None]
    agreed = plan.step("agree", engine).read() or {}
    return EngineResult(
        name=engine,
        facts=(rounds[-1] if rounds else built or {}).get("facts", {}),
        failure=failure,
        build=None if built is None else Build(**built["build"]),
        rounds=len(rounds),
        memory=int(statistics.median(found["memory"] for found in rounds)) if rounds else None,
        query_ms=latency([built["query_seconds"]]) if built and built.get("query_seconds") else None,
        latency_ms={top_k: latency([found["seconds"][str(top_k)] for found in rounds]) for top_k in TOP_KS} if rounds else {},
        queries_per_second={top_k: _rates(rounds, top_k) for top_k in TOP_KS} if rounds else {},
        quality=_quality(plan, workload, engine) if rounds else {},
        agreement={int(top_k): Agreement(**found) for top_k, found in agreed.items()},
    )


def _rates(rounds: list[dict[str, Any]], top_k: int) -> dict[int, float]:
    return {threads: statistics.median(found["queries_per_second"][str(top_k)][str(threads)] for found in rounds) for threads in THREADS}


def _quality(plan: Plan, workload: Workload, engine: str) -> dict[str, float]:
    if not workload.qrels:
        return {}
    run = run_of(workload, read_hits(plan.folder(engine) / f"hits-{max(TOP_KS)}.npz"))
    file = plan.folder(engine) / "run.trec"
    try:
        write_run(file, run, tag=engine)
    except InputError as error:  # ids that the format does not hold, or no hit at all: what was measured stays
        file.unlink(missing_ok=True)
        logger.warning("%s: there is no run.trec of it: %s", engine, error)
    return measure(run, workload.qrels, MEASURES).means


def run_of(workload: Workload, hits: Sequence[Ranking]) -> Run:
    """The run of hits [queries] that name documents by row."""
    return {
        query_id: dict(zip((workload.doc_ids[row] for row in rows.tolist()), scores.tolist(), strict=True))
        for query_id, (rows, scores) in zip(workload.query_ids, hits, strict=True)
    }
