"""What `encode` found of one checkpoint on one collection: vectors compared, goals, a table, JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import typer

from benchmarks.encoding.runners import Measured
from benchmarks.encoding.texts import QUERIES, Texts
from benchmarks.harness.machine import machine
from benchmarks.harness.rounds import Ratio, compare
from splade_ptbr_connectors.evaluation.measures import measure
from splade_ptbr_connectors.vectors import SparseBatch

EXACT, LOSS = 1e-4, 0.002
TWICE, SAME, THIRD = 2.0, 1.0, 3.0
MEASURE, CUT_OFF = "nDCG@10", 10


@dataclass(frozen=True)
class Likeness:
    """Vectors beside those of sentence-transformers with its default settings: largest difference of a weight, and the like."""

    largest_difference: float
    equal_term_sets: float
    cosine_mean: float
    cosine_min: float


@dataclass(frozen=True)
class Case:
    """One checkpoint on one collection.

    Attributes:
        baseline, tuned: the runners that are sentence-transformers with its default batch size and with its best one.
        found: runner -> what each round measured.
        likeness: runner -> step -> Likeness.
        ndcg: runner -> nDCG@10; empty where the checkpoint has random weights.
        lengths: step -> tokens of a text: mean, median, 95th percentile, largest.
    """

    checkpoint: str
    collection: str
    texts: dict[str, int]
    lengths: dict[str, list[float]]
    baseline: str
    tuned: str
    found: dict[str, list[Measured]]
    likeness: dict[str, dict[str, Likeness]]
    ndcg: dict[str, float]

    @property
    def ours(self) -> list[str]:
        """Names of our runners."""
        return [name for name in self.found if name not in (self.baseline, self.tuned)]

    def rates(self, step: str) -> dict[str, list[float]]:
        """Runner -> texts a second of each round."""
        return {name: [each.steps[step].rate for each in rounds] for name, rounds in self.found.items()}

    def peaks(self, step: str) -> dict[str, list[float]]:
        """Runner -> largest resident bytes of each round."""
        return {name: [float(each.steps[step].peak_bytes) for each in rounds] for name, rounds in self.found.items()}

    def loss(self, runner: str) -> float | None:
        """Points of nDCG@10 below sentence-transformers; None where nothing is judged."""
        return self.ndcg[self.baseline] - self.ndcg[runner] if self.ndcg else None

    def comparisons(self) -> list[Ratio]:
        """The goals of every step of documents."""
        return [goal for step in self.texts if step != QUERIES for goal in self._goals(step)]

    def without_exact_side(self) -> list[str]:
        """Steps of documents on which no runner of ours gives the vectors of sentence-transformers."""
        return [step for step in self.texts if step != QUERIES and not self._exact(step)]

    def _exact(self, step: str) -> list[str]:
        return [name for name in self.ours if self.likeness[name][step].largest_difference <= EXACT]

    def _goals(self, step: str) -> list[Ratio]:
        rates, peaks, exact = self.rates(step), self.peaks(step), self._exact(step)
        near = [name for name in self.ours if (loss := self.loss(name)) is not None and loss <= LOSS]
        goals = []
        if self.ndcg and (best := _fastest(near, rates)):
            goals.append(compare(f"{step}/s, loss at most {LOSS} {MEASURE}", rates, best, self.baseline, TWICE))
        elif fastest := _fastest([] if self.ndcg else self.ours, rates):
            goals.append(compare(f"{step}/s, nothing judged", rates, fastest, self.baseline, None))
        if same := min(exact, key=lambda name: statistics.median(peaks[name]), default=None):  # one runner has to do both
            goals.append(compare(f"{step}/s, exact", rates, same, self.baseline, SAME))
            goals.append(compare(f"{step}, peak memory, exact", peaks, self.baseline, same, THIRD))
            goals.append(compare(f"{step}/s, exact, against its best batch size", rates, same, self.tuned, None))
        return goals


def _fastest(names: list[str], rates: Mapping[str, list[float]]) -> str | None:
    return max(names, key=lambda name: statistics.median(rates[name]), default=None)


def compare_vectors(theirs: SparseBatch, ours: SparseBatch, vocab_size: int, left_out: tuple[int, ...]) -> Likeness:
    """Row by row, without the terms `left_out`."""
    first, second = (_matrix(batch, vocab_size, left_out) for batch in (theirs, ours))
    difference = abs(first - second)
    equal = [np.array_equal(_terms(first, row), _terms(second, row)) for row in range(first.shape[0])]
    norms = [np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))) for matrix in (first, second)]
    products, lengths = np.asarray(first.multiply(second).sum(axis=1)), norms[0] * norms[1]
    both_empty = (norms[0] == 0) & (norms[1] == 0)
    cosines = np.where(both_empty, 1.0, products / np.where(lengths > 0, lengths, 1.0))
    largest = float(difference.max()) if difference.nnz else 0.0
    return Likeness(largest, float(np.mean(equal)), float(cosines.mean()), float(cosines.min()))


def _matrix(batch: SparseBatch, vocab_size: int, left_out: tuple[int, ...]) -> Any:
    matrix = batch.to_scipy(vocab_size).astype(np.float64)
    matrix.data[np.isin(matrix.indices, left_out)] = 0.0
    matrix.eliminate_zeros()
    return matrix


def _terms(matrix: Any, row: int) -> Any:
    return np.sort(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]])


def ndcg(queries: SparseBatch, documents: SparseBatch, vocab_size: int, left_out: tuple[int, ...], texts: Texts) -> float:
    """nDCG@10 of the exact ranking by dot products; equal scores in the order of the collection."""
    left, right = _matrix(queries, vocab_size, left_out), _matrix(documents, vocab_size, left_out).T.tocsr()
    run = {}
    for row, query_id in enumerate(texts.query_ids):
        scores = (left[[row]] @ right).toarray()[0]
        best = np.argsort(-scores, kind="stable")[:CUT_OFF]
        run[query_id] = {texts.doc_ids[n]: float(scores[n]) for n in best if scores[n] > 0}
    return measure(run, texts.qrels, (MEASURE,)).means[MEASURE]


# -- what is shown ------------------------------------------------------------------------------------------------------


def show(cases: list[Case], settings: dict[str, Any], *, as_json: bool) -> None:
    """Print the tables, or one JSON document."""
    if as_json:
        content = {"benchmark": "encode", "settings": settings, "machine": machine(), "cases": [_content(case) for case in cases]}
        typer.echo(json.dumps(content | {"means": means(cases)}, ensure_ascii=False, indent=2))
        return
    typer.echo(f"encode: {', '.join(f'{key} {value}' for key, value in settings.items())}")
    typer.echo(", ".join(f"{key} {value}" for key, value in machine().items()))
    for case in cases:
        _show_case(case)
    for name, mean in means(cases).items():
        losses = ", ".join(f"{runner} {value:+.4f}" for runner, value in mean["loss"].items())
        typer.echo(f"\n{name}, mean of {mean['collections']} collections: loss of {MEASURE}: {losses}")
        for comparison, ratio in mean["ratios"].items():
            typer.echo(f"  {comparison}: {ratio:.2f}")
    typer.echo(
        "\npeak: largest resident memory of a fresh process; above start: beyond what it had before any model or runtime was imported"
    )
    typer.echo(f"differences: of weights, against sentence-transformers' with its default batch size; exact: none above {EXACT:g}")


def means(cases: list[Case]) -> dict[str, Any]:
    """Over the collections of a checkpoint, where there are several: losses by runner, and the mean of each ratio."""
    found = {}
    for name in dict.fromkeys(case.checkpoint for case in cases):
        own = [case for case in cases if case.checkpoint == name and case.ndcg]
        if len(own) < 2:
            continue
        loss = {runner: statistics.mean(float(case.loss(runner) or 0.0) for case in own) for runner in own[0].ours}
        ratios: dict[str, list[float]] = {}
        for line in (line for case in own for line in case.comparisons()):
            ratios.setdefault(line.name, []).append(line.ratio)
        found[name] = {"collections": len(own), "loss": loss, "ratios": {key: statistics.mean(each) for key, each in ratios.items()}}
    return found


def _content(case: Case) -> dict[str, Any]:
    return asdict(case) | {
        "loss": {runner: case.loss(runner) for runner in case.found},
        "comparisons": [asdict(line) | {"verdict": line.verdict} for line in case.comparisons()],
        "without_exact_side": case.without_exact_side(),
    }


def _show_case(case: Case) -> None:
    counts = ", ".join(f"{count} {step}" for step, count in case.texts.items())
    typer.echo(f"\n{case.checkpoint} on {case.collection}: {counts}")
    typer.echo("tokens (mean, median, p95, largest): " + "; ".join(f"{step} {_numbers(each)}" for step, each in case.lengths.items()))
    width = max(map(len, case.found))
    for step in case.texts:
        head = f"{'texts/s':>9}  {'of a core':>9}  {'peak':>9}  {'above start':>11}"
        typer.echo(f"{step:{width}}  {head}  difference  equal terms  cosine mean, min  {MEASURE}")
        for name, rounds in case.found.items():
            typer.echo(f"{name:{width}}  {_line(case, step, name, rounds)}")
    for line in case.comparisons():
        goal = "" if line.goal is None else f"   goal {line.goal:.2f}: {line.verdict}"
        typer.echo(f"{line.name}: {line.ratio:.2f} ({line.subject} / {line.baseline}){goal}")
    for step in case.without_exact_side():
        typer.echo(f"{step}, exact: no runner of ours is within {EXACT:g}   goals: missed")


def _line(case: Case, step: str, name: str, rounds: list[Measured]) -> str:
    rate = statistics.median(each.steps[step].rate for each in rounds)
    core = statistics.median(each.steps[step].rate_of_core for each in rounds)
    peak = statistics.median(each.steps[step].peak_bytes for each in rounds)
    above = statistics.median(each.steps[step].peak_bytes - each.before_bytes for each in rounds)
    like = case.likeness[name][step]
    loss = case.loss(name)
    quality = "-" if loss is None or step == QUERIES else f"{case.ndcg[name]:.4f} ({-loss:+.4f})"
    cosines = f"{like.cosine_mean:.6f}, {like.cosine_min:.4f}"
    return (
        f"{rate:9,.1f}  {core:9,.1f}  {peak / 2**20:5,.0f} MiB  {above / 2**20:7,.0f} MiB  {like.largest_difference:10.1e}  "
        f"{like.equal_term_sets:11.1%}  {cosines:>16}  {quality}"
    )


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values)
