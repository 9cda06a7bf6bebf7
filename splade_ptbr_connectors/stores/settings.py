"""Settings of an engine: frozen dataclasses, filled from open_store(settings=...) and from the query part of a URL.

opensearch+https://host:9200/laws?shards=3&replicas=1
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from ..errors import ConfigError, StoreFormatError
from ..numerals import integer, number

S = TypeVar("S")
_WORDS = {"true": True, "false": False}
_READERS: dict[Any, Callable[[str], object]] = {bool: lambda text: _WORDS.get(text.lower()), int: integer, float: number, str: str}


def read_settings(kind: type[S], given: Mapping[str, Any], in_url: Mapping[str, str] | None = None) -> S:
    """Fill a frozen dataclass; what it refuses itself (`__post_init__`) is its own ConfigError.

    Args:
        kind: the engine's dataclass of settings; its fields are bool, int, float, str, or one of these or None.
        given: values by name, of the right type.
        in_url: texts by name, converted to the right type.

    Raises:
        ConfigError: a name that the engine does not know, a value of another type, or one given in both places.
    """
    hints = typing.get_type_hints(kind)
    known = [entry.name for entry in dataclasses.fields(kind)]  # type: ignore[arg-type]
    texts = in_url or {}
    for name in [*given, *texts]:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigError(f"unknown store setting {name!r}{hint}; known: {', '.join(known) or 'none'}.")
    for name in texts:
        if name in given:
            raise ConfigError(f"the store setting {name!r} is given in the URL and as a setting: leave one out.")
    values = {name: _checked(name, value, hints[name]) for name, value in given.items()}
    return kind(**values, **{name: _converted(name, text, hints[name]) for name, text in texts.items()})


def _kinds(hint: Any) -> tuple[type, ...]:
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(part for part in parts)


def _checked(name: str, value: object, hint: Any) -> object:
    kinds = _kinds(hint)
    if type(value) in kinds and (not isinstance(value, float) or math.isfinite(value)):
        return value
    if float in kinds and type(value) is int and abs(value) < 2**53:
        return float(value)
    raise ConfigError(f"store setting {name} is {value!r}: it must be {_described(kinds)}.")


def _converted(name: str, text: str, hint: Any) -> object:
    kinds = _kinds(hint)
    for kind in kinds:
        value = _READERS[kind](text) if kind in _READERS else None
        if value is not None:
            return value
    raise ConfigError(f"store setting {name} is {text!r}: it must be {_described(kinds)}.")


def _described(kinds: tuple[type, ...]) -> str:
    names = {types.NoneType: "none", float: "a finite float"}
    return " or ".join(names.get(kind, kind.__name__) for kind in kinds)


def check_choice(name: str, value: object, accepted: Collection[str]) -> None:
    """Raise ConfigError unless the setting is one of the accepted words."""
    if value not in accepted:
        raise ConfigError(f"store setting {name} is {value!r}: it must be one of {', '.join(accepted)}.")


def check_count(name: str, value: int | None, largest: int) -> None:
    """Raise ConfigError unless the setting is None or an integer from 1 to `largest`."""
    if value is not None and not 1 <= value <= largest:
        raise ConfigError(f"store setting {name} is {value!r}: it must be an integer from 1 to {largest:,}.")


def as_stored(settings: S, given: Collection[str], stored: Mapping[str, Any], url: str) -> S:
    """The settings with those that an existing store has fixed.

    Args:
        settings: as asked for, defaults included.
        given: names of those that were really asked for.
        stored: what the store was created with, by name.

    Raises:
        StoreFormatError: one was asked for that the store does not have.
    """
    for name, value in stored.items():
        if name in given and getattr(settings, name) != value:
            raise StoreFormatError(
                f"the store {url} has {name}={value!r}, but is opened with {name}={getattr(settings, name)!r}: leave the setting out, "
                "or ingest into a new store."
            )
    return dataclasses.replace(settings, **stored)  # type: ignore[type-var]
