"""python -m training train."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from splade_ptbr_connectors.errors import ConfigError
from training.commands.options import DEFAULT_DATA, DataOption
from training.recipe.file import load_recipe, recipe_table
from training.recipe.words import WordsRecipe


def train(
    recipe_file: Annotated[Path, typer.Argument(metavar="RECIPE", help="A TOML file, such as training/recipes/mini.toml.")],
    data: DataOption = DEFAULT_DATA,
    out: Annotated[Path | None, typer.Option(help="Output folder; default runs/NAME.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A TOML line that changes the recipe: 'training.steps = 100'.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Print the resolved recipe, sizes, steps and cost, and stop.")] = False,
    resume: Annotated[bool, typer.Option(help="Resume from the last checkpoint of the output folder.")] = False,
) -> None:
    """Train a recipe: log and checkpoints in OUT, the chosen model in OUT/model."""
    recipe = load_recipe(recipe_file, set_ or [])
    if isinstance(recipe, WordsRecipe):
        _train_words(recipe, data, out or Path("runs") / recipe.name, dry_run=dry_run, resume=resume)
        return
    if dry_run:
        from training.cost.dry_run import dry_run_report

        if int(os.environ.get("RANK", "0")):  # started by torchrun: one process reports, undisturbed by the others
            return
        typer.echo(json.dumps(recipe_table(recipe), indent=2, ensure_ascii=False))
        typer.echo(dry_run_report(recipe, data))
        return
    from training.loop.run import train as run_recipe

    typer.echo(run_recipe(recipe, data, out or Path("runs") / recipe.name, resume=resume))


def _train_words(recipe: WordsRecipe, data: Path, out: Path, *, dry_run: bool, resume: bool) -> None:
    if resume and recipe.concepts is None:
        raise ConfigError("a recipe of words takes minutes and has no checkpoints: delete its folder and train it again, without --resume.")
    if dry_run:
        typer.echo(json.dumps(recipe_table(recipe), indent=2, ensure_ascii=False))
        typer.echo(f"cost, by the recipe: {recipe.cost or 'not said'}")
        return
    from training.words.run import train_words

    typer.echo(train_words(recipe, data, out, resume=resume))
