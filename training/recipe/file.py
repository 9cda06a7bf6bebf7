"""Recipes are TOML files. A misspelt key, a wrong type and a key without effect are errors, each with what to do.

`extends = "other.toml"` starts from another recipe: tables are merged key by key, except that a table with a `kind` of its own
replaces the other's; `drop = ["sparsity.query"]` takes keys out of what was inherited.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from splade_ptbr_connectors.errors import ConfigError
from training.recipe.effects import check_effects
from training.recipe.messages import message_of
from training.recipe.sections import Recipe
from training.recipe.words import WordsRecipe, check_words

Table = dict[str, Any]


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe | WordsRecipe:
    """The recipe of a TOML file, one of a network or, by its `kind`, one of words.

    `overrides` are TOML lines such as 'training.steps = 100', applied last.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, a wrong value, a key that does nothing in this recipe.
    """
    table = _with_overrides(read_table(Path(path)), overrides)
    recipe = _validated(table, where=str(path))
    if isinstance(recipe, WordsRecipe):
        check_words(recipe, where=str(path))
    else:
        check_effects(recipe, where=str(path))
    return recipe


def recipe_table(recipe: Recipe | WordsRecipe) -> Table:
    """The resolved recipe as plain JSON values, every default written out, every section with its kind."""
    return dict(json.loads(json.dumps(recipe.model_dump())))


def recipe_of(table: Mapping[str, Any], *, where: str) -> Recipe | WordsRecipe:
    """The recipe of a resolved table (what a run or a model folder keeps)."""
    return _validated(table, where=where)


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


def _validated(table: Mapping[str, Any], *, where: str) -> Recipe | WordsRecipe:
    kind: type[Recipe] | type[WordsRecipe] = WordsRecipe if "kind" in table else Recipe
    try:
        return kind.model_validate_json(json.dumps(table))  # as JSON, in which strict mode takes lists for tuples
    except ValidationError as error:
        raise ConfigError(message_of(error, kind, where=where)) from None
    except TypeError as error:  # dates and times are all that TOML has and JSON has not
        raise ConfigError(f"{where}: no key of a recipe takes a date or a time: {error}") from None
