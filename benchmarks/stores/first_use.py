"""The first use of a `numba:` store: seconds of an ingest and of a search that compile their kernels, and that find them compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.harness.machine import machine
from benchmarks.workloads.synthetic import make_collection
from splade_ptbr_connectors.errors import SpladeConnectorsError
from splade_ptbr_connectors.vectors import SparseBatch

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
GOAL_S = 3.0
_WORKER = "import runpy, sys\nfrom pathlib import Path\n_, worker, url, vectors, checkpoint = sys.argv\nworker = runpy.run_path(worker)\n"
_INGEST = _WORKER + 'worker["load"](url, Path(vectors), checkpoint)'
_SEARCH = (
    _WORKER
    + """
with worker["opened"](url, create=False) as store:
    assert store.search(worker["batch_of"](Path(vectors), "queries")[0], 10)
"""
)
Times = dict[str, list[tuple[float, float]]]


def first_use(
    documents: Annotated[int, typer.Option(help="Documents to ingest: few, so that nothing but the start takes time.", min=10)] = 1000,
    rounds: Annotated[int, typer.Option(help="Rounds; the best of each time counts.", min=1)] = 3,
    against: Annotated[Path | None, typer.Option(help="Another checkout, whose package is measured in the same rounds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """An ingest and a search that compile what they need (goal: 3 s each), and that find it compiled; each a process of its own."""
    checkouts = {"this": CHECKOUT} | ({} if against is None else {"against": against.resolve()})
    found: dict[str, Times] = {name: {} for name in checkouts}
    with tempfile.TemporaryDirectory() as temporary:
        _write_vectors(Path(temporary), documents)
        for turn in range(rounds):
            for name, checkout in checkouts.items():
                _measure(Path(temporary) / f"{name}-{turn}", Path(temporary), checkout, found[name])
    rows = [_row(name, what, times) for name, each in found.items() for what, times in each.items()]
    settings = {"documents": documents, "rounds": rounds}
    if as_json:
        typer.echo(json.dumps({"benchmark": "first-use", "settings": settings, "machine": machine(), "rows": rows}, indent=2))
        return
    typer.echo("first-use: " + ", ".join(f"{key} {value}" for key, value in {**settings, **machine()}.items()) + "\n")
    for row in rows:
        typer.echo(
            f"{row['checkout']:8} {row['what']:24} {row['seconds']:7.2f} s, {row['processor_seconds']:6.2f} s of one core{row['goal']}"
        )


def _row(name: str, what: str, times: list[tuple[float, float]]) -> dict[str, Any]:
    seconds, processor = (min(each) for each in zip(*times, strict=True))
    met = "ok" if seconds <= GOAL_S else "missed"
    goal = f"   goal <= {GOAL_S:g}: {met}" if name == "this" and "compiles" in what else ""
    return {"checkout": name, "what": what, "seconds": seconds, "processor_seconds": processor, "goal": goal}


def _write_vectors(home: Path, documents: int) -> None:
    batch, asked = make_collection(documents, 1)
    for name, vectors in (("documents", batch), ("queries", SparseBatch.from_vectors(asked))):
        for part in ("indptr", "term_ids", "weights"):
            np.save(home / f"{name}-{part}.npy", getattr(vectors, part))


def _measure(own: Path, vectors: Path, checkout: Path, times: Times) -> None:
    """One round: the search does not find what the ingest compiled."""
    for what, code in (("ingest", _INGEST), ("search", _SEARCH)):
        for state in ("compiles", "finds it compiled"):
            url = f"numba:{own}-{state if what == 'ingest' else 'compiles'}"
            arguments = (url, str(vectors), f"{own}-{state}.checkpoint")
            times.setdefault(f"{what}, {state}", []).append(_timed(code, checkout, own / what, *arguments))


def _timed(code: str, checkout: Path, cache: Path, *arguments: str) -> tuple[float, float]:
    """(seconds, seconds of one core) of a process from its start to its end."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(checkout)}
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [sys.executable, "-c", code, str(HERE / "embedded_worker.py"), *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )
    seconds, after = time.perf_counter() - started, os.times()
    if done.returncode:
        raise SpladeConnectorsError(f"a process of {checkout} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, spent
