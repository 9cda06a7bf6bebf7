"""When a run can only waste time: its loss or activations ran away, its gradients or its vectors are gone.

A state machine over plain numbers. `state_dict()` is JSON; given it back, it goes on as if never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from splade_ptbr_connectors.errors import ConfigError, TrainingError
from training.loop.selection import Split

RUNAWAY_ACTIVATION = 40.0
"""log(1 + z) of a logit of 2e17: no trained network comes near; models whose weights start higher have RUNAWAY_GROWTH."""
RUNAWAY_GROWTH = 10.0
"""Times the largest activation of the first step."""
RUNAWAY_STEPS = 3
"""Steps in a row: one odd batch is not an explosion."""
GRADIENT_STEPS = 20
"""Steps in a row without a finite gradient: more than a float16 scaler needs to find its scale."""
EMPTY_VALIDATIONS = 2


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
