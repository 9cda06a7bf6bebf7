"""Recipes: typed, and a misspelt key is an error with a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from splade_ptbr_connectors.errors import ConfigError
from training.config import load_recipe, recipe_table

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_reads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe_table(recipe)["data"]["collections"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lr_query", "lr_qurey", "did you mean 'lr_query'"),
        ("hidden_size = 16", 'hidden_size = "16"', "hidden_size is '16'; accepted: int"),
        ("toy = 1.0", "toys = 1.0", "did you mean 'toy'"),
        ('collections = ["toy"]', 'collections = ["toy"]\nvalidation = ["toy:test"]', "test splits"),
        ("seed = 3", "", "'seed' is missing"),
        ("[model]", "[model", "not valid TOML"),
    ],
)
def test_bad_recipe(tmp_path: Path, smoke_recipe: Path, old: str, new: str, message: str) -> None:
    text = smoke_recipe.read_text(encoding="utf-8")
    assert old in text
    broken = tmp_path / "broken.toml"
    broken.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_recipe(broken)


def test_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe"):
        load_recipe(tmp_path / "none.toml")
