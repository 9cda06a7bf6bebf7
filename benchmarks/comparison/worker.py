"""One step of one engine in a process of its own: python -m benchmarks.comparison.worker SPECIFICATION.json

Nothing that one engine does to its process (memory, threads, a crash) can touch the figures of another.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.comparison.agreement import agreement
from benchmarks.comparison.oracle import Oracle
from benchmarks.comparison.results import THREADS, TOP_KS
from benchmarks.engines import open_engine
from benchmarks.engines.base import Engine, Hits, Query, Settings
from benchmarks.harness.memory import status_bytes
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.atomic import write_atomically

FEWEST = 20  # queries that are timed however slow they are


@dataclass(frozen=True)
class Specification:
    """What a step is to do.

    Attributes:
        step: "build", "round" or "agree".
        round: counts from 0; the first one answers every query, whose hits are kept, the others may stop early.
        out: folder of the engine's files.
        seconds: after so long no further query is timed (FEWEST at least), in each of a round's measurements.
    """

    step: str
    engine: str
    workload: str
    home: str
    out: str
    settings: dict[str, Any]
    round: int = 0
    seconds: float = 60.0

    @property
    def result(self) -> Path:
        """Where the step's result goes; whoever finds it there need not run the step."""
        return Path(self.out) / (f"round-{self.round}.json" if self.step == "round" else f"{self.step}.json")

    @property
    def basis(self) -> dict[str, Any]:
        """What a result depends on beside its step: one that was found with something else is not used again."""
        own = (self.engine, self.engine.removeprefix("rerank:"))
        options = {name: value for name, value in self.settings["options"].items() if name.rpartition(".")[0] in own}
        options.pop(f"{self.engine}.pid", None)  # of a server, which is another one each time
        return {"options": options, "models": self.settings["models"]}

    def read(self) -> dict[str, Any] | None:
        """The result of the step; None: it was not run yet, or with something else."""
        if not self.result.exists():
            return None
        content: dict[str, Any] = json.loads(self.result.read_text(encoding="utf-8"))
        return content["found"] if content["basis"] == self.basis else None

    @property
    def failure(self) -> Path:
        """Where the step says why it failed."""
        return Path(self.out) / "failure.txt"

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def main(path: str) -> int:
    """Run the step of a specification and write its result, or why there is none. Returns the exit code."""
    asked = Specification(**json.loads(Path(path).read_text(encoding="utf-8")))
    try:
        found = _run(asked)
    except Exception as error:  # the process ends with it; what the library raised is for the report
        (Path(asked.out) / "log.txt").write_text(traceback.format_exc(), encoding="utf-8")
        asked.failure.write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        return 1
    write_atomically(asked.result, json.dumps({"basis": asked.basis, "found": found}, ensure_ascii=False, indent=2))
    return 0


def _run(asked: Specification) -> dict[str, Any]:
    workload = Workload(Path(asked.workload))
    engine = open_engine(asked.engine, workload, Path(asked.home), Settings(**asked.settings))
    steps: dict[str, Callable[[Engine, Workload, Specification], dict[str, Any]]] = {"build": _build, "round": _round, "agree": _agree}
    return steps[asked.step](engine, workload, asked)


def _build(engine: Engine, workload: Workload, asked: Specification) -> dict[str, Any]:
    engine.prepare()
    started = time.perf_counter()
    engine.build()
    seconds = time.perf_counter() - started
    query_seconds = engine.query_seconds()
    return {
        "build": {
            "seconds": seconds,
            "documents_per_second": len(workload.documents) / seconds,
            "bytes_on_disk": engine.bytes_on_disk(),
            "peak_memory": sum((status_bytes("VmHWM", process) or 0) for process in engine.processes()),
        },
        "query_seconds": None if query_seconds is None else query_seconds.tolist(),
        "facts": engine.facts(),
    }


def _round(engine: Engine, workload: Workload, asked: Specification) -> dict[str, Any]:
    queries = list(map(Query, workload.query_ids, workload.query_texts, workload.queries))
    engine.open()
    for top_k in TOP_KS:  # compiles, and fills caches
        for query in queries[:FEWEST]:
            engine.search(query, top_k)
    times: dict[int, list[float]] = {}
    for top_k in TOP_KS:
        found, times[top_k] = _timed(engine, queries, top_k, asked)
        if asked.round == 0:
            write_hits(Path(asked.out) / f"hits-{top_k}.npz", found)
    rates = {top_k: {threads: _rate(engine, queries, top_k, threads, asked, times[top_k]) for threads in THREADS} for top_k in TOP_KS}
    memory = sum((status_bytes("VmRSS", process) or 0) for process in engine.processes())
    facts = engine.facts()
    engine.close()
    return {"seconds": times, "queries_per_second": rates, "memory": memory, "facts": facts}


def _timed(engine: Engine, queries: list[Query], top_k: int, asked: Specification) -> tuple[list[Hits], list[float]]:
    """Hits and seconds of the queries one by one; of the first of them in later rounds of a slow engine."""
    found, seconds = [], []
    for query in tqdm(queries, f"{asked.engine}, round {asked.round + 1}, top {top_k}", unit=" queries", disable=None, leave=False):
        started = time.perf_counter()
        found.append(engine.search(query, top_k))
        seconds.append(time.perf_counter() - started)
        if asked.round and sum(seconds) > asked.seconds and len(seconds) >= FEWEST:
            break
    return found, seconds


def _rate(engine: Engine, queries: list[Query], top_k: int, threads: int, asked: Specification, seconds: list[float]) -> float:
    """Queries/s of a batch: all of them, or as many as the time allows."""
    fitting = max(FEWEST, int(asked.seconds / statistics.mean(seconds)))
    batch = queries[:fitting]
    engine.search_batch(batch[:FEWEST], top_k, threads)  # compiles, and starts threads
    started = time.perf_counter()
    engine.search_batch(batch, top_k, threads)
    return len(batch) / (time.perf_counter() - started)


def _agree(engine: Engine, workload: Workload, asked: Specification) -> dict[str, Any]:
    if not engine.sparse:
        return {}
    engine.open()
    kept = engine.quantized(workload.documents)
    engine.close()
    exact, stored = Oracle(workload.documents), None if kept is None else Oracle(kept)
    found = {top_k: [rows for rows, _ in read_hits(Path(asked.out) / f"hits-{top_k}.npz")] for top_k in TOP_KS}
    return {str(top_k): agreement(workload.queries, rows, exact, stored, top_k).model_dump() for top_k, rows in found.items()}


def write_hits(path: Path, found: list[Hits]) -> None:
    """Hits of all queries: rows and scores behind each other, and where those of each query begin."""
    rows = np.concatenate([each.rows for each in found]).astype(np.int64)
    scores = np.concatenate([each.scores for each in found]).astype(np.float64)
    np.savez(path, rows=rows, scores=scores, begin=np.cumsum([0, *(len(each.rows) for each in found)]))


def read_hits(path: Path) -> list[Hits]:
    """What write_hits() wrote."""
    with np.load(path, allow_pickle=False) as held:
        rows, scores, begin = held["rows"], held["scores"], held["begin"]
    return [Hits(rows[start:end], scores[start:end]) for start, end in itertools.pairwise(begin)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
