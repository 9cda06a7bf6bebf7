"""`models`: how fast, how large and how sparse whole models are, beside a BERT of base size."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from benchmarks.encoding.checkpoints import random_bert
from benchmarks.encoding.runners import Measured, Runner, measure_runner, query_times
from benchmarks.encoding.texts import DOCUMENTS, QUERIES, Texts, read_collection
from benchmarks.harness.latency import latency
from benchmarks.harness.machine import machine
from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.demo.sample import SAMPLE
from splade_ptbr_connectors.encoding.folder import find_model, shipped_models

BASE = "BERT base, random weights"
TERMS_OF = 200  # documents whose terms are counted


@dataclass(frozen=True)
class Figures:
    """Of one model. Rates are texts a second with all cores, medians of the rounds; times are of queries alone, on one core."""

    model: str
    megabytes: float
    load_s: float
    documents: float
    times_base: float | None
    queries: float
    query_ms_p50: float
    query_ms_p95: float
    terms_query: float
    terms_document: float


def models(
    model: Annotated[list[str] | None, typer.Option(help="Shipped name, folder or hub id; may be given several times.")] = None,
    collection: Annotated[Path, typer.Option(help="Folder in BEIR's layout.")] = SAMPLE,
    split: Annotated[str, typer.Option(help="File below qrels/ that says which queries count.")] = "test",
    documents: Annotated[int, typer.Option(help="Of the collection, at most.", min=1)] = 500,
    base_documents: Annotated[int, typer.Option(help="For the base size, which is slow; 0 leaves it out.", min=0)] = 64,
    rounds: Annotated[int, typer.Option(help="Rounds; in each, every model runs once, in a process of its own.", min=1)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Documents and queries a second of each model, in turn, and milliseconds of a query on one core."""
    texts = read_collection(collection, split)
    steps = {QUERIES: texts.steps[QUERIES], DOCUMENTS: texts.steps[DOCUMENTS][:documents]}
    with tempfile.TemporaryDirectory(prefix="splade-benchmark-") as name:
        place = Path(name)
        runners = {one: (Runner(one, "ours", one), steps) for one in model or shipped_models()}
        if base_documents:
            few = {QUERIES: steps[QUERIES][:base_documents], DOCUMENTS: steps[DOCUMENTS][:base_documents]}
            runners[BASE] = Runner(BASE, "ours", random_bert(place).onnx), few
        found = list(_figures(runners, rounds, place))
    if as_json:
        typer.echo(json.dumps({"benchmark": "models", "collection": texts.name, **machine(), "models": list(map(asdict, found))}, indent=2))
    else:
        _show(texts, found)


def _figures(runners: dict[str, tuple[Runner, dict[str, list[str]]]], rounds: int, place: Path) -> list[Figures]:
    measured: dict[str, list[Measured]] = {name: [] for name in runners}
    order = [(name, number) for number in range(rounds) for name in (runners if number % 2 == 0 else reversed(runners))]
    for name, number in tqdm(order, "models", unit=" processes", disable=None, file=sys.stderr):
        runner, steps = runners[name]
        file = place / f"{number}.json"
        file.write_text(json.dumps(steps), encoding="utf-8")
        measured[name].append(measure_runner(runner, file))
    base = _rate(measured[BASE], DOCUMENTS) if BASE in measured else None
    return [_of_model(runner, steps, measured[name], base) for name, (runner, steps) in runners.items()]


def _of_model(runner: Runner, steps: dict[str, list[str]], measured: list[Measured], base: float | None) -> Figures:
    encoder, times = SpladeEncoder.load(runner.model), latency([query_times(runner, steps[QUERIES])])
    rate = _rate(measured, DOCUMENTS)
    return Figures(
        runner.name,
        sum(file.stat().st_size for file in find_model(runner.model).path.rglob("*") if file.is_file()) / 1e6,
        median(one.load_s for one in measured),
        rate,
        rate / base if base else None,
        _rate(measured, QUERIES),
        times.p50,
        times.p95,
        float(np.mean([len(vector) for vector in encoder.encode_queries(steps[QUERIES])])),
        float(np.mean([len(vector) for vector in encoder.encode_documents(steps[DOCUMENTS][:TERMS_OF])])),
    )


def _rate(measured: list[Measured], step: str) -> float:
    return median(one.steps[step].rate for one in measured)


def _show(texts: Texts, found: list[Figures]) -> None:
    facts = machine()
    typer.echo(f"{texts.name}: {facts['processor']}, {facts['cores']} cores, load {facts['load']}\n")
    typer.echo(
        "| model | MB | loaded in s | documents/s | times base | queries/s | ms a query, one core: p50 | p95 | terms a query | document |"
    )
    typer.echo("| --- " + "| ---: " * 9 + "|")
    for one in found:
        times = "-" if one.times_base is None else f"{one.times_base:.1f}"
        typer.echo(
            f"| {one.model} | {one.megabytes:.1f} | {one.load_s:.2f} | {one.documents:,.0f} | {times} | {one.queries:,.0f} "
            f"| {one.query_ms_p50:.2f} | {one.query_ms_p95:.2f} | {one.terms_query:.1f} | {one.terms_document:.0f} |"
        )
