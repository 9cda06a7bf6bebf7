"""What is wrong with a recipe, in words of recipes: the key, its value, what is accepted."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

FIRST = ("extra_forbidden", "missing")
"""A misspelt key is said before what it leaves missing, and that before wrong values."""
TYPES = {"int": "int", "float": "float", "bool": "bool", "string": "str", "tuple": "list", "dict": "table", "model": "table"}
"""How pydantic's kinds of errors begin -> what TOML calls the type."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)', or the list of what is accepted."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else f" (accepted: {', '.join(sorted(known))})"


def message_of(error: ValidationError, root: type[BaseModel], *, where: str) -> str:
    """One line about the most telling of the errors."""
    details = error.errors(include_url=False)
    first = min(details, key=lambda each: FIRST.index(each["type"]) if each["type"] in FIRST else len(FIRST))
    path, section = _place(first["loc"], root)
    parent, _, key = path.rpartition(".")
    kind = section.model_fields.get("kind")
    table = f", [{parent}]" + (f" of kind {kind.default!r}" if kind else "") if parent else ""
    match first["type"]:
        case "extra_forbidden":
            return f"unknown key {key!r} in {where}{table}{suggestion(key, section.model_fields)}"
        case "missing":
            return f"{where}{table}: the key {key!r} is missing"
        case "union_tag_invalid" | "union_tag_not_found":
            return f"{where}, [{path}]: kind is {first.get('ctx', {}).get('tag')!r}; accepted: {_kinds(section, key)}"
    return f"{where}: {path} is {first['input']!r}; accepted: {_accepted(first)}"


def _place(loc: tuple[int | str, ...], root: type[BaseModel]) -> tuple[str, type[BaseModel]]:
    """The dotted key of a place, without the kinds that pydantic puts between, and the section that has it."""
    path, section = "", root
    for depth, part in enumerate(loc):
        chosen = {model.model_fields["kind"].default: model for model in _models(section, loc[depth - 1]) if "kind" in model.model_fields}
        if depth and part in chosen:
            section = chosen[part]
            continue
        inner = _models(section, part)
        if len(inner) == 1 and depth + 1 < len(loc):
            section = inner[0]
        path = f"{path}[{part}]" if isinstance(part, int) else f"{path}.{part}" if path else part
    return path, section


def _models(section: type[BaseModel], key: int | str) -> list[type[BaseModel]]:
    """The sections that a key of a section may hold."""
    field = section.model_fields.get(str(key))
    return [] if field is None else _sections_in(field.annotation)


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _sections_in(part)]


def _kinds(section: type[BaseModel], key: str) -> str:
    return ", ".join(model.model_fields["kind"].default for model in _models(section, key))


def _accepted(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    match kind:
        case "literal_error":
            return str(context["expected"]).replace(" or ", ", ").replace("'", "")
        case "greater_than":
            return f"more than {context['gt']:g}"
        case "greater_than_equal":
            return f"{context['ge']:g} or more"
        case "nan":
            return "a number"
    return TYPES.get(kind.split("_")[0], error["msg"])
