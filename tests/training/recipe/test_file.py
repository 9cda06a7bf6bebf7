"""Recipes: typed; a misspelt key, a key without effect and a contradiction are errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from splade_ptbr_connectors.errors import ConfigError
from training.recipe.file import load_recipe, recipe_of, recipe_table

RECIPES = Path(__file__).resolve().parents[3] / "training" / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_reads_and_says_what_it_costs(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.cost
    assert recipe_of(recipe_table(recipe), where="a run") == recipe


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch_queries", "batch_querys", "did you mean 'batch_queries'"),
        ("[ranking]", "[ranking]\naugment_pair = true", "unknown key 'augment_pair'"),
        ("[sparsity.document]", "[regularization.document]", "unknown key 'regularization'"),
        ("hidden_size = 16", 'hidden_size = "16"', "hidden_size is '16'; accepted: int"),
        ("toy = 1.0", "toys = 1.0", "did you mean 'toy'"),
        ("toy = 1.0", "toy = nan", "toy is nan"),
        ("toy = 1.0", "toy = true", "toy is True; accepted: float"),
        ("seed = 3", "seed = 3.0", "seed is 3.0; accepted: int"),
        ("seed = 3", "seed = 1979-05-27", "no key of a recipe takes a date"),
        ("[data]", "[data]\nlimit = 3", r"unknown key 'limit' in .*broken.toml, \[data\] of kind 'collections'"),
        ("every = 6", 'every = 6\nfiles = [{name = "a", colection = "b"}]', r"\[validation.files\[0\]\] .did you mean 'collection'"),
        ("every = 6", 'every = 6\nsplits = ["toy:dev", 3]', r"validation.splits\[1\] is 3; accepted: str"),
        ("every = 6", 'every = 6\nsplits = ["toy:test"]', "test splits"),
        ("seed = 3", "", "'seed' is missing"),
        ("[model]", "[model", "not valid TOML"),
        ('kind = "small"', 'kind = "tiny"', "kind is 'tiny'; accepted: pretrained, small, lexical"),
        ("steps = 24", "steps = 0", "more than 0"),
        ('regularizer = "l1"', 'regularizer = "l2"', "accepted: flops, l1, l0_flops, df_flops"),
        ("held_out = { toy = 0.2 }", "", "nothing is validated on"),
    ],
)
def test_bad_recipe(tmp_path: Path, smoke_recipe: Path, old: str, new: str, message: str) -> None:
    text = smoke_recipe.read_text(encoding="utf-8")
    assert old in text
    broken = tmp_path / "broken.toml"
    broken.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_recipe(broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sparsity.document.threshold = 100", "only l0_flops has a threshold"),
        ("sparsity.query.convention = 'stacked'", "queries are one group"),
        ("sparsity.document.gain = 0.1", "only target_terms has a controller"),
        ("ranking.teacher_temperature = 2.0", "only kl has a temperature"),
        ("ranking.bm25_teacher = true", "no loss asks a teacher"),
        ("ranking.losses.kl = 1.0", "need teacher scores"),
        ("ranking.losses.margin_mse = 0.0", "no weight above 0"),
        ("sparsity.document.weight = 0.0", "no effect"),
        ("sparsity.document.target_terms = 20.0", "lambda is steered by target_terms"),
        ("data.cloze_limit = 5", "gives cloze no share"),
        ("optimizer = {lr = 0.1, decay = 'constant', floor = 0.1}", "the learning rate is constant"),
        ("ranking = {losses = {contrastive = 1.0}, candidates = 'own'}\ndata.fill_documents = 9", "only own hard negatives"),
        ("model.pooling = 'sum'\nmodel.activation = 'log1p_log1p_relu'", "log1p_relu"),
    ],
)
def test_a_key_without_effect_is_an_error(smoke_recipe: Path, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(smoke_recipe, [change])


def test_as_run_and_as_meant_differ_in_one_key() -> None:
    for name, keys in (("seed_6", {"ranking"}), ("shared_seed_6", {"ranking"}), ("splade_pt_br", {"ranking", "sparsity", "optimizer"})):
        run, meant = (recipe_table(load_recipe(RECIPES / f"{file}.toml")) for file in (name, f"{name}_as_meant"))
        assert {key for key in run if run[key] != meant[key]} - {"name", "note"} == keys


def test_the_regulariser_of_splade_pt_br_is_off_as_it_was() -> None:
    recipe = load_recipe(RECIPES / "splade_pt_br.toml")
    assert recipe.sparsity.query is None and recipe.sparsity.document is None and recipe.ranking.candidates == "own"


def test_extends_and_drop(tmp_path: Path, smoke_recipe: Path) -> None:
    child = tmp_path / "child.toml"
    child.write_text(f'extends = "{smoke_recipe}"\nname = "child"\ndrop = ["sparsity.query"]\n[training]\nsteps = 7\n', encoding="utf-8")
    recipe, base = load_recipe(child), load_recipe(smoke_recipe)
    assert recipe.sparsity.query is None and recipe.sparsity.document == base.sparsity.document
    assert (recipe.training.steps, recipe.training.batch_queries) == (7, base.training.batch_queries)
    child.write_text(f'extends = "{smoke_recipe}"\ndrop = ["sparsity.querry"]\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="the inherited recipe has not"):
        load_recipe(child)
    child.write_text('extends = "child.toml"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="extends itself"):
        load_recipe(child)


def test_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe"):
        load_recipe(tmp_path / "none.toml")
