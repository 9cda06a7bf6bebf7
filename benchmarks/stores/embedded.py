"""Embedded stores as a program meets them: ids, payloads and hashes loaded by ingest(), opened, searched; beside another checkout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.harness.machine import disk_bytes, machine
from benchmarks.workloads.synthetic import make_collection
from splade_ptbr_connectors.errors import SpladeConnectorsError

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
FIGURES = ("documents_per_second", "bytes_a_document", "open_ms", "top_10_ms", "top_1000_ms")


def embedded(
    documents: Annotated[int, typer.Option(help="Documents to load.", min=1000)] = 100_000,
    queries: Annotated[int, typer.Option(help="Queries.", min=1)] = 100,
    drawn: Annotated[int, typer.Option(help="Terms drawn for a document; 40 leaves about 47 of them, 120 about 143.", min=1)] = 40,
    engines: Annotated[str, typer.Option(help="Engines, separated by commas.")] = "numba,edge",
    against: Annotated[Path | None, typer.Option(help="Another checkout, whose package is measured in the same run.")] = None,
    rounds: Annotated[int, typer.Option(help="Rounds; the best time of a query counts.", min=1)] = 3,
    kill: Annotated[bool, typer.Option(help="Kill each load half way, and go on by its checkpoint.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where stores are written (default: the temporary folder).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Loading, opening and searching `numba:` and `edge:` stores, each in processes of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        home = Path(temporary)
        _write_vectors(home, documents, queries, drawn)
        sides = {(engine, name): path for engine in engines.split(",") for name, path in _checkouts(against).items()}
        loaded = {side: _load(home, *side, checkout, documents, kill=kill) for side, checkout in sides.items()}
        found = {side: loaded[side] | _search(home, *side, checkout, rounds) for side, checkout in sides.items()}
    rows = [{"engine": engine, "checkout": name, **facts} for (engine, name), facts in found.items()]
    settings = {"documents": documents, "queries": queries, "killed half way": kill}
    if as_json:
        typer.echo(json.dumps({"settings": settings, "machine": machine(), "rows": rows}, indent=2))
        return
    typer.echo(", ".join(f"{key} {value}" for key, value in {**settings, **machine()}.items()) + "\n")
    for row in rows:
        typer.echo(f"{row['engine']:6} {row['checkout']:8} " + "   ".join(f"{name} {row[name]:,.3f}" for name in FIGURES))


def _checkouts(against: Path | None) -> dict[str, Path]:
    return {"this": CHECKOUT} | ({} if against is None else {"against": against.resolve()})


def _write_vectors(home: Path, documents: int, queries: int, drawn: int) -> None:
    batch, asked = make_collection(documents, queries, drawn=drawn)
    from splade_ptbr_connectors.vectors import SparseBatch

    for name, vectors in (("documents", batch), ("queries", SparseBatch.from_vectors(asked))):
        for part in ("indptr", "term_ids", "weights"):
            np.save(home / f"{name}-{part}.npy", getattr(vectors, part))


def _load(home: Path, engine: str, name: str, checkout: Path, documents: int, *, kill: bool) -> dict[str, Any]:
    place = home / f"{engine}-{name}"
    arguments = ("load", f"{engine}:{place}", str(home), str(place) + ".checkpoint")
    if kill:
        with _worker(checkout, *arguments) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip().isdigit() and int(line) > documents // 2:
                    break
            process.send_signal(signal.SIGKILL)
    told = _said(_worker(checkout, *arguments), f"{engine} of {checkout}")
    if told["count"] != documents:
        raise SpladeConnectorsError(f"{engine} of {checkout} holds {told['count']:,} documents, {documents:,} were loaded.")
    return {"documents_per_second": told["written"] / told["seconds"], "bytes_a_document": disk_bytes(place) / documents}


def _search(home: Path, engine: str, name: str, checkout: Path, rounds: int) -> dict[str, Any]:
    place = home / f"{engine}-{name}"
    return _said(_worker(checkout, "search", f"{engine}:{place}", str(home), str(rounds)), f"{engine} of {checkout}")


def _worker(checkout: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "embedded_worker.py"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)})


def _said(process: subprocess.Popen[str], who: str) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode:
        raise SpladeConnectorsError(f"{who} ended with {process.returncode}.")
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    return told
