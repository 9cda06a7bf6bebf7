"""Single values and JSON objects checked by pydantic; strict.py has the models of settings that are checked as a whole."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, create_model

from .errors import ConfigError
from .strict import Strict

T = TypeVar("T")

Natural = Annotated[int, Field(ge=0, strict=True)]  # strict: True and 1.0 are not integers
Positive = Annotated[int, Field(ge=1, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]


class Arguments(Strict):
    """Arguments of a public function."""

    noun: ClassVar[str] = "the argument"


def check(name: str, value: Any, kind: Any) -> None:
    """Raise ConfigError unless `value` is of `kind`, a type such as Positive, taken strictly; the message names the argument."""
    _model(name, kind)(**{name: value})


def read_as(kind: type[T], raw: Any) -> T:
    """A JSON value as a dataclass or another type; unknown keys are left out. Raises ValueError that names the first wrong key."""
    try:
        value: T = TypeAdapter(kind).validate_python(raw)
    except ValidationError as error:
        raise ValueError(_first_fault(error)) from error
    return value


def renamed(old: str, old_value: T | None, new: str, new_value: T | None) -> T | None:
    """The value of an argument that may still be given under its earlier name. Raises ConfigError where both are given."""
    if old_value is not None and new_value is not None:
        raise ConfigError(f"{new} and {old} are the same argument: give {new} alone.")
    return old_value if new_value is None else new_value


@cache
def _model(name: str, kind: Any) -> type[Arguments]:
    fields: Any = {name: (kind, ...)}
    model: type[Arguments] = create_model("Argument", __base__=Arguments, **fields)
    return model


def _first_fault(error: ValidationError) -> str:
    """The first thing that pydantic found wrong: where, what is there, and what is accepted."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "it"
    if first["type"] == "missing":
        return f"{where} is missing"
    return f"{where} is {first['input']!r:.60}, it must be {first['msg'].removeprefix('Input should be ')}"
