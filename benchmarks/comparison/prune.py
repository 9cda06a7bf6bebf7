"""Static pruning of documents: what it costs in quality and what it saves in room and time, on our own index."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from benchmarks.comparison.agreement import right_share
from benchmarks.comparison.oracle import Oracle, Ranking
from benchmarks.comparison.report import write_report
from benchmarks.comparison.results import FILE, MEASURES, TOP_KS, PrunedResult, Results
from benchmarks.comparison.summary import run_of, workload_facts
from benchmarks.harness.latency import latency
from benchmarks.harness.machine import machine
from benchmarks.workloads.choice import workload_of
from benchmarks.workloads.workload import Workload, batches
from splade_ptbr_connectors.evaluation.measures import measure
from splade_ptbr_connectors.pruning import Pruning, parse_pruning

if TYPE_CHECKING:
    from splade_ptbr_connectors.stores.numba import ImpactIndex

SWEEP = (
    "top_k=128,top_k=96,top_k=64,top_k=48,top_k=32,top_k=16,threshold=0.2,threshold=0.4,threshold=0.6,threshold=0.8,threshold=1,threshold=1.5,"
    "quantile=0.1,quantile=0.2,quantile=0.4,quantile=0.6,quantile=0.8"
)


def prune(
    collection: Annotated[str, typer.Option(help="As of `run`; a folder of an earlier run is used again.")],
    out: Annotated[Path, typer.Option(help="Folder of the report; one of `run` gets the curves added.")],
    prunings: Annotated[str, typer.Option(help="Comma-separated: top_k=N, threshold=WEIGHT, quantile=SHARE.")] = SWEEP,
    model: Annotated[str, typer.Option(help="Encodes documents and queries.")] = "mini",
    split: Annotated[str | None, typer.Option(help="Of the collection's judgments.")] = None,
    documents: Annotated[int, typer.Option(help="Documents of synthetic.", min=1000)] = 528_032,
    rounds: Annotated[int, typer.Option(help="Times that every query is asked; its median counts.", min=1)] = 3,
) -> None:
    """Prune by each rule, index, search: quality against size against latency (Lassance et al. 2023, arXiv 2304.12702)."""
    rules = [(text.strip(), parse_pruning(text.strip())) for text in prunings.split(",")]
    workload = workload_of(collection, out / "workload", model, split=split, documents=documents)
    sweep = Sweep(workload, rounds)
    found = [sweep.measured("none", None)]
    found += [sweep.measured(text, rule) for text, rule in tqdm(rules, "prune", disable=None)]
    earlier = Results.read(out) if (out / FILE).exists() else Results(workload=workload_facts(workload), machine=machine())
    for path in write_report(out, earlier.model_copy(update={"pruning": found})):
        typer.echo(path)


class Sweep:
    """Measures prunings of one workload against its exact ranking."""

    def __init__(self, workload: Workload, rounds: int) -> None:
        self.workload = workload
        self.rounds = rounds
        self.exact = Oracle(workload.documents)
        self.best: dict[int, list[Ranking]] = {top_k: list(self.exact.rankings(workload.queries, top_k)) for top_k in TOP_KS}

    def measured(self, text: str, rule: Pruning | None) -> PrunedResult:
        """One point of the curves: an index of the pruned documents in a temporary folder."""
        from splade_ptbr_connectors.stores.numba import ImpactIndex

        pruned = self.workload.documents if rule is None else rule.apply(self.workload.documents)
        with tempfile.TemporaryDirectory() as folder:
            index = ImpactIndex.create(folder, batches(pruned))
            found = {top_k: self._searched(index, top_k) for top_k in TOP_KS}
            size = index.nbytes
        return PrunedResult(
            pruning=text,
            terms_per_document=len(pruned.term_ids) / len(pruned),
            bytes_on_disk=size,
            latency_ms={top_k: latency(seconds) for top_k, (_, seconds) in found.items()},
            quality=self._quality(found[max(TOP_KS)][0]),
            agreement={
                top_k: right_share(self.workload.queries, [rows for rows, _ in hits], self.exact, self.best[top_k], top_k)
                for top_k, (hits, _) in found.items()
            },
        )

    def _searched(self, index: ImpactIndex, top_k: int) -> tuple[list[Ranking], list[list[float]]]:
        """(hits by query, seconds by round and query), after one round that is not measured."""
        seconds, hits = list[list[float]](), list[Ranking]()
        for _ in range(self.rounds + 1):
            times, hits = [], []
            for query in self.workload.queries:
                started = time.perf_counter()
                hits.append(index.search(query, top_k))
                times.append(time.perf_counter() - started)
            seconds.append(times)
        return hits, seconds[1:]

    def _quality(self, hits: list[Ranking]) -> dict[str, float]:
        return measure(run_of(self.workload, hits), self.workload.qrels, MEASURES).means if self.workload.qrels else {}
