"""Recipes are TOML files. A misspelt key, a wrong type and a key without effect are errors, each with what to do.

`extends = "other.toml"` starts from another recipe: tables are merged key by key, except that a table with a `kind` of its own
replaces the other's; `drop = ["sparsity.query"]` takes keys out of what was inherited.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from splade_ptbr_connectors.errors import ConfigError
from training.recipe.effects import check_effects
from training.recipe.sections import Recipe

Table = dict[str, Any]
DEFAULT_KIND = {"queries": "shared"}


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a TOML file; `overrides` are TOML lines such as 'training.steps = 100', applied last.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, a wrong value, a key that does nothing in this recipe.
    """
    table = _with_overrides(read_table(Path(path)), overrides)
    recipe: Recipe = _build(Recipe, table, where=str(path))
    check_effects(recipe, table, where=str(path))
    return recipe


def recipe_table(recipe: Recipe) -> Table:
    """The resolved recipe as plain JSON values, every default written out, every section with its kind."""
    table: Table = _plain(recipe)
    return table


def recipe_of(table: Mapping[str, Any], *, where: str) -> Recipe:
    """The recipe of a resolved table (what a run or a model folder keeps)."""
    recipe: Recipe = _build(Recipe, _without_nones(dict(table)), where=where)
    return recipe


def read_table(path: Path, seen: tuple[Path, ...] = ()) -> Table:
    """The merged table of a file and of everything it extends."""
    if path.resolve() in seen:
        raise ConfigError(f"{path} extends itself, by way of {', '.join(file.name for file in seen)}")
    table = _parse(path)
    base, dropped = table.pop("extends", None), table.pop("drop", [])
    if base is None:
        if dropped:
            raise ConfigError(f"{path}: drop takes keys out of an inherited recipe, and this one extends none")
        return table
    inherited = read_table(path.parent / str(base), (*seen, path.resolve()))
    for key in dropped:
        _drop(inherited, str(key), where=str(path))
    return _merged(inherited, table)


def _parse(path: Path) -> Table:
    if not path.is_file():
        raise ConfigError(f"no recipe at {path}; accepted: a TOML file such as training/recipes/mini.toml")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _with_overrides(table: Table, overrides: Sequence[str]) -> Table:
    for line in overrides:
        try:
            table = _merged(table, tomllib.loads(line))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"--set {line!r} is not a TOML line ({error}); accepted: for example 'training.steps = 100'") from error
    return table


def _merged(base: Table, changes: Table) -> Table:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        joined = isinstance(value, dict) and isinstance(old, dict) and "kind" not in value
        merged[key] = _merged(old, value) if joined and isinstance(old, dict) else value
    return merged


def _drop(table: Table, key: str, *, where: str) -> None:
    *parents, last = key.split(".")
    place: Any = table
    for name in parents:
        place = place.get(name, {}) if isinstance(place, dict) else {}
    if not isinstance(place, dict) or last not in place:
        raise ConfigError(f"{where}: drop names {key!r}, which the inherited recipe has not")
    del place[last]


def suggestion(name: str, known: Any) -> str:
    """' (did you mean ...?)', or the list of what is accepted."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else f" (accepted: {', '.join(sorted(known))})"


def _build(kind: Any, table: Any, *, where: str) -> Any:
    """A dataclass from a TOML table, each value checked against its annotation."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table, found {table!r}")
    hints = {name: hint for name, hint in get_type_hints(kind).items() if get_origin(hint) is not ClassVar}
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in table:
        if key not in fields:
            raise ConfigError(f"unknown key {key!r} in {where}{suggestion(key, fields)}")
    for name, entry in fields.items():
        optional = entry.default is not dataclasses.MISSING or entry.default_factory is not dataclasses.MISSING
        if name not in table and not optional:
            raise ConfigError(f"{where}: the key {name!r} is missing")
    return kind(**{key: _value(hints[key], value, where=f"{where}: {key}") for key, value in table.items()})


def _value(hint: Any, value: Any, *, where: str) -> Any:
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where=where)
    if origin in (Union, UnionType):
        choices = [choice for choice in get_args(hint) if choice is not type(None)]
        return _value(choices[0], value, where=where) if len(choices) == 1 else _of_kind(choices, value, where=where)
    if origin is tuple:
        return tuple(_value(get_args(hint)[0], item, where=where) for item in _of(list, value, where))
    if origin is dict:
        return {key: _value(get_args(hint)[1], item, where=f"{where}.{key}") for key, item in _of(dict, value, where).items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and math.isnan(value):  # which no check of a range would find
        raise ConfigError(f"{where} is nan; accepted: a number")
    return _of(hint, value, where)


def _of_kind(choices: Sequence[Any], value: Any, *, where: str) -> Any:
    """The one of several sections that the table's `kind` names."""
    table = dict(_of(dict, value, where))
    kinds = {choice.kind: choice for choice in choices}
    kind = table.pop("kind", None)
    if kind not in kinds:
        raise ConfigError(f"{where}: kind is {kind!r}; accepted: {', '.join(kinds)}")
    return _build(kinds[kind], table, where=f"{where} of kind {kind!r}")


def _of(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{where} is {value!r}; accepted: {kind.__name__}")
    return value


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        named = {"kind": value.kind} if hasattr(value, "kind") else {}
        return named | {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _without_nones(table: Table) -> Table:
    """TOML has no null: a key that is None is a key that was not given."""
    return {key: _without_nones(value) if isinstance(value, dict) else value for key, value in table.items() if value is not None}
