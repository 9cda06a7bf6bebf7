"""What follows from measurements: which checkpoint is chosen, when a run may end early, when it has collapsed.

State machines over plain numbers. `state_dict()` is JSON; a machine that is given it back goes on as if never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from splade_ptbr_connectors.errors import ConfigError, TrainingError

RUNAWAY_ACTIVATION = 40.0
"""log(1 + z) of a logit of 2e17: no trained network comes near; models whose weights start higher have RUNAWAY_GROWTH."""
RUNAWAY_GROWTH = 10.0
"""Times the largest activation of the first step."""
RUNAWAY_STEPS = 3
"""Steps in a row: one odd batch is not an explosion."""
GRADIENT_STEPS = 20
"""Steps in a row without a finite gradient: more than a float16 scaler needs to find its scale."""
EMPTY_VALIDATIONS = 2
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


# -- collapse -----------------------------------------------------------------------------------------------------------


class CollapseGuard:
    """Raises TrainingError when a run can only waste time: what collapsed, the values, and what to try.

    Args:
        max_empty_share: share of empty query or document vectors of a split that is too much, at two measurements in a row.
    """

    def __init__(self, max_empty_share: float) -> None:
        if not 0 <= max_empty_share <= 1:
            raise ConfigError(f"max_empty_share is {max_empty_share}: it is a share, 0 to 1.")
        self.max_empty_share = max_empty_share
        self._first_activation: float | None = None
        self._runaway = self._without_gradient = self._empty = 0

    def step(self, logged: Mapping[str, Any]) -> None:
        """Look at a step's entry of the log: "step", "loss", and where it has them "max_activation" and "gradient_norm".

        Raises:
            TrainingError: the loss or an activation is not finite; activations ran away; gradients stay not finite.
        """
        step, loss = logged["step"], float(logged["loss"])
        if not math.isfinite(loss):
            raise _collapsed(step, f"the loss is {loss} (logged with it: {_parts(logged)})", _DIVERGED)
        self._watch_activations(step, logged.get("max_activation"))
        self._watch_gradients(step, logged.get("gradient_norm"))

    def _watch_activations(self, step: int, activation: float | None) -> None:
        if activation is None:
            return
        if not math.isfinite(activation):
            raise _collapsed(step, f"the largest activation is {activation}", _DIVERGED)
        if self._first_activation is None:
            self._first_activation = activation
        limit = max(RUNAWAY_ACTIVATION, RUNAWAY_GROWTH * self._first_activation)
        self._runaway = self._runaway + 1 if activation > limit else 0
        if self._runaway >= RUNAWAY_STEPS:
            what = f"the largest activation is {activation:.4g}, above {limit:.4g} for {self._runaway} steps in a row"
            raise _collapsed(step, f"{what} (it was {self._first_activation:.4g} at first)", _DIVERGED)

    def _watch_gradients(self, step: int, norm: float | None) -> None:
        if norm is None:
            return
        self._without_gradient = 0 if math.isfinite(norm) else self._without_gradient + 1
        if self._without_gradient >= GRADIENT_STEPS:
            raise _collapsed(step, f"the gradient norm is {norm}, not finite for {self._without_gradient} steps in a row", _DIVERGED)

    def validation(self, step: int, splits: Mapping[str, Split]) -> None:
        """Look at a measurement. The one at step 0 does not count: an untrained model may well give empty vectors.

        Raises:
            TrainingError: at the second measurement in a row with more empty vectors than `max_empty_share` on some split.
        """
        if step == 0:
            return
        found = [self._emptiness(name, split) for name, split in splits.items()]
        share, what = max(found, default=(0.0, ""), key=lambda pair: pair[0])
        self._empty = self._empty + 1 if share > self.max_empty_share else 0
        if self._empty >= EMPTY_VALIDATIONS:
            limit = f"above max_empty_share = {self.max_empty_share:g} at {self._empty} measurements in a row"
            raise _collapsed(step, f"{what}, {limit}", _EMPTY)

    @staticmethod
    def _emptiness(name: str, split: Split) -> tuple[float, str]:
        sides = (("query", split.empty_queries, split.queries), ("document", split.empty_documents, split.documents))
        share, side, empty, count = max((empty / max(1, count), side, empty, count) for side, empty, count in sides)
        return share, f"{name}: {empty:,} of {count:,} {side} vectors ({share:.0%}) are empty"

    def state_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "first_activation": self._first_activation,
            "runaway": self._runaway,
            "without_gradient": self._without_gradient,
            "empty": self._empty,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict()` was taken."""
        self._first_activation = state["first_activation"]
        self._runaway, self._without_gradient, self._empty = state["runaway"], state["without_gradient"], state["empty"]


_DIVERGED = "Try a lower learning rate, a longer warm-up, or a more precise number format (bfloat16 or float32 for float16)."
_EMPTY = "Try a lower lambda, a longer ramp_steps, or a lower learning rate."
_NOT_PARTS = ("step", "loss", "tokens", "seconds", "memory_bytes", "learning_rate")


def _collapsed(step: int, what: str, advice: str) -> TrainingError:
    return TrainingError(f"the run collapsed at step {step}: {what}. {advice}")


def _parts(logged: Mapping[str, Any]) -> str:
    """The numbers of a log entry that tell where a loss came from, those that are not finite first."""
    numbers = {name: value for name, value in logged.items() if isinstance(value, int | float) and name not in _NOT_PARTS}
    ordered = sorted(numbers.items(), key=lambda pair: math.isfinite(pair[1]))
    return ", ".join(f"{name} {value:.4g}" for name, value in ordered) or "no other number"
