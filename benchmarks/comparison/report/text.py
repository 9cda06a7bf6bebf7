"""Figures and names as people read them."""

from __future__ import annotations

import json
import math
import textwrap
import unicodedata
from collections.abc import Mapping
from typing import Any

from splade_ptbr_connectors.plots.style import printable
from splade_ptbr_connectors.plots.text import flat, number

NONE = "-"


def share(value: float | None) -> str:
    """A quality or a share, of which the fourth digit may still matter."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.4f}"


def megabytes(value: float | None) -> str:
    """Bytes in units of 1,000,000, without the unit: the head of the column has it."""
    return number(None if value is None else value / 1e6)


def one_line(text: str) -> str:
    """The text without line ends and without control characters, which no table can hold."""
    return " ".join("".join("\ufffd" if unicodedata.category(c) == "Cc" and not c.isspace() else c for c in text).split())


def facts(values: Mapping[str, Any]) -> str:
    """Versions and settings in one line: "version 1.2, shards 2"."""
    return one_line(", ".join(f"{key} {_plain(value)}" for key, value in flat(values).items())) or NONE


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.12g}"  # a setting, not a measurement: all of its digits
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def short(name: str, width: int = 26) -> str:
    """A name for a picture: at most two lines; of a longer one the middle is left out, as names differ at their ends."""
    name = printable(one_line(name))
    if len(name) > 2 * width - 2:
        name = f"{name[: width - 2]}… {name[-(width - 2) :]}"
    lines = textwrap.wrap(name, width)
    return "\n".join(lines if len(lines) < 3 else (name[:width], name[width:]))


def names(values: list[str], limit: int = 8) -> str:
    """A few names in a sentence."""
    shown = [one_line(value) for value in values[:limit]]
    return ", ".join(shown) + (f" and {len(values) - limit} more" if len(values) > limit else "")
