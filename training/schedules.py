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
