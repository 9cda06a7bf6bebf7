"""One small filter form for every store.

    {"metadata.subject": "saúde"}                     equals
    {"metadata.subject": ["saúde", "culinária"]}      any of
    {"metadata.year": {"gte": 2000, "lt": 2010}}      range: gt, gte, lt, lte
    {"metadata.subject": {"not": "saúde"}}            not equal, or not any of a list

All conditions must hold. Field names are paths into a hit's payload, with dots; it makes no difference whether a dot stands
between two names or within one, so that "metadata.subject" is {"metadata": {"subject": ...}} and {"metadata.subject": ...} alike.
In double quotes a name is taken as it is: '"metadata.subject"' is the second alone, '"Art. 5."' and '"x[0]"' are names.
A store translates the conditions into its engine's own filter, or takes that native filter as it is.
"""

from __future__ import annotations

import difflib
import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from .errors import ConfigError
from .json_values import LARGEST_INTEGER, MAX_DEPTH, SMALLEST_INTEGER, integer_text, plain

RANGE_KEYS = ("gt", "gte", "lt", "lte")
MAX_PARTS = MAX_DEPTH + 1  # no payload is nested deeper
MAX_INDEXED = 4
_PART = re.compile(r'(?:"(?P<quoted>[^"\\]*)"|(?P<name>[^."\\]+?))(?:\[(?P<item>\d{0,9})\])?(?:\.|$)')
Scalar = str | int | bool


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The field's value (or one of its values, if it holds a list) is among `values`: plain strings, booleans, 64-bit integers."""

    field: str
    values: tuple[Scalar, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """The field's number lies within the bounds, which are 64-bit integers or finite floats; None means unbounded."""

    field: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    def holds(self, value: object) -> bool:
        """Whether a value is a number within the bounds, compared exactly: 2**53 + 1 is larger than 2**53 and 2.0**53."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low = (self.gt is None or value > self.gt) and (self.gte is None or value >= self.gte)
        return low and (self.lt is None or value < self.lt) and (self.lte is None or value <= self.lte)


Condition = AnyOf | Range


class Part(NamedTuple):
    """One name of a path. `item` is a place in the list found there: None for none, "" for every place, or a number."""

    name: str
    item: str | None = None


Path = tuple[Part, ...]


def parse_filter(filter: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Turn the mapping above into conditions. Raises ConfigError for anything else."""
    if not isinstance(filter, Mapping):
        raise ConfigError(f"a filter is a mapping of field to condition, got {type(filter).__name__}.")
    return tuple(condition for field, wanted in filter.items() for condition in _conditions(field, wanted))


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
    if not _is_utf8(field):
        raise ConfigError(f"filter field {shown} is not valid UTF-8.")
    return tuple(parts)


def readings(path: Path) -> list[Path]:
    """The paths that a path may mean: "x[0]" is the first of a list, or a name. Raises ConfigError for too many of them."""
    indexed = sum(part.item is not None for part in path)
    if indexed > MAX_INDEXED:
        raise ConfigError(f"filter field {'.'.join(part.name for part in path)!r} has {indexed} places in lists: at most {MAX_INDEXED}.")
    either = [(part,) if part.item is None else (part, Part(f"{part.name}[{part.item}]")) for part in path]
    return list(product(*either))


def _conditions(field: object, wanted: object) -> list[Condition]:
    if not isinstance(field, str) or not field:
        raise ConfigError(f"filter field {_shown(field)} is not a field name such as 'metadata.subject'.")
    field = str.__str__(field)
    field_path(field)
    if not isinstance(wanted, Mapping):
        return [AnyOf(field, _values(field, wanted))]
    unknown = [key for key in wanted if key not in (*RANGE_KEYS, "not")]
    if unknown or not wanted:
        near = difflib.get_close_matches(str(unknown[0])[:40] if unknown else "", (*RANGE_KEYS, "not"), 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ConfigError(f"filter on {field!r} has the condition {_shown(wanted)}: use gt, gte, lt, lte or not{hint}.")
    bounds = {key: _bound(field, key, wanted[key]) for key in RANGE_KEYS if key in wanted}
    conditions: list[Condition] = [Range(field, **bounds)] if bounds else []
    if "not" in wanted:
        conditions.append(AnyOf(field, _values(field, wanted["not"]), negated=True))
    return conditions


def _values(field: str, wanted: object) -> tuple[Scalar, ...]:
    values = wanted if isinstance(wanted, list | tuple | set | frozenset) else (wanted,)
    return tuple([_value(field, plain(value)) for value in values])


def _value(field: str, value: object) -> Scalar:
    if not isinstance(value, str | int):
        raise ConfigError(f"filter on {field!r} compares with {_shown(value)}: strings, integers and booleans can be compared.")
    if isinstance(value, int) and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        accepted = f"{SMALLEST_INTEGER} to {LARGEST_INTEGER}"
        raise ConfigError(f"filter on {field!r} compares with the integer {integer_text(value)}: a payload holds integers from {accepted}.")
    if isinstance(value, str) and not _is_utf8(value):
        raise ConfigError(f"filter on {field!r} compares with a text that is not valid UTF-8.")
    return value


def _bound(field: str, key: str, value: object) -> float:
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ConfigError(f"filter on {field!r} has the bound {_shown(value)}: bounds are finite numbers.")
    try:
        nearest = float(number)
    except OverflowError:
        nearest = math.inf
    if not math.isfinite(nearest):
        shown = integer_text(number) if isinstance(number, int) else str(number)
        raise ConfigError(f"filter on {field!r} has the bound {shown}: bounds are finite numbers of at most 1.8e308.")
    if isinstance(number, float) or SMALLEST_INTEGER <= number <= LARGEST_INTEGER:
        return number
    # beyond 64 bits a payload has floats only: the next one compares with all of them as the integer does
    outward = {"gte": math.inf, "lt": math.inf, "gt": -math.inf, "lte": -math.inf}[key]
    return math.nextafter(nearest, outward) if (nearest < number if outward > 0 else nearest > number) else nearest


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    """For a message: one line, short, and safe for what is nested too deep for repr()."""
    return " ".join(reprlib.repr(value).split())
