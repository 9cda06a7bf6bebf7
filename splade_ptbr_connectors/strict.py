"""Strict: pydantic models whose errors are ConfigErrors that say what is accepted, and repeat no more than one value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from .errors import ConfigError

_SHOWN_BITS = 128
_KINDS = {"integer": "an integer", "number": "a finite number", "boolean": "true or false", "string": "a string", "null": "none"}


class Strict(BaseModel):
    """A frozen model that knows all its names, and converts nothing: no text becomes a number, and no 1 becomes true.

    Attributes:
        noun: what one of its values is called in messages, such as "store setting".

    Raises:
        ConfigError: an unknown name, with the nearest known one, or a value that is not accepted, with what is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, loc_by_alias=False)
    noun: ClassVar[str] = "setting"

    def __init__(self, /, **values: Any) -> None:
        wrong: ErrorDetails | None = None
        try:
            super().__init__(**values)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
        if wrong is not None:  # raised out here, so that pydantic's error, which holds all values, is not part of it
            raise ConfigError(self._message(wrong))

    @classmethod
    def _message(cls, wrong: ErrorDetails) -> str:
        name = str(wrong["loc"][0])
        if wrong["type"] == "extra_forbidden":
            return f"unknown {cls.noun} {name!r}{did_you_mean(name, cls.model_fields)}; known: {', '.join(cls.model_fields) or 'none'}."
        accepted = _accepted(cls.model_json_schema(by_alias=False)["properties"][name])
        return f"{cls.noun} {name} is {shown(wrong['input'])}: it must be {accepted}{of_numpy(wrong['input'])}."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What a message adds on an unknown name that is close to a known one."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def integer_text(value: int) -> str:
    """An integer for a message; Python refuses to write out one of many thousand digits."""
    return str(value) if value.bit_length() <= _SHOWN_BITS else f"of {value.bit_length():,} bits"


def shown(value: object) -> str:
    """A value for a message, short."""
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return f"an integer {integer_text(value)}"
    return f"{value!r:.80}"


def of_numpy(value: Any) -> str:
    """What a message adds on a number or truth value of numpy, which reads like one that is accepted."""
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    return "; this one is numpy's, give its .item()" if kind in ("b", "i", "u", "f") and value.shape == () else ""


def _accepted(schema: Mapping[str, Any]) -> str:
    """A JSON schema of one value in words."""
    if "anyOf" in schema:
        return " or ".join(map(_accepted, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return f"one of {', '.join(schema.get('enum', [schema.get('const')]))}"
    return f"{_KINDS[schema['type']]}{_range(schema)}"


def _range(schema: Mapping[str, Any]) -> str:
    lowest, highest, above = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")
    if lowest is not None and highest is not None:
        return f" from {lowest:,} to {highest:,}"
    if above is not None:
        return f" above {above:,}" + (f", at most {highest:,}" if highest is not None else "")
    return f" of at least {lowest:,}" if lowest is not None else ""
