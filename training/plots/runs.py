"""A run under the name that it has in pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from splade_ptbr_connectors.plots.style import Numbers
from training.runlog import RunLogData


@dataclass(frozen=True)
class NamedRun:
    """A run's log and its label."""

    label: str
    log: RunLogData

    @property
    def last_step(self) -> int:
        """Where the step axis ends."""
        return max(1, self.log.steps_done)

    def column(self, name: str) -> Numbers | None:
        """A column of the step rows that has a value somewhere."""
        column = self.log.steps.numbers.get(name)
        return column if column is not None and bool(np.isfinite(column).any()) else None


def labelled(logs: Sequence[RunLogData]) -> list[NamedRun]:
    """Each run under its recipe's name; under its folder's where names are equal; numbered where these are equal too."""
    names = [log.start.name for log in logs]
    if len(set(names)) < len(names):
        names = [log.path.resolve().parent.name or name for log, name in zip(logs, names, strict=True)]
    counts = Counter(names)
    numbered = [f"{name} ({i})" if counts[name] > 1 else name for i, name in enumerate(names, 1)]
    return [NamedRun(label[:60], log) for label, log in zip(numbered, logs, strict=True)]
