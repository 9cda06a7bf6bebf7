"""Recipes: TOML files read into frozen, typed dataclasses. An unknown key is an error."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from splade_ptbr_connectors.errors import ConfigError


@dataclass(frozen=True)
class DataSection:
    """What is trained on. Folders are relative to the data directory given at the command line."""

    collections: tuple[str, ...]
    """BEIR folders whose train split is used."""
    validation: tuple[str, ...] = ()
    """`collection:split` of splits that are only measured, e.g. `faquad:dev`. A test split is refused."""
    held_out: dict[str, float] = field(default_factory=dict)
    """Share of a collection's train split, its last queries and their passages, kept for validation."""
    vocabulary: str = "vocab/vocab.txt"
    pairs: str | None = None
    texts: str | None = None
    cloze_texts: tuple[str, ...] = ()
    """Text files from which sentence -> rest of the passage pairs are made."""
    cloze_limit: int = 3000
    """Pairs per text file."""
    mixture: dict[str, float] = field(default_factory=dict)
    """Share of the batches of each source: a collection, `weak` or `cloze`."""
    max_length_query: int = 128
    max_length_document: int = 1024


@dataclass(frozen=True)
class ModelSection:
    """The shape of the model and of its start."""

    hidden_size: int = 128
    layers: int = 1
    heads: int = 4
    intermediate_size: int = 256
    max_positions: int = 1024
    initial_bias: float = -4.0
    """Output bias: how far below zero the expansion logits start."""
    similarity_scale: float = 4.0
    """Logit of a term with itself at the start; of others, their cosine times this."""
    k1: float = 1.2
    b: float = 0.75
    average_length: float = 170.0
    neighbours: int = 8
    """Inflections of one stem, most frequent first, that an occurring term may add."""
    neighbour_gain: float = 0.7
    piece_weight: float = 0.6
    """Factor on the query weight of word pieces (`##...`) at the start."""
    lexicon: str = "stems"
    """`stems` (inflections, stop words dropped) or `none` (the plain lexical floor)."""
    idf_power: float = 0.0
    """Weight of a text source in the IDF: its size to this power (0: all sources alike)."""
    embedding_tokens: int = 50_000_000


@dataclass(frozen=True)
class StageSection:
    """One run of optimiser steps with its own batch and rates."""

    name: str
    steps: int
    contextual: bool = True
    """False: only the lexical channel and the query table; no transformer, very fast."""
    expansion: bool = True
    """False: the transformer weighs the terms of the lexical channel but adds none; no product with the vocabulary."""
    lr_traits: float = 1e-3
    lr_importance: float = 1e-3
    lr_scale: float = 1e-2
    """Of the temperature, learned for each source, at which scores enter the losses."""
    batch_queries: int = 64
    batch_documents: int = 64
    length_document: int = 160
    lr_backbone: float = 5e-4
    lr_lexical: float = 2e-3
    lr_query: float = 2e-2
    warmup_steps: int = 50
    weight_decay: float = 0.01
    anchor: float = 0.0
    """Decoupled decay of the lexical channel and the query table towards their start, per unit of learning rate."""
    score_scale: float = 0.25
    lambda_document: float = 0.0
    lambda_query: float = 0.0
    ramp_steps: int = 0
    distillation: float = 0.0
    """Weight of the KL to the stemmed BM25 teacher."""
    teacher_temperature: float = 1.0
    gradient_norm: float = 5.0
    evaluate_every: int = 200


@dataclass(frozen=True)
class Recipe:
    """A whole recipe."""

    name: str
    seed: int
    data: DataSection
    model: ModelSection
    stages: tuple[StageSection, ...]
    max_terms_document: float = 300.0
    """A checkpoint with more terms per document than this is never chosen."""
    threads: int = 2
    max_split_loss: float | None = None
    """A checkpoint that is below the start by more than this on any validation split is never chosen; None: the mean decides alone."""
    storage: str = "int8"
    """Of the packed weights: "float32", "float16" or "int8"; rounding happens before the packed model is measured."""
    importance_share: float = 1.0
    """Share of the learned token importance that is kept: an average with the start in weight space (arXiv 2109.01903)."""
    note: str = ""
    """What a reader of the model card must know about how the settings were chosen."""
    min_weight_document: float = 0.0
    """Weights at or below this are dropped at encoding, and in every measurement."""
    max_active_terms_document: int | None = None


def load_recipe(path: str | Path) -> Recipe:
    """The recipe of a TOML file."""
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"no recipe at {file}; accepted: a TOML file such as training/recipes/mini.toml")
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    recipe: Recipe = _build(Recipe, table, where=str(file))
    _check(recipe)
    return recipe


def recipe_table(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as plain values, every default written out."""
    return dataclasses.asdict(recipe)


def _check(recipe: Recipe) -> None:
    tests = [name for name in recipe.data.validation if name.endswith(":test")]
    if tests:
        raise ConfigError(f"validation names test splits ({', '.join(tests)}): tests are never looked at while training")
    if not recipe.stages:
        raise ConfigError("the recipe has no [[stages]]")
    known = {*recipe.data.collections, "weak", "cloze"}
    for name in [*recipe.data.mixture, *recipe.data.held_out]:
        if name not in known:
            raise ConfigError(f"unknown source {name!r} in [data]{_suggest(name, known)}")
    if not 0 < sum(recipe.data.mixture.values()):
        raise ConfigError("[data.mixture] gives no source a share above 0")


def _suggest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else f" (accepted: {', '.join(sorted(known))})"


def _build(kind: Any, table: Any, *, where: str) -> Any:
    """A dataclass from a TOML table, each value checked against its annotation."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table, found {table!r}")
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in table:
        if key not in fields:
            raise ConfigError(f"unknown key {key!r} in {where}{_suggest(key, fields)}")
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
        return _value(get_args(hint)[0], value, where=where)
    if origin is tuple:
        return tuple(_value(get_args(hint)[0], item, where=where) for item in _of(list, value, where))
    if origin is dict:
        return {key: _value(get_args(hint)[1], item, where=where) for key, item in _of(dict, value, where).items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _of(hint, value, where)


def _of(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{where} is {value!r}; accepted: {kind.__name__}")
    return value
