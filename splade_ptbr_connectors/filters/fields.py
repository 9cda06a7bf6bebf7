"""Names of fields: paths into a payload, see the form in __init__.py."""

from __future__ import annotations

import re
import reprlib
from itertools import product
from typing import NamedTuple

from ..errors import ConfigError
from ..json_values import MAX_DEPTH
from ..text import is_utf8

MAX_PARTS = MAX_DEPTH + 1  # no payload is nested deeper
MAX_INDEXED = 4
_PART = re.compile(r'(?:"(?P<quoted>[^"\\]*)"|(?P<name>[^."\\]+?))(?:\[(?P<item>\d{0,9})\])?(?:\.|$)')


class Part(NamedTuple):
    """One name of a path. `item` is a place in the list found there: None for none, "" for every place, or a number."""

    name: str
    item: str | None = None


Path = tuple[Part, ...]


def field_path(field: str) -> Path:
    """The parts of a field name. Raises ConfigError for a name that no payload has, or that an engine cannot be asked for."""
    shown, position = reprlib.repr(field), 0
    parts: list[Part] = []
    while position < len(field) and len(parts) <= MAX_PARTS:
        found = _PART.match(field, position)
        if found is None:
            raise ConfigError(
                f"filter field {shown} is not a path such as 'metadata.subject': no empty parts, no double quotes or backslashes within "
                "a name; a name that has such dots stands in double quotes: '\"Art. 5.\"'."
            )
        parts.append(Part(found["name"] if found["quoted"] is None else found["quoted"], found["item"]))
        position = found.end()
    if not parts or field.endswith("."):
        raise ConfigError(f"filter field {shown} is not a path such as 'metadata.subject': it ends with an empty part.")
    if len(parts) > MAX_PARTS:
        raise ConfigError(f"filter field {shown} has more than {MAX_PARTS} parts, as many as a payload can be nested.")
    if not is_utf8(field):
        raise ConfigError(f"filter field {shown} is not valid UTF-8.")
    return tuple(parts)


def readings(path: Path) -> list[Path]:
    """The paths that a path may mean: "x[0]" is the first of a list, or a name. Raises ConfigError for too many of them."""
    indexed = sum(part.item is not None for part in path)
    if indexed > MAX_INDEXED:
        raise ConfigError(f"filter field {'.'.join(part.name for part in path)!r} has {indexed} places in lists: at most {MAX_INDEXED}.")
    either = [(part,) if part.item is None else (part, Part(f"{part.name}[{part.item}]")) for part in path]
    return list(product(*either))
