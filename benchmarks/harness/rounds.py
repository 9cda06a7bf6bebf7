"""What every benchmark shares: interleaved rounds, medians, ratios against a goal, a table and JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import typer

from benchmarks.harness.machine import machine


@dataclass(frozen=True)
class Ratio:
    """One thing measured against another in the same run.

    Attributes:
        baseline, subject: names of the two measurements.
        ratio: median over the rounds of subject by baseline: both of a round met the same neighbours on the machine.
        goal: smallest ratio that is good enough, None where the ratio is for information.
    """

    name: str
    baseline: str
    subject: str
    ratio: float
    goal: float | None

    @property
    def verdict(self) -> str:
        """Whether the goal was met: "ok", "missed", or nothing without a goal."""
        return "" if self.goal is None else "ok" if self.ratio >= self.goal else "missed"


Rates = dict[str, list[float]]


def measure(runners: Mapping[str, Callable[[], float]], rounds: int) -> Rates:
    """Run every runner once unmeasured, then `rounds` times in turn, in alternating order. A runner returns its rate."""
    rates: Rates = {name: [] for name in runners}
    names = list(runners)
    for name in names:
        runners[name]()
    for n in range(rounds):
        for name in names if n % 2 == 0 else reversed(names):
            rates[name].append(runners[name]())
    return rates


def compare(name: str, rates: Rates, subject: str, baseline: str, goal: float | None) -> Ratio:
    """Compare two runners, round by round."""
    ratios = [mine / other for mine, other in zip(rates[subject], rates[baseline], strict=True)]
    return Ratio(name, baseline, subject, statistics.median(ratios), goal)


def show(
    title: str,
    settings: Mapping[str, Any],
    rates: Rates,
    comparisons: list[Ratio],
    *,
    as_json: bool,
    unit: str = "documents",
) -> None:
    """Print the table, or one JSON document; rates are of `unit` per second."""
    if as_json:
        content = {
            "benchmark": title,
            "settings": dict(settings),
            "machine": machine(),
            f"{unit}_per_second": {name: {"median": statistics.median(each), "rounds": each} for name, each in rates.items()},
            "comparisons": [asdict(comparison) for comparison in comparisons],
        }
        typer.echo(json.dumps(content, ensure_ascii=False, indent=2))
        return
    typer.echo(f"{title}: {', '.join(f'{key} {value}' for key, value in settings.items())}")
    typer.echo(", ".join(f"{key} {value}" for key, value in machine().items()) + "\n")
    width = max(map(len, rates))
    for name, each in rates.items():
        typer.echo(f"{name:{width}}  {statistics.median(each):10,.0f} {unit}/s   rounds: {', '.join(f'{rate:,.0f}' for rate in each)}")
    typer.echo()
    for comparison in comparisons:
        goal = "" if comparison.goal is None else f"   goal {comparison.goal:.2f}: {comparison.verdict}"
        typer.echo(f"{comparison.name}: {comparison.ratio:.3f} ({comparison.subject} / {comparison.baseline}){goal}")
