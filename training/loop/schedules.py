"""Schedules as pure functions of the number of optimiser steps done: a resumed run cannot lose them."""

from __future__ import annotations

from splade_ptbr_connectors.errors import ConfigError


def quadratic_ramp(step: int, *, ramp_steps: int) -> float:
    """min(1, (step / ramp_steps)^2), the share of a regulariser in force (arXiv 2109.10086); 1 where ramp_steps is 0.

    >>> [quadratic_ramp(step, ramp_steps=100) for step in (0, 50, 100, 200)]
    [0.0, 0.25, 1.0, 1.0]
    """
    if ramp_steps < 0:
        raise ConfigError(f"ramp_steps is {ramp_steps}; accepted: 0 (constant) or more optimiser steps")
    if step < 0:
        raise ConfigError(f"step is {step}; accepted: 0 or more optimiser steps")
    return 1.0 if ramp_steps == 0 else min(1.0, (step / ramp_steps) ** 2)


def warmup_linear(step: int, *, warmup_steps: int, total_steps: int, floor: float = 0.0) -> float:
    """Share of the learning rate: up from 0 over `warmup_steps`, then down to `floor` at `total_steps`.

    >>> [warmup_linear(step, warmup_steps=2, total_steps=6) for step in (0, 1, 2, 4, 6)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if not 0 <= warmup_steps <= total_steps:
        raise ConfigError(f"warmup_steps is {warmup_steps}; accepted: 0 to total_steps ({total_steps})")
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    left = (total_steps - step) / max(1, total_steps - warmup_steps)
    return max(floor, min(1.0, left))


def learning_rate_share(
    step: int,
    *,
    warmup_steps: int,
    total_steps: int,
    decay: str = "linear",
    decay_steps: int | None = None,
    floor: float = 0.0,
) -> float:
    """Share of the learning rate in optimiser step `step`, counted from 0: up over `warmup_steps`, then as `decay` says.

    "linear" goes down from 1 to 0 at `decay_steps` (None: at `total_steps`), but never below `floor`; "constant" stays at 1.
    Steps are optimiser steps, not batches: accumulation changes nothing.

    >>> [learning_rate_share(step, warmup_steps=2, total_steps=4, decay_steps=6) for step in (0, 1, 2, 3)]
    [0.5, 1.0, 1.0, 0.75]
    >>> learning_rate_share(3, warmup_steps=2, total_steps=4, decay="constant")
    1.0
    """
    if step < 0:
        raise ConfigError(f"step is {step}; accepted: 0 or more optimiser steps")
    if not 0.0 <= floor <= 1.0:
        raise ConfigError(f"floor is {floor}; accepted: a share of the learning rate, 0 to 1")
    if decay == "linear":
        end = total_steps if decay_steps is None else decay_steps
        return warmup_linear(step, warmup_steps=warmup_steps, total_steps=end, floor=floor)
    if decay != "constant":
        raise ConfigError(f"decay is {decay!r}; accepted: linear, constant")
    if decay_steps is not None or floor != 0.0:
        raise ConfigError("decay 'constant' has no decay_steps and no floor; leave them out, or use decay 'linear'")
    return min(1.0, warmup_linear(step, warmup_steps=warmup_steps, total_steps=total_steps, floor=1.0))
