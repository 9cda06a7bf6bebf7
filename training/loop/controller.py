"""The sparsity controller: steers lambda so that the number of terms of a text reaches a target.

A lambda belongs to one loss, one scale of scores and one model; a number of terms means the same everywhere. The controller
is integral control of log lambda, a pure function of its state and one measurement: a resumed run cannot lose it.

    smoothed  <- moving average of log(terms)
    expected   = log smoothed - log target + horizon * (change of the smoothed logarithm in this step)
    log lambda <- log lambda + gain * clip(expected, -1, 1)       between the limits

Acting on the error that is *expected* `horizon` steps ahead is what keeps it from overshooting: terms that already fall fast
enough need no larger lambda, and terms that were pushed to zero come back slowly or never. A lambda that has to change all
the time, by e^drift a step (a loss on its way to zero), is followed at a distance of drift / gain in log terms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from splade_ptbr_connectors.errors import ConfigError, TrainingError

LIMITS = (1e-9, 1e6)
_FEWEST = 0.1  # terms a text below which the logarithm is not followed: a batch of empty texts is an error of finite size


@dataclass(frozen=True)
class ControllerState:
    """Everything the controller remembers.

    Attributes:
        log_lambda: natural logarithm of lambda.
        smoothed_log_terms: moving average of log(terms); None before the first measurement.
        step: measurements seen.
    """

    log_lambda: float
    smoothed_log_terms: float | None = None
    step: int = 0

    @property
    def weight(self) -> float:
        """The lambda in force."""
        return math.exp(self.log_lambda)

    @property
    def smoothed_terms(self) -> float | None:
        """Terms a text, smoothed; None before the first measurement."""
        return None if self.smoothed_log_terms is None else math.exp(self.smoothed_log_terms)


def initial(weight: float = 1e-4) -> ControllerState:
    """The state before the first step; `weight` is the first lambda.

    Lambda moves by a factor of e^gain a step at most, so that a start below what is needed costs steps, and one far above
    it costs terms. Start low.
    """
    if not LIMITS[0] <= weight <= LIMITS[1]:
        raise ConfigError(f"the first lambda is {weight}; accepted: {LIMITS[0]:g} to {LIMITS[1]:g}")
    return ControllerState(math.log(weight))


def advance(
    state: ControllerState,
    *,
    measured_terms: float,
    target_terms: float,
    gain: float = 0.02,
    smoothing_steps: int = 20,
    horizon: int = 100,
    limits: tuple[float, float] = LIMITS,
) -> ControllerState:
    """The state after one optimiser step; pure. More terms never give a smaller lambda.

    Args:
        measured_terms: mean number of terms of the step's texts, over all processes.
        target_terms: what it is steered to, 1 or more; gain: change of log lambda for an error of one in log terms, a step.
        smoothing_steps: length of the moving average; the first steps are a plain mean.
        horizon: steps ahead for which the error is extrapolated; about as many as the model needs to follow lambda.
        limits: lambda stays between them, and leaves them at once when the error turns (nothing winds up behind a limit).
    Raises: ConfigError for settings out of range, TrainingError for a measurement that is not a number.
    """
    _check_settings(target_terms, gain, smoothing_steps, horizon, limits)
    if not 0.0 <= measured_terms < math.inf:
        raise TrainingError(f"terms a text were measured as {measured_terms}: the run has diverged; lower the learning rate")
    logarithm = math.log(max(measured_terms, _FEWEST))
    before = logarithm if state.smoothed_log_terms is None else state.smoothed_log_terms
    smoothed = before + max(1.0 / smoothing_steps, 1.0 / (state.step + 1)) * (logarithm - before)
    expected = smoothed - math.log(target_terms) + horizon * (smoothed - before)
    log_lambda = state.log_lambda + gain * _between(expected, (-1.0, 1.0))
    return ControllerState(_between(log_lambda, (math.log(limits[0]), math.log(limits[1]))), smoothed, state.step + 1)


def to_json(state: ControllerState) -> dict[str, Any]:
    """JSON values; Python writes floats so that they are read back exactly."""
    return asdict(state)


def from_json(values: Mapping[str, Any]) -> ControllerState:
    """The state that `to_json` wrote. Raises TrainingError for anything else."""
    expected = set(ControllerState.__dataclass_fields__)
    if set(values) != expected or not _valid(values["log_lambda"], values["smoothed_log_terms"], values["step"]):
        found = f"{dict(values)!r:.200}"
        raise TrainingError(f"not a state of the sparsity controller: {found}; the checkpoint is damaged, or of another version")
    return ControllerState(**values)


def _valid(log_lambda: Any, smoothed: Any, step: Any) -> bool:
    numbers = [log_lambda] if smoothed is None else [log_lambda, smoothed]
    whole = isinstance(step, int) and not isinstance(step, bool) and step >= 0
    return whole and all(isinstance(number, float) and math.isfinite(number) for number in numbers)


def _between(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])


def _check_settings(target_terms: float, gain: float, smoothing_steps: int, horizon: int, limits: tuple[float, float]) -> None:
    if not 1.0 <= target_terms < math.inf:
        raise ConfigError(f"target_terms is {target_terms}; accepted: 1 or more terms a text")
    if not 0.0 < gain <= 1.0:
        raise ConfigError(f"gain is {gain}; accepted: above 0, up to 1 (0.02 is usual)")
    if smoothing_steps < 1 or horizon < 0:
        raise ConfigError(f"smoothing_steps is {smoothing_steps} and horizon {horizon}; accepted: 1 or more, and 0 or more")
    if not 0.0 < limits[0] <= limits[1] < math.inf:
        raise ConfigError(f"limits are {limits}; accepted: two numbers above 0, the lower one first")
