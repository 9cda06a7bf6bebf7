"""Runs the steps of all engines: each in a process of its own, one at a time, rounds interleaved; what is done is not done again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.comparison.results import Failure
from benchmarks.comparison.worker import Specification

CHECKOUT = Path(__file__).parents[2]
MESSAGE = 600  # characters of an error that a report shows


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
        workload, out: folders.
        engines: names, in the order of the first round; every other round goes backwards.
        seconds: see Specification.
        limit: seconds after which a step is given up.
    """

    workload: Path
    out: Path
    engines: Sequence[str]
    rounds: int
    settings: Mapping[str, Any]
    seconds: float = 60.0
    limit: float = 14_400.0

    def folder(self, engine: str) -> Path:
        """Where an engine's files are; ":" is not allowed in names everywhere."""
        return self.out / "engines" / engine.replace(":", "+")

    def step(self, step: str, engine: str, number: int = 0) -> Specification:
        """A step of this plan."""
        folder = self.folder(engine)
        paths = (str(self.workload.resolve()), str((folder / "home").resolve()), str(folder.resolve()))
        return Specification(step, engine, *paths, dict(self.settings), number, self.seconds)

    def steps(self) -> Iterator[Specification]:
        """All of them, in order."""
        yield from (self.step("build", engine) for engine in self.engines)
        for number in range(self.rounds):
            yield from (self.step("round", engine, number) for engine in (self.engines if number % 2 == 0 else self.engines[::-1]))
        yield from (self.step("agree", engine) for engine in self.engines)

    def complete(self, engine: str) -> bool:
        """Whether nothing is left to be done for an engine."""
        return all(asked.read() is not None for asked in self.steps() if asked.engine == engine)


def run_steps(plan: Plan) -> dict[str, Failure]:
    """Run what is not there yet. Returns engine -> what it failed at; the others are complete. Failed steps run again next time."""
    failures: dict[str, Failure] = {}
    bar = tqdm(list(plan.steps()), "steps", disable=None)
    for asked in bar:
        bar.set_postfix_str(f"{asked.engine}: {_title(asked)}")
        if asked.engine not in failures and asked.read() is None:
            failure = _run(plan, asked)
            if failure is not None:
                failures[asked.engine] = failure
    return failures


def _run(plan: Plan, asked: Specification) -> Failure | None:
    folder = plan.folder(asked.engine)
    if asked.step == "build":
        _clear(folder)
    asked.failure.unlink(missing_ok=True)
    specification = folder / "step.json"
    asked.write(specification)
    command = [sys.executable, "-m", "benchmarks.comparison.worker", str(specification.resolve())]
    try:  # its bars and warnings are seen as they come
        code = subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, timeout=plan.limit, check=False).returncode
    except subprocess.TimeoutExpired:
        return Failure(step=_title(asked), message=f"not done after {plan.limit:g} s, and stopped: raise --limit.")
    return None if code == 0 else Failure(step=_title(asked), message=_reason(code, asked.failure))


def _clear(folder: Path) -> None:
    """A new index makes everything that was measured on an old one void."""
    if folder.exists():
        shutil.rmtree(folder)
    (folder / "home").mkdir(parents=True)


def _title(asked: Specification) -> str:
    return f"round {asked.round + 1}" if asked.step == "round" else {"build": "build", "agree": "agreement"}[asked.step]


def _reason(code: int, failure: Path) -> str:
    if failure.exists():
        return " ".join(failure.read_text(encoding="utf-8").split())[:MESSAGE]
    if code < 0:
        return f"its process was ended by signal {-code}{' (out of memory, probably)' if code == -signal.SIGKILL else ''}."
    return f"its process ended with code {code} before it could say why: see what it printed."
