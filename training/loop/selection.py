"""What follows from measurements: which checkpoint is chosen, and when a run may end early.

State machines over plain numbers. `state_dict()` is JSON; a machine that is given it back goes on as if never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from splade_ptbr_connectors.errors import ConfigError

ROUNDING = 1e-9
"""Of a difference of two means: 0.50 to 0.49 is a loss of 0.01, not of more."""


class Split(Protocol):
    """What is asked of one measured collection (validation.Measured has it)."""

    @property
    def quality(self) -> float:
        """Mean of the metric, higher is better."""

    @property
    def terms_query(self) -> float:
        """Mean terms per query."""

    @property
    def terms_document(self) -> float:
        """Mean terms per document."""

    @property
    def queries(self) -> int:
        """Queries encoded."""

    @property
    def documents(self) -> int:
        """Documents encoded."""

    @property
    def empty_queries(self) -> int:
        """Query vectors without a term."""

    @property
    def empty_documents(self) -> int:
        """Document vectors without a term."""


# -- choice -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ceilings:
    """What a checkpoint must keep to be chosen; None: no ceiling. Each holds on every split.

    Attributes:
        max_terms_document, max_terms_query: mean terms. Without them an unregularised model wins on quality alone.
        max_split_loss: how far the quality of a split may lie below what it was at the start of the run.
    """

    max_terms_document: float | None = None
    max_terms_query: float | None = None
    max_split_loss: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_terms_document", "max_terms_query"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} is {value}: it must be above 0; leave it out for no ceiling.")
        if self.max_split_loss is not None and not 0 <= self.max_split_loss < math.inf:
            raise ConfigError(f"max_split_loss is {self.max_split_loss}: it must be at least 0; leave it out to judge by the mean alone.")


@dataclass(frozen=True)
class Verdict:
    """What was decided about one checkpoint.

    Attributes:
        mean: mean quality of the splits, all alike.
        eligible: it keeps every ceiling.
        reason: why not, with the values; None when it is eligible.
        best: it is chosen from now on, until a better one comes.
    """

    mean: float
    eligible: bool
    reason: str | None
    best: bool


@dataclass(frozen=True)
class Candidate:
    """A measured checkpoint. `excess`: by how much it breaks the ceilings, 0 when it keeps them."""

    step: int
    mean: float
    excess: float = 0.0
    reason: str | None = None


class Choice:
    """The best checkpoint by mean quality among those that keep the ceilings; ties keep the earlier.

    The first measurement is the start that losses are counted from, and a candidate like any other.
    """

    def __init__(self, ceilings: Ceilings) -> None:
        self.ceilings = ceilings
        self._start: dict[str, float] | None = None
        self._best: Candidate | None = None
        self._least_bad: Candidate | None = None

    def consider(self, step: int, splits: Mapping[str, Split]) -> Verdict:
        """Judge the checkpoint of one optimiser step by its splits, name -> numbers.

        Raises:
            ConfigError: no split, or others than at the start.
        """
        self._check_names(splits)
        if self._start is None:
            self._start = {name: split.quality for name, split in splits.items()}
        mean = math.fsum(split.quality for split in splits.values()) / len(splits)
        broken = self._broken(splits)
        if not math.isfinite(mean):
            return Verdict(mean, False, f"the mean quality is {mean}", False)
        if broken:
            excess, reason = math.fsum(excess for excess, _ in broken), "; ".join(reason for _, reason in broken)
            candidate = Candidate(step, mean, excess, reason)
            if self._least_bad is None or (excess, -mean) < (self._least_bad.excess, -self._least_bad.mean):
                self._least_bad = candidate
            return Verdict(mean, False, reason, False)
        best = self._best is None or mean > self._best.mean
        if best:
            self._best = Candidate(step, mean)
        return Verdict(mean, True, None, best)

    def _check_names(self, splits: Mapping[str, Split]) -> None:
        if not splits:
            raise ConfigError("there is no validation split: name some in [validation], or no checkpoint can be chosen.")
        if self._start is not None and self._start.keys() != splits.keys():
            raise ConfigError(
                f"measured splits are {', '.join(sorted(splits))}, at the start they were {', '.join(sorted(self._start))}: "
                "the same must be measured throughout a run."
            )

    def _broken(self, splits: Mapping[str, Split]) -> list[tuple[float, str]]:
        """(excess, reason) of each ceiling on each split that is not kept."""
        found = []
        for name, split in splits.items():
            for side, terms, ceiling in (
                ("document", split.terms_document, self.ceilings.max_terms_document),
                ("query", split.terms_query, self.ceilings.max_terms_query),
            ):
                if ceiling is not None and not terms <= ceiling:
                    found.append((terms / ceiling - 1, f"{name}: {terms:.1f} terms per {side}, the ceiling is {ceiling:g}"))
            allowed, start = self.ceilings.max_split_loss, (self._start or {}).get(name, split.quality)
            lost = start - split.quality
            if allowed is not None and lost > allowed + ROUNDING:
                found.append((lost - allowed, f"{name}: {split.quality:.4f} is {lost:.4f} below the start, {allowed:g} is allowed"))
        return found

    @property
    def best_step(self) -> int | None:
        """Step of the chosen checkpoint; None while none is eligible."""
        return None if self._best is None else self._best.step

    @property
    def best_mean(self) -> float | None:
        """Its mean quality."""
        return None if self._best is None else self._best.mean

    @property
    def least_bad(self) -> Candidate | None:
        """Of the checkpoints that broke a ceiling the one that broke it least (ties: better mean, then earlier)."""
        return self._least_bad

    def outcome(self) -> str:
        """What is said at the end of a run."""
        if self._best is not None:
            return f"chosen: step {self._best.step}, mean quality {self._best.mean:.4f}"
        if self._least_bad is None:
            return "no checkpoint is chosen: none was measured with a finite quality"
        least = self._least_bad
        return (
            f"no checkpoint is chosen: none keeps the ceilings. The least bad is step {least.step}, mean quality {least.mean:.4f} "
            f"({least.reason}). Raise lambda, train longer after its ramp, or raise the ceiling."
        )

    def state_dict(self) -> dict[str, Any]:
        """JSON values."""
        best, least_bad = (None if found is None else asdict(found) for found in (self._best, self._least_bad))
        return {"start": self._start, "best": best, "least_bad": least_bad}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict()` was taken."""
        self._start = None if state["start"] is None else dict(state["start"])
        self._best, self._least_bad = (None if state[key] is None else Candidate(**state[key]) for key in ("best", "least_bad"))


# -- early stopping ---------------------------------------------------------------------------------------------------


class EarlyStop:
    """Ends a run after `patience` measurements without a new best; never before there is a best one.

    While lambda still rises no checkpoint may keep the ceilings: waiting for the first is not counted.

    Args:
        patience: measurements; None: never.
    """

    def __init__(self, patience: int | None) -> None:
        if patience is not None and patience < 1:
            raise ConfigError(f"patience is {patience}: it must be at least 1; leave it out to train to the last step.")
        self.patience = patience
        self._waited: int | None = None

    def measured(self, *, best: bool) -> bool:
        """Count one measurement; True when the run is to end."""
        if best:
            self._waited = 0
        elif self._waited is not None:
            self._waited += 1
        return self.is_over

    @property
    def is_over(self) -> bool:
        """The run is to end; stays so until a new best is measured."""
        return self.patience is not None and self._waited is not None and self._waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"waited": self._waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict()` was taken."""
        self._waited = state["waited"]
