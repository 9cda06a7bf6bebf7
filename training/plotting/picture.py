"""A picture that can be drawn in any theme, and a run with the name it has in pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..runlog import RunLogData
from .style import Numbers, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """What is drawn: `name` of its files, `caption` what it shows and how to read it."""

    name: str
    title: str
    caption: str
    draw: Callable[[Theme], Figure]


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
