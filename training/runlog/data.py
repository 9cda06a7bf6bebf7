"""What the log of a run says, typed: how it began, its steps as columns, its validations, how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]


@dataclass(frozen=True)
class Start:
    """How a run began: its resolved recipe, its data, the versions and the machine."""

    recipe: Row
    data: Row = field(default_factory=dict)
    versions: Row = field(default_factory=dict)
    machine: Row = field(default_factory=dict)
    world_size: int = 1
    extra: Row = field(default_factory=dict)
    """Keys that this version does not know, here and below."""

    @property
    def name(self) -> str:
        """The recipe's name."""
        return str(self.recipe.get("name", "unnamed"))


@dataclass(frozen=True)
class SplitResult:
    """One split of one validation; None is what was not measured."""

    quality: float
    terms_query: float | None = None
    terms_document: float | None = None
    empty_queries: int | None = None
    empty_documents: int | None = None
    evaluation_flops: float | None = None
    dead_terms: int | None = None
    hot_terms: tuple[tuple[str, float], ...] = ()
    """(token, share of the documents that have it), most frequent first."""
    queries: int | None = None
    documents: int | None = None
    extra: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Validation:
    """One measurement of every validation split; `reason` says why a checkpoint could not be chosen.

    `packed`: measured at the end, on the chosen weights as they are saved (rounded, pruned).
    """

    step: int
    metric: str
    mean: float
    splits: dict[str, SplitResult]
    best: bool = False
    eligible: bool = True
    reason: str | None = None
    seconds: float = 0.0
    packed: bool = False
    extra: Row = field(default_factory=dict)

    def mean_of(self, name: str) -> float | None:
        """Mean over the splits of a quantity such as "terms_document"; None when a split lacks it."""
        values = self._values(name)
        return float(np.mean(values)) if values else None

    def largest_of(self, name: str) -> float | None:
        """Maximum over the splits: what a recipe's ceiling is held against; None when a split lacks it."""
        values = self._values(name)
        return max(values) if values else None

    def _values(self, name: str) -> list[float]:
        values = [getattr(split, name) for split in self.splits.values()]
        return [] if any(value is None for value in values) else [float(value) for value in values]


@dataclass(frozen=True)
class End:
    """Why and where a run ended."""

    reason: str
    step: int
    best_step: int | None = None
    extra: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Steps:
    """The step rows as columns: `numbers` are NaN where a row lacks the key or has null, `values` are of any other type."""

    step: NDArray[np.int64]
    numbers: dict[str, NDArray[np.float64]]
    values: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.step)

    def total(self, name: str) -> float:
        """Sum of a column without its gaps; 0 when no row has it."""
        return float(np.nansum(self.numbers[name])) if name in self.numbers else 0.0

    def last(self, name: str) -> float | None:
        """The last finite value of a column, None when there is none."""
        column = self.numbers.get(name)
        finite = column[np.isfinite(column)] if column is not None else np.array([])
        return float(finite[-1]) if len(finite) else None


@dataclass(frozen=True)
class RunLogData:
    """A whole log.

    Attributes:
        validations: in the order of steps, without the one of the packed model.
        packed: what the saved model was measured as; None when the run has not come to its end.
        end: None for a run that is still going on or was killed.
    """

    path: Path
    start: Start
    steps: Steps
    validations: tuple[Validation, ...]
    packed: Validation | None
    end: End | None

    @property
    def chosen(self) -> Validation | None:
        """The validation of the checkpoint that was kept: the one that the end row names, or the last one marked best."""
        best = [validation for validation in self.validations if validation.best]
        named = [v for v in self.validations if self.end is not None and v.step == self.end.best_step]
        return next((v for v in reversed(named) if v.best), None) or (best[-1] if best else None)

    @property
    def seconds(self) -> float:
        """Time spent in steps and validations."""
        measured = [*self.validations, *([self.packed] if self.packed else [])]
        return self.steps.total("seconds") + sum(validation.seconds for validation in measured)

    @property
    def steps_done(self) -> int:
        """Optimiser steps of the last row."""
        last = int(self.steps.step[-1]) if len(self.steps) else 0
        return max([last, *(validation.step for validation in self.validations[-1:])])
