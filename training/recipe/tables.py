"""Resolved recipes as plain tables: their sections, and the keys in which they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from splade_ptbr_connectors.plots.text import flat

PROSE = ("name", "note", "cost")  # what does not change a run


def shown(value: Any) -> str:
    """A recipe's value in one line, as JSON; "absent" where a recipe has no such key."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return "absent" if value is ABSENT else json.dumps(value, ensure_ascii=False)


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()


def differences(recipes: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Key -> its value in each recipe, for the keys whose values differ; ABSENT where a recipe has no such key."""
    tables = [flat(recipe) for recipe in recipes]
    keys = dict.fromkeys(key for table in tables for key in table if key not in PROSE)
    found = {key: [table.get(key, ABSENT) for table in tables] for key in keys}
    return {key: values for key, values in found.items() if any(shown(value) != shown(values[0]) for value in values)}


def section(recipe: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A nested section; empty where it is missing or null."""
    value: Any = recipe
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return dict(value) if isinstance(value, Mapping) else {}
