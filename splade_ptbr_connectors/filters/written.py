"""A filter as people type it: one JSON object."""

from __future__ import annotations

import json
from typing import Any

from ..errors import ConfigError

EXAMPLE = '{"metadata.year": 2024}, names and texts in double quotes'


def read_filter(text: str, called: str) -> dict[str, Any]:
    """The mapping that parse_filter() takes; `called` names the text in messages. Raises ConfigError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{called} {text[:80]!r} is not JSON ({error}): write it as {EXAMPLE}.") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{called} {text[:80]!r} is not a JSON object of field to condition: write it as {EXAMPLE}.")
    return found
