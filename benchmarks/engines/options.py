"""Options of an engine: a pydantic model of what it takes, filled from texts by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.strict import did_you_mean


class Options(BaseModel):
    """No options; an engine that has some adds fields with defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


AnyOptions = TypeVar("AnyOptions", bound=Options)


def read_options(kind: type[AnyOptions], engine: str, given: Mapping[str, str]) -> AnyOptions:
    """The options of `engine` among those of all engines, whose names begin with theirs and a dot.

    Raises:
        ConfigError: one that the engine does not know, or a value that it does not take.
    """
    prefix = f"{engine}."
    own = {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}
    try:
        return kind.model_validate(own)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise ConfigError(f"{_wrong(kind, engine, name, own[name], first['msg'])}; {_accepted(kind, engine)}.") from None


def _wrong(kind: type[Options], engine: str, name: str, value: str, reason: str) -> str:
    if name in kind.model_fields:
        return f"the option {engine}.{name} is {value!r}: {reason[:1].lower()}{reason[1:]}"
    return f"the engine {engine} has no option {name!r}{did_you_mean(name, kind.model_fields)}"


def _accepted(kind: type[Options], engine: str) -> str:
    known = [f"{engine}.{name} (default {field.default})" for name, field in kind.model_fields.items()]
    return f"it takes {', '.join(known)}" if known else "it takes none"
