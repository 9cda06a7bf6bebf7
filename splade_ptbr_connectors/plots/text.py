"""Figures and settings as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def number(value: float | None) -> str:
    """A figure for people: three significant digits, thousands separated, no exponent between 0.0001 and a billion."""
    if value is None or not math.isfinite(value):
        return "-"
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-4:
        return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e")
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(size)))}f}" if size else "0"


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"sparsity": {"query": {"weight": 1}}} as {"sparsity.query.weight": 1}; empty sections and lists are values."""
    keys: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            keys |= flat(value, f"{prefix}{name}.")
        else:
            keys[f"{prefix}{name}"] = value
    return keys
